"""Findability: does the item tower put a book that nobody has read near those who will like it?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trunkline_recommender.content import content
from trunkline_recommender.evaluate import CANDIDATES
from trunkline_recommender.ratings import Ratings
from trunkline_recommender.recipe import Trained

FEWEST_READERS = 5


@dataclass(frozen=True, slots=True)
class Findability:
    """Of new books, their embeddings computed from content alone and added to the index."""

    books: int
    likings: int
    """Pairs of a reader and a new book that the reader went on to like."""
    recall: float
    """Share of them in which the book is among the reader's first 100, the new ones in the choice."""
    recall_of_chance: float
    """What any order of the books would reach."""
    auc: float
    """Mean over new books with FEWEST_READERS readers who liked them: how probable it is that one of those
    has a higher score for it than a reader who did not read it."""


def findability(trained: Trained, all_ratings: Ratings) -> Findability:
    """Measures with the readers who have books held out; `all_ratings` holds the new books at its end.

    Raises:
        ValueError: when nobody liked a new book.
    """
    known, readers = len(trained.known.ratings.books), trained.split.eligible
    added = trained.towers.books(content(all_ratings.books[known:]))
    scores = trained.embed(readers) @ np.vstack([trained.towers.items, added]).T
    history, _ = trained.known.histories(readers, known)
    row, column = np.nonzero(history)
    scores[row, history[row, column] - 1] = -np.inf
    rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)[:, known:]

    number = np.full(all_ratings.readers, -1)
    number[readers] = np.arange(len(readers))
    of = (all_ratings.book >= known) & (number[all_ratings.reader] >= 0)
    chosen = all_ratings.where(of)
    read = np.zeros((len(readers), len(all_ratings.books) - known), np.bool_)
    read[number[chosen.reader], chosen.book - known] = True
    liked = np.zeros_like(read)
    liked[number[chosen.reader[chosen.liked]], chosen.book[chosen.liked] - known] = True
    if not liked.any():
        raise ValueError("no new book was liked")
    choice = len(all_ratings.books) - (history > 0).sum(axis=1)
    areas = [
        _area(scores[liked[:, place], known + place], scores[~read[:, place], known + place])
        for place in np.flatnonzero(liked.sum(axis=0) >= FEWEST_READERS)
    ]
    return Findability(
        books=read.shape[1],
        likings=int(liked.sum()),
        recall=float((rank[liked] < CANDIDATES).mean()),
        recall_of_chance=float((CANDIDATES / choice)[np.nonzero(liked)[0]].mean()),
        auc=float(np.mean(areas)) if areas else float("nan"),
    )


def _area(positive: npt.NDArray[np.float32], negative: npt.NDArray[np.float32]) -> float:
    """The area under the ROC curve, ties counting half."""
    order = np.sort(negative)
    below = np.searchsorted(order, positive) + np.searchsorted(order, positive, side="right")
    return float(below.mean() / (2 * len(order)))
