"""The vectors upserted since a snapshot: a matrix that grows, searched exactly."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.changes import Attributes, Upsert
from trunkline_retrieval.exact import Found, nearest
from trunkline_retrieval.filter import Filter
from trunkline_retrieval.index import Metric
from trunkline_retrieval.rowset import RowSet

_LEAST_ROWS = 256
_FILTERS = 64
"""Filters whose rows are remembered between changes."""


@dataclass(slots=True)
class _Pages:
    """What rows are appended to. Rows never change, so whoever knows how many there were sees no later ones."""

    vectors: NDArray[np.float32]
    ids: list[str] = field(default_factory=list)
    attributes: list[Attributes] = field(default_factory=list)
    satisfied: dict[Filter, bytearray] = field(default_factory=dict)
    """By filter, a byte a row as far as was looked: most rows are the same from one search to the next."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def mask(self, where: Filter, rows: int) -> NDArray[np.bool_]:
        """Whether each of the first rows satisfies a filter."""
        with self.lock:
            known = self.satisfied.pop(where, None) or bytearray()
            known.extend(where.matches(each) for each in self.attributes[len(known) : rows])
            self.satisfied[where] = known  # the last one used is the last one forgotten
            if len(self.satisfied) > _FILTERS:
                del self.satisfied[next(iter(self.satisfied))]
            return np.frombuffer(bytes(known[:rows]), np.bool_)


@dataclass(frozen=True, slots=True)
class Frozen:
    """An overlay at one moment, immutable. Searched on any thread."""

    metric: Metric
    live: RowSet
    """The rows neither deleted nor replaced since."""
    _pages: _Pages

    @property
    def vectors(self) -> NDArray[np.float32]:
        """`[live.size, dimension]`."""
        return self._pages.vectors[: self.live.size]

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """The ids of some rows."""
        return [self._pages.ids[row] for row in rows.tolist()]

    def attributes(self, rows: NDArray[np.int64]) -> list[Attributes]:
        """The attributes of some rows."""
        return [self._pages.attributes[row] for row in rows.tolist()]

    def rows_of(self, where: Filter) -> RowSet:
        """The live rows that satisfy a filter."""
        if not self.live.count:
            return self.live
        return RowSet.of(self._pages.mask(where, self.live.size)).intersection(self.live)

    def search(self, query: NDArray[np.float32], top_k: int, rows: RowSet) -> Found:
        """The nearest of the rows and all that tie with the last; see `exact.nearest`."""
        return nearest(query, self.vectors, top_k, self.metric, rows)


class Overlay:
    """Vectors by id, in the order they came. Changed on one thread."""

    def __init__(self, dimension: int, metric: Metric) -> None:
        self._metric = metric
        self._pages = _Pages(np.empty((_LEAST_ROWS, dimension), np.float32))
        self._live = RowSet.all(0)
        self._row_of: dict[str, int] = {}

    @property
    def live_count(self) -> int:
        """Vectors that a search can find."""
        return self._live.count

    def freeze(self) -> Frozen:
        """As it is now."""
        return Frozen(self._metric, self._live, self._pages)

    def upsert(self, change: Upsert) -> None:
        """Adds vectors; those of the same ids are found no more."""
        self.delete(change.ids)
        self._make_room(len(change.ids))
        pages, size = self._pages, self._live.size
        pages.vectors[size : size + len(change.ids)] = change.vectors
        pages.ids.extend(change.ids)
        pages.attributes.extend(change.attributes)
        self._row_of.update(zip(change.ids, range(size, size + len(change.ids)), strict=True))
        self._live = self._live.extended(len(change.ids))

    def delete(self, ids: Sequence[str]) -> None:
        """Removes those of the ids that it holds."""
        gone = [self._row_of.pop(id_) for id_ in ids if id_ in self._row_of]
        self._live = self._live.without(np.array(gone, np.int64))

    def _make_room(self, rows: int) -> None:
        """Moves the live rows to larger pages when these are full. Who searches the old ones keeps them."""
        needed = self._live.size + rows
        if needed <= len(self._pages.vectors):
            return
        old, live = self._pages, self._live.rows
        capacity = max(_LEAST_ROWS, 2 * (len(live) + rows))
        self._pages = _Pages(np.empty((capacity, old.vectors.shape[1]), np.float32))
        self._pages.vectors[: len(live)] = old.vectors[live]
        self._pages.ids = [old.ids[row] for row in live.tolist()]
        self._pages.attributes = [old.attributes[row] for row in live.tolist()]
        self._row_of = {id_: row for row, id_ in enumerate(self._pages.ids)}
        self._live = RowSet.all(len(live))
