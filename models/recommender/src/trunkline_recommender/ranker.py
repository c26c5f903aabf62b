"""The ranker: boosted trees that say how probable it is that a retrieved book will be liked.

They learn from what retrieval really finds: the best candidates of towers that never saw the validation
books, labelled by whether the reader went on to like them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from trunkline_recommender.books import Book
from trunkline_recommender.history import BASE_FIELDS
from trunkline_recommender.ratings import Ratings

Float32 = npt.NDArray[np.float32]
PARAMETERS: Mapping[str, object] = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_depth": 4,
    "eta": 0.08,
    "min_child_weight": 20,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "lambda": 5.0,
    "base_score": 0.5,
    # One thread adds gradients in one order: the same trees on every run.
    "nthread": 1,
}
ROUNDS = 120
UNKNOWN = 0.03
"""Share of the training rows whose book is made unknown, so that one is no surprise: a new one that the index
holds keeps its score, another one has none."""
ITEM_FIELDS = ("popularity", "mean_rating", "liked_share", "year", "trend")
DERIVED = ("embedding_length", "year_gap", "popularity_gap")
SHRINK = 10.0
"""Ratings of an average book that every book is given, so that one rating is no mean."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the trees see, in order: the reader, the item, the score, and what is derived from them."""

    activity: tuple[str, ...]
    """Fields of reader_activity, F."""
    genres: tuple[str, ...]

    @property
    def items(self) -> tuple[str, ...]:
        """The item features, I."""
        return (*ITEM_FIELDS, *(f"is_{genre.replace(' ', '_')}" for genre in self.genres))

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        affinity = ("genre_affinity",) if self.genres else ()
        return (*self.activity, *self.items, "score", *DERIVED, *affinity)

    def wide(self, user: Float32, embedding: Float32, items: Float32, scores: Float32) -> Float32:
        """[N, names] from [N, F] reader features, [N, D] embeddings, [N, I] item features and [N] scores."""
        length = np.sqrt(np.square(embedding).sum(axis=1, keepdims=True, dtype=np.float32))
        columns = [
            user,
            items,
            scores[:, None],
            length,
            items[:, [ITEM_FIELDS.index("year")]] - user[:, [BASE_FIELDS.index("mean_year")]],
            items[:, [ITEM_FIELDS.index("popularity")]] - user[:, [BASE_FIELDS.index("mean_popularity")]],
        ]
        if self.genres:
            columns.append(
                (items[:, len(ITEM_FIELDS) :] * user[:, len(BASE_FIELDS) :]).sum(
                    axis=1, keepdims=True, dtype=np.float32
                )
            )
        return np.concatenate(columns, axis=1).astype(np.float32)


def item_features(ratings: Ratings, genres: Sequence[str]) -> Float32:
    """[books, ITEM_FIELDS and genres] as of the end of the ratings, finite.

    popularity: log10(1 + readers). mean_rating and liked_share are drawn towards the mean of all. year: of
    publication, the median where it is not known. trend: log2 of the share of readers in the last eighth of
    the time, relative to that of all books; 0 where times are not known.
    """
    total = len(ratings.books)
    count = np.bincount(ratings.book, minlength=total)
    stars = np.bincount(ratings.book, ratings.stars, total)
    liked = np.bincount(ratings.book, ratings.liked, total)
    trend = np.zeros(total)
    if ratings.time_us is not None:
        first, last = ratings.time_us.min(), ratings.time_us.max()
        late = ratings.time_us > last - (last - first) // 8
        share = (np.bincount(ratings.book[late], minlength=total) + 1.0) / (count + 8.0)
        trend = np.log2(share / late.mean())
    columns = [
        np.log10(1.0 + count),
        (stars + SHRINK * ratings.stars.mean()) / (count + SHRINK),
        (liked + SHRINK * ratings.liked.mean()) / (count + SHRINK),
        _years(ratings.books),
        trend,
        *(np.array([float(book.genre == genre) for book in ratings.books]) for genre in genres),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _years(books: Sequence[Book]) -> npt.NDArray[np.float64]:
    years = np.array([float(book.year) if book.year else np.nan for book in books])
    typical = float(np.nanmedian(years)) if np.isfinite(years).any() else 0.0
    return np.where(np.isnan(years), typical, years)


def forget(
    items: Float32, scores: Float32, share: float, random: np.random.Generator
) -> tuple[Float32, Float32]:
    """Copies in which a share of the rows has no item features, and a third of these no score either."""
    draw = random.random(len(items))
    return (
        np.where((draw < share)[:, None], np.nan, items).astype(np.float32),
        np.where(draw < share / 3, np.nan, scores).astype(np.float32),
    )


def fit(rows: Float32, liked: npt.NDArray[np.bool_], seed: int, rounds: int = ROUNDS) -> xgb.Booster:
    """The trees of [N, names] rows.

    Raises:
        ValueError: when no row is liked, or every one.
    """
    if liked.all() or not liked.any():
        raise ValueError("the ranker needs liked candidates and others")
    matrix = xgb.DMatrix(rows, liked, nthread=1)
    return xgb.train({**PARAMETERS, "seed": seed}, matrix, rounds)


def predict(booster: xgb.Booster, rows: Float32) -> Float32:
    """[N] probabilities of [N, names] rows."""
    answer: Float32 = booster.predict(xgb.DMatrix(rows, nthread=1))
    return answer
