"""A set of rows of a matrix, as FAISS reads it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
from numpy.typing import NDArray

_BIT = np.uint8(1) << np.arange(8, dtype=np.uint8)


@dataclass(frozen=True)
class RowSet:
    """Some of the rows 0 to size - 1. Immutable: what removes rows returns another set."""

    bits: NDArray[np.uint8]
    """One bit a row, the least significant first; those beyond the last row do not matter."""
    size: int
    count: int
    """How many are in the set."""

    @classmethod
    def all(cls, size: int) -> RowSet:
        """Every row."""
        return cls(np.full((size + 7) // 8, 0xFF, np.uint8), size, size)

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> RowSet:
        """The rows where a mask is true."""
        return cls(np.packbits(mask, bitorder="little"), len(mask), int(np.count_nonzero(mask)))

    @property
    def missing(self) -> int:
        """How many rows are not in the set."""
        return self.size - self.count

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each row is in the set."""
        hits: NDArray[np.bool_] = self.bits[rows >> 3] & _BIT[rows & 7] != 0
        return hits

    def without(self, rows: NDArray[np.int64]) -> RowSet:
        """The set less some of its own rows, each once."""
        if not rows.size:
            return self
        bits = self.bits.copy()
        np.bitwise_and.at(bits, rows >> 3, ~_BIT[rows & 7])
        return RowSet(bits, self.size, self.count - len(rows))

    def extended(self, rows: int) -> RowSet:
        """The set with that many new rows at its end."""
        size = self.size + rows
        bits = np.full((size + 7) // 8, 0xFF, np.uint8)
        bits[: self.size // 8] = self.bits[: self.size // 8]
        if self.size % 8:
            bits[self.size // 8] = self.bits[self.size // 8] | (0xFF << self.size % 8) & 0xFF
        return RowSet(bits, size, self.count + rows)

    def intersection(self, other: RowSet) -> RowSet:
        """The rows in both sets, which are of one size."""
        if not other.missing:
            return self
        if not self.missing:
            return other
        bits = self.bits & other.bits
        return RowSet(bits, self.size, int(np.bitwise_count(_tail_cleared(bits, self.size)).sum()))

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows, ascending."""
        return np.flatnonzero(np.unpackbits(self.bits, count=self.size, bitorder="little"))

    @cached_property
    def bitmap(self) -> faiss.IDSelector | None:
        """For a search that meets rows in no order; None when all are in the set."""
        return faiss.IDSelectorBitmap(self.bits) if self.missing else None

    @cached_property
    def listed(self) -> faiss.IDSelector | None:
        """For a search that goes from row to row: it then touches only these."""
        # Past a quarter, reading all in order and skipping is faster than fetching each.
        return faiss.IDSelectorArray(self.rows) if 4 * self.count < self.size else self.bitmap


def _tail_cleared(bits: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if not size % 8:
        return bits
    bits = bits.copy()
    bits[-1] &= (1 << size % 8) - 1
    return bits
