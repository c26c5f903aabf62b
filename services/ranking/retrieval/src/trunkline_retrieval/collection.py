"""One index in memory: a snapshot and the changes since, searched as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.changes import Attributes, Entry
from trunkline_retrieval.device import Device
from trunkline_retrieval.filter import Filter
from trunkline_retrieval.index import Index
from trunkline_retrieval.rows import Rows
from trunkline_retrieval.snapshot import Snapshot


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

    def __init__(self, index: Index, snapshot: Snapshot | None, device: Device) -> None: ...

    @property
    def index(self) -> Index: ...

    @property
    def device(self) -> Device: ...

    @property
    def snapshot(self) -> Snapshot | None: ...

    @property
    def sequence(self) -> int:
        """Of the last change applied; the snapshot's before the first, 0 without one."""

    @property
    def vector_count(self) -> int:
        """Live vectors."""

    @property
    def unmerged_count(self) -> int:
        """Vectors upserted and ids deleted since the snapshot."""

    def apply(self, entry: Entry) -> None:
        """Makes a change visible to the views taken from now on.

        Raises:
            ValueError: it is not the next in sequence.
        """

    def view(self) -> View:
        """All changes so far and none after. Costs nothing when there was no change since the last one."""

    def rows(self) -> Rows:
        """The live vectors as they are now, for a build in another thread. Costs as little as a view."""


class View:
    """A collection at one moment, immutable."""

    sequence: int
    snapshot_id: str | None

    def search(
        self,
        queries: NDArray[np.float32],
        top_k: int,
        filter: Filter | None = None,
        include_attributes: bool = False,
    ) -> list[Matches]:
        """The nearest live vectors of each query `[queries, dimension]`; fewer where there are no more."""

    def cost_s(self, queries: int, filtered: bool) -> float:
        """Predicted time of a search on this core."""


__all__ = ["Collection", "Matches", "Sequence", "View"]
