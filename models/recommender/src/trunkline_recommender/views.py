"""The feature views that the towers read, as data: what `views.json` holds."""

from collections.abc import Mapping

from trunkline_recommender.history import ACTIVITY_VIEW, ENTITY_TYPE, HISTORY_FIELDS, HISTORY_VIEW

TTL_S = 2 * 365 * 86_400
"""Taste keeps longer than a card's habits: a reader who was away for a year is still known."""
_MEANING = {
    "ratings_count": "Books the reader rated.",
    "mean_rating": "Mean stars, 1 to 5.",
    "liked_share": "Share of the rated books with 4 or 5 stars, 0 to 1.",
    "mean_year": "Mean year of publication of the rated books.",
    "mean_popularity": "Mean of log10(1 + readers) of the rated books.",
}


def declare(defaults: Mapping[str, float], length: int) -> dict[str, object]:
    """Both views, given the default of every `reader_activity:field` and the length of a history.

    The form is that of models/fraud; a FLOAT32_VECTOR has a `dimension`, and a `default` may be null.
    """
    books, ratings = HISTORY_FIELDS
    return {
        "views": [
            _view(
                HISTORY_VIEW,
                "What a reader read last.",
                [
                    {
                        "name": books,
                        "type": "STRING",
                        "default": "",
                        "description": f"Ids of up to {length} rated books, newest first, one space between.",
                    },
                    {
                        "name": ratings,
                        "type": "FLOAT32_VECTOR",
                        "dimension": length,
                        "default": None,
                        "description": "Their stars, 1 to 5, in the same order; 0 where there are fewer.",
                    },
                ],
            ),
            _view(
                ACTIVITY_VIEW,
                "What a reader's ratings have in common, over all of them.",
                [
                    {
                        "name": name.split(":")[1],
                        "type": "FLOAT64",
                        "default": value,
                        "description": _meaning(name.split(":")[1]),
                    }
                    for name, value in defaults.items()
                ],
            ),
        ]
    }


def _view(name: str, description: str, fields: list[dict[str, object]]) -> dict[str, object]:
    return {
        "name": name,
        "entity_type": ENTITY_TYPE,
        "ttl_s": TTL_S,
        "description": description,
        "owner": "models/recommender",
        "source": "trunkline_recommender.history",
        "fields": fields,
    }


def _meaning(field: str) -> str:
    if field in _MEANING:
        return _MEANING[field]
    return f"Share of {field.removeprefix('likes_').replace('_', ' ')} among the liked books, 0 to 1."
