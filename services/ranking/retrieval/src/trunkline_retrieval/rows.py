"""The live vectors of a collection at one moment, for the build of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.attributes import Columns
from trunkline_retrieval.overlay import Frozen
from trunkline_retrieval.rowset import RowSet
from trunkline_retrieval.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Rows:
    """Frozen: later changes do not show. A row has a number: those of the snapshot first, then the overlay's."""

    snapshot: Snapshot | None
    live: RowSet
    """Of the snapshot's rows."""
    overlay: Frozen

    def __len__(self) -> int:
        return self.live.count + self.overlay.live.count

    def numbers(self) -> NDArray[np.int64]:
        """The live rows, `[len]`, ascending."""
        return np.concatenate((self.live.rows, self.overlay.live.rows + self.live.size))

    def ids(self, numbers: NDArray[np.int64]) -> list[str]:
        """The ids of some rows, in that order, which must be ascending."""
        split = int(np.searchsorted(numbers, self.live.size))
        first = self.snapshot.ids.take(numbers[:split]) if self.snapshot else []
        return first + self.overlay.ids(numbers[split:] - self.live.size)

    def vectors(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of some rows, `[numbers, dimension]`, in that order."""
        vectors = np.empty((len(numbers), self.overlay.vectors.shape[1]), np.float32)
        late = numbers >= self.live.size
        if self.snapshot is not None:
            vectors[~late] = self.snapshot.vectors[numbers[~late]]
        vectors[late] = self.overlay.vectors[numbers[late] - self.live.size]
        return vectors

    def columns(self, numbers: NDArray[np.int64]) -> Columns:
        """The attributes of some rows, each at most once, in that order."""
        late = self.overlay.attributes(np.arange(self.overlay.live.size))
        early = self.snapshot.columns if self.snapshot else Columns(0)
        return early.followed_by(Columns.of(late)).take(numbers)
