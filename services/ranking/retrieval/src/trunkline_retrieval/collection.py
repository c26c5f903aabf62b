"""One index in memory: a snapshot and the changes since, searched as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.changes import Attributes, Delete, Entry
from trunkline_retrieval.device import Device, use_one_thread
from trunkline_retrieval.exact import BYTE_S, NOTHING, unit
from trunkline_retrieval.filter import Filter
from trunkline_retrieval.index import Index, Metric
from trunkline_retrieval.overlay import Frozen, Overlay
from trunkline_retrieval.rows import Rows
from trunkline_retrieval.rowset import RowSet
from trunkline_retrieval.snapshot import Snapshot

_QUERY_S = 5e-5
"""Time of a search beside the comparisons: calls into FAISS, ids, ties."""
_FILTER_ROW_S = 1e-8
"""Time a row to evaluate a filter on the columns of a snapshot."""
_FILTERS = 32
"""Filters whose rows a view remembers: many searches of one moment ask the same."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What one query found, best first; equal scores by id."""

    ids: list[str]
    scores: NDArray[np.float32]
    """By the index's metric, one an id."""
    attributes: list[Attributes] | None
    """One an id, where asked for."""


class Collection:
    """The vectors of an index. Changes are applied on one thread; views are searched on any.

    Args:
        snapshot: None before the first one.
        device: where snapshots are searched.
    """

    def __init__(self, index: Index, snapshot: Snapshot | None, device: Device) -> None:
        self.index = index
        self.snapshot = snapshot
        self.device = device
        self._sequence = snapshot.manifest.sequence if snapshot else 0
        self._unmerged = 0
        self._live = RowSet.all(snapshot.manifest.vector_count if snapshot else 0)
        self._overlay = Overlay(index.dimension, index.metric)
        self._view: View | None = None

    @property
    def sequence(self) -> int:
        """Of the last change applied; the snapshot's before the first, 0 without one."""
        return self._sequence

    @property
    def vector_count(self) -> int:
        """Live vectors."""
        return self._live.count + self._overlay.live_count

    @property
    def unmerged_count(self) -> int:
        """Vectors upserted and ids deleted since the snapshot, each as often as it was written."""
        return self._unmerged

    def apply(self, entry: Entry) -> None:
        """Makes a change visible to the views taken from now on.

        Raises:
            ValueError: it is not the next in sequence.
        """
        if entry.sequence != self._sequence + 1:
            raise ValueError(f"change {entry.sequence} does not follow {self._sequence}")
        change = entry.change
        if self.snapshot is not None:
            rows = self.snapshot.ids.find(change.ids)
            rows = np.unique(rows[rows >= 0])
            self._live = self._live.without(rows[self._live.has(rows)])
        if isinstance(change, Delete):
            self._overlay.delete(change.ids)
        else:
            self._overlay.upsert(change)
        self._unmerged += len(change.ids)
        self._sequence = entry.sequence
        self._view = None

    def view(self) -> View:
        """All changes so far and none after. Costs nothing when there was no change since the last one."""
        if self._view is None:
            overlay = self._overlay.freeze()
            select = _selection(self.snapshot, self._live, overlay)
            self._view = View(self.index, self._sequence, self.snapshot, self._live, overlay, select)
        return self._view

    def rows(self) -> Rows:
        """The live vectors as they are now, for a build in another thread. Costs as little as a view."""
        return Rows(self.snapshot, self._live, self._overlay.freeze())


