"""How good a ranking of all unseen books is, given the books that were held out."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trunkline_recommender.ratings import Ratings

TOP = 10
CANDIDATES = 100
CHUNK = 256

Scorer = Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]
"""[N] readers -> [N, I] scores, higher is better."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over readers, each with HELD_OUT liked books to find among all those not in the history."""

    ndcg: float
    """NDCG@10, binary gains (Jarvelin and Kekalainen, 2002), ideal: all held-out books on top."""
    recall: float
    """Share of the held-out books among the first 100."""
    coverage: float
    """Share of the catalogue that is in the first 10 of some reader."""
    ndcg_error: float
    """Standard error of `ndcg` over the readers."""

    def as_json(self) -> dict[str, float]:
        """Rounded, for a file."""
        return {name: round(float(value), 4) for name, value in asdict(self).items()}


def candidates(
    scorer: Scorer, history: Ratings, readers: npt.NDArray[np.int64], count: int = CANDIDATES
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[Any]]]:
    """Chunks of readers [n] with the best `count` books [n, count] that their history lacks, and the scores.

    Best first; of equal scores the earlier book. `count` is cut to what the smallest choice leaves.
    """
    starts = np.searchsorted(history.reader, np.arange(readers.max(initial=0) + 2))
    for begin in range(0, len(readers), CHUNK):
        chunk = readers[begin : begin + CHUNK]
        scores = np.array(scorer(chunk), copy=True)
        lengths = starts[chunk + 1] - starts[chunk]
        row = np.repeat(np.arange(len(chunk)), lengths)
        places = np.concatenate([np.arange(starts[reader], starts[reader + 1]) for reader in chunk])
        scores[row, history.book[places]] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, : min(count, scores.shape[1] - lengths.max())]
        yield chunk, best, np.take_along_axis(scores, best, axis=1)


def targets(held_out: Ratings, readers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[N, k] the held-out books of readers who all have as many."""
    starts = np.searchsorted(held_out.reader, readers)
    ends = np.searchsorted(held_out.reader, readers, side="right")
    width = int((ends - starts).max(initial=0))
    found: npt.NDArray[np.int64] = held_out.book[starts[:, None] + np.arange(width)]
    return found


def hits(best: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """[N, count] whether a recommended book is one of the held-out ones."""
    found: npt.NDArray[np.bool_] = (best[:, :, None] == wanted[:, None, :]).any(axis=2)
    return found


def measure(best: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64], books: int) -> Figures:
    """The figures of [N, 100] recommended books for [N, k] held-out ones."""
    found = hits(best, wanted)
    discount = 1.0 / np.log2(np.arange(2, TOP + 2))
    width = min(TOP, found.shape[1])
    ideal = discount[: min(TOP, wanted.shape[1])].sum()
    ndcg = found[:, :width] @ discount[:width] / ideal
    return Figures(
        ndcg=float(ndcg.mean()),
        recall=float(found.sum(axis=1).mean() / wanted.shape[1]),
        coverage=len(np.unique(best[:, :TOP])) / books,
        ndcg_error=float(ndcg.std() / np.sqrt(len(ndcg))),
    )


def evaluate(scorer: Scorer, history: Ratings, held_out: Ratings, readers: npt.NDArray[np.int64]) -> Figures:
    """The figures of a scorer for readers with books held out."""
    parts = list(candidates(scorer, history, readers))
    width = min(best.shape[1] for _, best, _ in parts)
    best = np.concatenate([best[:, :width] for _, best, _ in parts])
    return measure(best, targets(held_out, readers), len(history.books))
