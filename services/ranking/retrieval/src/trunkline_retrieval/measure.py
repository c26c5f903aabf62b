"""What a snapshot finds and how long it takes, measured on itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.approximate import TUNED_AT
from trunkline_retrieval.exact import nearest, unit
from trunkline_retrieval.index import Metric
from trunkline_retrieval.rowset import RowSet
from trunkline_retrieval.snapshot import Snapshot

_QUERIES: Final = 200
_SEED: Final = 20
_NOISE: Final = 0.1
"""How far queries are from vectors of the index, in standard deviations of a coordinate."""
_ROUNDING: Final = 1e-6
"""Relative difference up to which two scores are the same: FAISS adds up in several orders."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a snapshot found in a sample of queries."""

    snapshot: Snapshot
    """Tuned to what was measured."""
    recall: float
    search_time_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Queries like the vectors of an index, and how near their exact nearest are."""

    queries: NDArray[np.float32]
    """`[queries, dimension]`."""
    top_k: int
    last: NDArray[np.float32]
    """The score of the last of the exact nearest `top_k`, one a query."""

    @classmethod
    def of(cls, snapshot: Snapshot, step: Callable[[float], None]) -> Sample:
        """Some vectors of a snapshot, each moved a little, and what an exact search says about them.

        Args:
            snapshot: of one vector or more.
            step: told the share done; may raise to stop.
        """
        count = len(snapshot.vectors)
        random = np.random.default_rng(_SEED)
        rows = np.sort(random.choice(count, min(_QUERIES, count), replace=False))
        vectors = snapshot.vectors[rows]
        noise = random.standard_normal(vectors.shape, np.float32) * vectors.std(axis=0)
        queries = (vectors + _NOISE * noise).astype(np.float32)
        if snapshot.metric is Metric.COSINE:
            queries = unit(queries)
        top_k, every, last = min(TUNED_AT, count), RowSet.all(count), []
        for number, query in enumerate(queries):
            scores, _ = nearest(query[None], snapshot.vectors, top_k, snapshot.metric, every)
            last.append(scores[top_k - 1])
            step((number + 1) / len(queries))
        return cls(queries, top_k, np.array(last, np.float32))

    def recall(self, snapshot: Snapshot) -> float:
        """Share of the exact nearest that a snapshot finds. As near as the last of them counts as one."""
        found = 0
        for query, last in zip(self.queries, self.last, strict=True):
            scores, _ = snapshot.look(query[None], self.top_k)
            slack = _ROUNDING * max(abs(float(last)), 1.0)
            near = scores <= last + slack if snapshot.metric is Metric.SQUARED_L2 else scores >= last - slack
            found += min(int(np.count_nonzero(near)), self.top_k)
        return found / (self.top_k * len(self.queries))

    def search_time_s(self, snapshot: Snapshot) -> float:
        """Median time of a query on one core: of this thread, whatever else the machine does."""
        times = []
        for query in self.queries:
            start = time.thread_time()
            snapshot.look(query[None], self.top_k)
            times.append(time.thread_time() - start)
        return median(times)


def measure(snapshot: Snapshot, recall: float, step: Callable[[float], None]) -> Measured:
    """Tunes an approximate snapshot to the least effort that reaches a recall, or to its most if none does.

    Args:
        snapshot: as loaded.
        recall: to reach, over the nearest 100, or over all vectors where there are fewer.
        step: told the share done; may raise to stop.
    """
    if not len(snapshot.vectors):
        return Measured(snapshot, 1.0, 0.0)
    sample = Sample.of(snapshot, lambda share: step(share / 2))
    reached = 1.0
    if snapshot.approximate is not None:
        efforts = snapshot.approximate.efforts
        snapshot, reached = _tuned(snapshot, efforts[-1], sample)
        low, high = 0, len(efforts) - 1
        while low < high and reached >= recall:
            step(0.5 + 0.4 * (1 - (high - low) / len(efforts)))
            middle = (low + high) // 2
            less, share = _tuned(snapshot, efforts[middle], sample)
            if share >= recall:
                snapshot, reached, high = less, share, middle
            else:
                low = middle + 1
    search_time_s = sample.search_time_s(snapshot)
    step(1.0)
    return Measured(snapshot, reached, search_time_s)


def _tuned(snapshot: Snapshot, effort: int, sample: Sample) -> tuple[Snapshot, float]:
    assert snapshot.approximate is not None
    tuned = replace(snapshot, approximate=snapshot.approximate.tuned(effort))
    return tuned, sample.recall(tuned)
