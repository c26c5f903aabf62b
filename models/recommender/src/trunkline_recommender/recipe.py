"""Trains towers and ranker on ratings: choose on validation books, fit on all that is known, then test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xgboost as xgb
from threadpoolctl import threadpool_limits

from trunkline_recommender import ranker, towers
from trunkline_recommender.evaluate import CANDIDATES, Scorer, candidates, evaluate, hits, targets
from trunkline_recommender.history import ACTIVITY_VIEW, Shelf
from trunkline_recommender.ranker import Columns
from trunkline_recommender.ratings import Ratings
from trunkline_recommender.split import Split, split
from trunkline_recommender.towers import Parameters, Towers

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What there is to know at some moment: the ratings until then, and what follows from them."""

    ratings: Ratings
    shelf: Shelf
    items: Float32
    """[I, item features]."""
    activity: npt.NDArray[np.float64]
    """[readers, activity fields], defaults filled in."""
    defaults: dict[str, float]
    """By `view:field`: what a reader with no value has."""

    @classmethod
    def of(cls, ratings: Ratings, readers: int) -> "Known":
        """All that follows from the ratings of `readers` readers."""
        shelf = Shelf.build(ratings.books, np.bincount(ratings.book, minlength=len(ratings.books)))
        activity = shelf.activity(ratings.reader, ratings.book, ratings.stars, readers)
        present = activity[activity[:, 0] > 0]
        typical = [0.0, *(round(float(np.nanmean(column)), 4) for column in present.T[1:])]
        return cls(
            ratings=ratings,
            shelf=shelf,
            items=ranker.item_features(ratings, shelf.genres),
            activity=fill(activity, typical),
            defaults={
                f"{ACTIVITY_VIEW}:{name}": value
                for name, value in zip(shelf.activity_fields, typical, strict=True)
            },
        )

    def others(self, ratings: Ratings) -> "Known":
        """What there is to know of other readers, given the same books."""
        activity = self.shelf.activity(ratings.reader, ratings.book, ratings.stars, ratings.readers)
        filled = fill(activity, list(self.defaults.values()))
        return replace(self, ratings=ratings, activity=filled)

    def features(self, readers: npt.NDArray[np.int64]) -> Float32:
        """[N, activity fields] as the graphs take them."""
        return self.activity[readers].astype(np.float32)

    def histories(self, readers: npt.NDArray[np.int64], length: int) -> tuple[npt.NDArray[np.int64], Float32]:
        """[N, L] books + 1 and [N, L] stars, newest first, 0 where there are fewer."""
        return histories(self.ratings, readers, length)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A recommender, and what it was made of."""

    parameters: Parameters
    towers: Towers
    booster: xgb.Booster
    columns: Columns
    known: Known
    split: Split
    length: int
    chosen_from: list[tuple[Parameters, float]]
    """Every choice of parameters with its NDCG@10 on the validation books."""
    ranker_rows: int
    ranker_liked: int

    def embed(self, readers: npt.NDArray[np.int64]) -> Float32:
        """[N, D] embeddings of readers who were trained on."""
        return _embed(self.towers, self.known, readers, self.length)


def fill(activity: npt.NDArray[np.float64], defaults: Sequence[float]) -> npt.NDArray[np.float64]:
    """The rows with defaults in place of NaN."""
    return np.where(np.isnan(activity), np.array(defaults), activity)


def histories(
    ratings: Ratings, readers: npt.NDArray[np.int64], length: int
) -> tuple[npt.NDArray[np.int64], Float32]:
    """[N, L] books + 1 and [N, L] stars, newest first, 0 where there are fewer."""
    starts = np.searchsorted(ratings.reader, readers)
    ends = np.searchsorted(ratings.reader, readers, side="right")
    place = ends[:, None] - 1 - np.arange(length)
    there = place >= starts[:, None]
    place = np.where(there, place, 0)
    book = np.where(there, ratings.book[place] + 1, 0)
    return book, np.where(there, ratings.stars[place], 0).astype(np.float32)


def train(
    ratings: Ratings,
    seed: int,
    length: int,
    grid: Sequence[Parameters],
    rounds: int = ranker.ROUNDS,
) -> Trained:
    """The recommender of the ratings; the same for the same arguments on the same platform and versions.

    Raises:
        ValueError: when no reader has enough ratings, or there are fewer readers than dimensions.
    """
    # One thread adds in one order, and leaves the other cores to others.
    with threadpool_limits(limits=1):
        parts, readers = split(ratings), ratings.readers
        before = Known.of(ratings.where(parts.training), readers)
        held_out = ratings.where(parts.validation)
        fitted = [towers.fit(before.ratings, before.activity, length, parameters) for parameters in grid]
        figures = [
            evaluate(scorer(one, before, length), before.ratings, held_out, parts.eligible).ndcg
            for one in fitted
        ]
        best = int(np.argmax(figures))
        columns = Columns(before.shelf.activity_fields, before.shelf.genres)
        rows, liked = _examples(fitted[best], before, held_out, parts.eligible, length, columns, seed)
        known = Known.of(ratings.where(parts.known), readers)
        return Trained(
            parameters=grid[best],
            towers=towers.fit(known.ratings, known.activity, length, grid[best]),
            booster=ranker.fit(rows, liked, seed, rounds),
            columns=columns,
            known=known,
            split=parts,
            length=length,
            chosen_from=list(zip(grid, figures, strict=True)),
            ranker_rows=len(rows),
            ranker_liked=int(liked.sum()),
        )


def scorer(model: Towers, known: Known, length: int) -> Scorer:
    """Retrieval: the inner product of a reader's embedding with every book's."""
    return lambda readers: _embed(model, known, readers, length) @ model.items.T


def _embed(model: Towers, known: Known, readers: npt.NDArray[np.int64], length: int) -> Float32:
    books, stars = known.histories(readers, length)
    return model.readers(books, stars, known.features(readers))


def _examples(
    model: Towers,
    known: Known,
    held_out: Ratings,
    eligible: npt.NDArray[np.int64],
    length: int,
    columns: Columns,
    seed: int,
) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """[N, columns] the candidates that the towers retrieve, and whether the reader liked them later."""
    rows, liked = [], []
    for chunk, best, scores in candidates(scorer(model, known, length), known.ratings, eligible, CANDIDATES):
        each = np.repeat(np.arange(len(chunk)), best.shape[1])
        rows.append(
            columns.wide(
                known.features(chunk)[each],
                _embed(model, known, chunk, length)[each],
                *ranker.forget(
                    known.items[best.ravel()],
                    scores.ravel().astype(np.float32),
                    ranker.UNKNOWN,
                    np.random.default_rng((seed, int(chunk[0]))),
                ),
            )
        )
        liked.append(hits(best, targets(held_out, chunk)).ravel())
    return np.concatenate(rows), np.concatenate(liked)
