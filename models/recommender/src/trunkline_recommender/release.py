"""A trained recommender as the files that a version consists of."""

import hashlib

import numpy as np
from safetensors.numpy import save

from trunkline_artifact import SIGNATURE, VIEWS, to_json
from trunkline_recommender import artifact, views
from trunkline_recommender.evaluate import CANDIDATES
from trunkline_recommender.export import Graphs
from trunkline_recommender.history import ENTITY_TYPE, HISTORY_FIELDS, HISTORY_VIEW
from trunkline_recommender.recipe import Trained

POPULAR = 200
"""How many books the popular list has."""


def files(trained: Trained, graphs: Graphs) -> dict[str, bytes]:
    """Every file but the figures and the card, by name."""
    known, items = trained.known, trained.towers.items
    books = known.ratings.books
    readers = np.bincount(known.ratings.book, minlength=len(books))
    liked = np.bincount(known.ratings.book, known.ratings.liked, len(books))
    everybody = np.flatnonzero(np.bincount(known.ratings.reader))
    popular = np.argsort(-liked, kind="stable")[:POPULAR]
    books_field, ratings_field = (f"{HISTORY_VIEW}:{field}" for field in HISTORY_FIELDS)
    signature = {
        "task": "recommend",
        "index": f"books-{hashlib.sha256(items.tobytes()).hexdigest()[:8]}",
        "dimension": trained.parameters.dimension,
        "metric": "inner_product",
        "candidates": CANDIDATES,
        "entity_type": ENTITY_TYPE,
        "history": {"items": books_field, "ratings": ratings_field, "length": trained.length},
        "features": list(known.defaults),
        "defaults": known.defaults,
        # The mean reader: nearest to what most readers are near to.
        "popular_query": [round(float(value), 6) for value in trained.embed(everybody).mean(axis=0)],
    }
    listed = [book.item() for book in books]
    for entry, count in zip(listed, readers.tolist(), strict=True):
        entry["attributes"]["readers"] = count
    return {
        SIGNATURE: to_json(signature),
        artifact.USER_TOWER: graphs.user_tower,
        artifact.ITEM_TOWER: graphs.item_tower,
        artifact.RANKER: graphs.ranker,
        artifact.TENSORS: save({"embeddings": items, "features": known.items}),
        artifact.ITEMS: artifact.to_lines(
            {"items": listed, "popular": [books[place].id for place in popular.tolist()]}
        ),
        VIEWS: to_json(views.declare(known.defaults, trained.length)),
    }