def _selection(
    snapshot: Snapshot | None, live: RowSet, overlay: Frozen
) -> Callable[[Filter], tuple[RowSet, RowSet]]:
    @lru_cache(_FILTERS)
    def select(where: Filter) -> tuple[RowSet, RowSet]:
        satisfying = snapshot.rows_of(where).intersection(live) if snapshot else live
        return satisfying, overlay.rows_of(where)

    return select


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A collection at one moment, immutable. Searched on any thread."""

    index: Index
    sequence: int
    """The changes up to this one are in it."""
    snapshot: Snapshot | None
    live: RowSet
    """Of the snapshot's rows, those neither deleted nor replaced since."""
    overlay: Frozen
    select: Callable[[Filter], tuple[RowSet, RowSet]]
    """The rows of the snapshot and of the overlay that satisfy a filter."""

    @property
    def snapshot_id(self) -> str | None:
        """Of the snapshot that is searched."""
        return self.snapshot.manifest.snapshot_id if self.snapshot else None

    def search(
        self,
        queries: NDArray[np.float32],
        top_k: int,
        where: Filter | None = None,
        include_attributes: bool = False,
    ) -> list[Matches]:
        """The nearest live vectors of each query; fewer where there are no more.

        The changes since the snapshot are searched exactly, the snapshot as its type is. Nothing that was
        deleted or replaced is among them.

        Args:
            queries: `[queries, dimension]`, finite, of any length.
            top_k: 1 or more.
            where: what their attributes must satisfy.
            include_attributes: True to return those.
        """
        use_one_thread()
        queries = np.ascontiguousarray(queries, np.float32)
        if self.index.metric is Metric.COSINE:
            queries = unit(queries)
        selected = (self.live, self.overlay.live) if where is None else self.select(where)
        return [
            self._search(queries[row : row + 1], top_k, *selected, include_attributes)
            for row in range(len(queries))
        ]

    def cost_s(self, queries: int, filtered: bool, top_k: int = 100) -> float:
        """Predicted time of a search on this core. That of a filtered one is the most it can be."""
        once, query_s = 0.0, _QUERY_S + self.overlay.live.size * self.index.dimension * 4 * BYTE_S
        if self.snapshot is not None and filtered:
            once = self.live.size * _FILTER_ROW_S
            query_s += self.snapshot.exact_s(self.live)
        elif self.snapshot is not None:
            query_s += self.snapshot.search_s(top_k, self.live)
        return once + queries * query_s

    def _search(
        self,
        query: NDArray[np.float32],
        top_k: int,
        live: RowSet,
        recent: RowSet,
        include_attributes: bool,
    ) -> Matches:
        scores, rows = self.snapshot.search(query, top_k, live) if self.snapshot else NOTHING
        if recent.count:
            recent_scores, recent_rows = self.overlay.search(query, top_k, recent)
            scores = np.concatenate((scores, recent_scores))
            rows = np.concatenate((rows, recent_rows + self.live.size))
            worst_last = scores if self.index.metric is Metric.SQUARED_L2 else -scores
            order = np.argsort(worst_last, kind="stable")
            scores, rows = scores[order], rows[order]
        tied = scores[1:] == scores[:-1]
        if tied.any():
            rows = self._by_id(rows, tied)
        rows = rows[:top_k]
        return Matches(
            self._ids(rows), scores[:top_k], self._attributes(rows) if include_attributes else None
        )

    def _by_id(self, rows: NDArray[np.int64], tied: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The rows in order, those of equal score by id. `tied` says whether each ties with the one after it."""
        ids, order = self._ids(rows), list(range(len(rows)))
        edges = np.flatnonzero(np.diff(tied, prepend=False, append=False)).tolist()
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            order[start : end + 1] = sorted(order[start : end + 1], key=ids.__getitem__)
        return rows[order]

    def _ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Rows of the overlay are numbered after those of the snapshot."""
        if self.snapshot is None:
            return self.overlay.ids(rows)
        if not self.overlay.live.count:
            return self.snapshot.ids.take(rows)
        late = rows >= self.live.size
        old = iter(self.snapshot.ids.take(rows[~late]))
        recent = iter(self.overlay.ids(rows[late] - self.live.size))
        return [next(recent if is_late else old) for is_late in late.tolist()]

    def _attributes(self, rows: NDArray[np.int64]) -> list[Attributes]:
        late = rows >= self.live.size
        old = iter(self.snapshot.columns.read(rows[~late]) if self.snapshot else ())
        recent = iter(self.overlay.attributes(rows[late] - self.live.size))
        return [next(recent if is_late else old) for is_late in late.tolist()]
