"""Approximate search: FAISS indexes that compare a part of the rows, and how hard they look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.device import Placed
from trunkline_retrieval.exact import Found, nearest
from trunkline_retrieval.index import Metric
from trunkline_retrieval.rowset import RowSet

TUNED_AT: Final = 100
"""The `top_k` at which recall is measured: a search for more looks at more in proportion."""
_MOST: Final = 2048
"""Highest `ef_search` or `probes` that is tried."""


class Approximate(Protocol):
    """An index that finds most of the nearest rows."""

    def search(self, query: NDArray[np.float32], top_k: int, rows: RowSet, effort: float) -> Found:
        """The nearest of the rows that it meets, fewer than `top_k` when it meets no more, best first.

        Args:
            query: `[1, dimension]`.
            top_k: 1 or more, and no more than there are rows.
            rows: of which to find.
            effort: 1 for what the index is tuned to, 2 for twice that in about twice the time.
        """

    @property
    def efforts(self) -> range:
        """What it can be tuned to: candidates looked at (`ef_search`), or lists (`probes`)."""

    def tuned(self, effort: int) -> Approximate:
        """The same index, tuned to one of its `efforts`."""

    @property
    def parameters(self) -> dict[str, int]:
        """Of its type, for the manifest."""


@dataclass(frozen=True, slots=True)
class Graph:
    """HNSW over the vectors themselves: its scores are exact."""

    index: faiss.IndexHNSWFlat
    ef_search: int

    def search(self, query: NDArray[np.float32], top_k: int, rows: RowSet, effort: float) -> Found:
        ef_search = max(top_k, round(self.ef_search * effort))
        parameters = faiss.SearchParametersHNSW(efSearch=ef_search, sel=rows.bitmap)
        scores, found = self.index.search(query, top_k, params=parameters)
        return _filled(scores[0], found[0])

    @property
    def efforts(self) -> range:
        return range(TUNED_AT, _MOST + 1)

    def tuned(self, effort: int) -> Graph:
        return replace(self, ef_search=effort)

    @property
    def parameters(self) -> dict[str, int]:
        hnsw = self.index.hnsw
        return {
            "m": hnsw.nb_neighbors(0) // 2,
            "ef_construction": hnsw.efConstruction,
            "ef_search": self.ef_search,
        }


@dataclass(frozen=True, slots=True)
class Lists:
    """Inverted lists of 8-bit codes. The best by code are compared again by their vectors, for exact scores."""

    index: faiss.IndexIVFScalarQuantizer
    placed: Placed | None
    """The same on a GPU."""
    vectors: NDArray[np.float32]
    metric: Metric
    probes: int
    refine: int
    """How many times as many are compared again as are asked for."""

    def search(self, query: NDArray[np.float32], top_k: int, rows: RowSet, effort: float) -> Found:
        probes = min(self.index.nlist, round(self.probes * effort))
        fetch = min(top_k * self.refine, rows.count)
        if self.placed is not None and self.placed.takes(fetch, rows):
            parameters = faiss.SearchParametersIVF(nprobe=probes)
            _, coarse = self.placed.search(query, fetch, rows, parameters)
        else:
            parameters = faiss.SearchParametersIVF(nprobe=probes, sel=rows.bitmap)
            scores, found = self.index.search(query, fetch, params=parameters)
            _, coarse = _filled(scores[0], found[0])
        coarse = np.sort(coarse)
        scores, best = nearest(query, self.vectors[coarse], top_k, self.metric, RowSet.all(len(coarse)))
        return scores, coarse[best]

    @property
    def efforts(self) -> range:
        return range(1, min(_MOST, self.index.nlist) + 1)

    def tuned(self, effort: int) -> Lists:
        return replace(self, probes=effort)

    @property
    def parameters(self) -> dict[str, int]:
        return {"lists": self.index.nlist, "probes": self.probes, "refine": self.refine}


def _filled(scores: NDArray[np.float32], rows: NDArray[np.int64]) -> Found:
    """Without the places, at the end, that nothing was found for."""
    if rows[-1] >= 0:
        return scores, rows
    count = int(np.count_nonzero(rows >= 0))
    return scores[:count], rows[:count]
