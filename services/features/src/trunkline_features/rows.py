"""Packed rows: how one entity's features of one view lie in the store.

    offset  size   what
         0     1   format version, 1
         1     1   zero
         2     2   n: how many of the view's fields the row holds, the first n
         4     4   length of the row
         8     8   event time, microseconds since the Unix epoch (at this place in every version)
        16   8*a   the float64 fields among the first n, in the view's order
             8*b   the int64 and timestamp fields
             8*c   the string and bytes fields: offset and length of each in the row, 4 bytes each
             4*d   the float32 vectors, one after the other
               e   the bool fields
           n/8^    null bits, field i at bit i%8 of byte i/8; the value of a null is zero
             ...   the strings (UTF-8) and bytes

Everything is little-endian and unaligned. Fields of one kind lie together so that many rows are read as a
few numpy matrices instead of value by value. A view's fields are only ever appended, so the count alone
says how an older row lies.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trunkline_features.columns import Array
from trunkline_features.views import Field, FieldType

VERSION = 1
HEADER_BYTES = 16
_U16, _U32 = struct.Struct("<H"), struct.Struct("<I")

FLOATS, INTEGERS, SPANS, SINGLES, FLAGS = "floats", "integers", "spans", "singles", "flags"
"""The blocks of a row, one for each kind of value."""

BLOCK_OF: Mapping[FieldType, str] = {
    FieldType.FLOAT64: FLOATS,
    FieldType.INT64: INTEGERS,
    FieldType.TIMESTAMP: INTEGERS,
    FieldType.STRING: SPANS,
    FieldType.BYTES: SPANS,
    FieldType.FLOAT32_VECTOR: SINGLES,
    FieldType.BOOL: FLAGS,
}


@dataclass(frozen=True)
class Layout:
    """Where the first n fields of a view lie in a row."""

    dtype: np.dtype[np.void]
    """The row without its strings and bytes, one numpy field a block."""
    columns: tuple[slice, ...]
    """By field: which columns of its block it has. The same in every layout that holds the field."""
    fixed: bool
    """True when no field is a string or bytes: every row then has `dtype.itemsize` bytes."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Rows that hold the same number of fields."""

    at: list[int]
    """Which of the rows given they are."""
    count: int
    """How many fields they hold."""
    blocks: NDArray[np.void]
    """`[rows]`, in the layout of that many fields."""


class RowFormat:
    """Packs and unpacks the rows of one view.

    Args:
        fields: all fields of the view.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self._layouts: dict[int, Layout] = {}

    def layout(self, count: int) -> Layout:
        """The layout of rows that hold the first `count` fields."""
        place = self._layouts.get(count)
        if place is None:
            place = self._layouts[count] = _layout(self.fields[:count])
        return place

    def pack(
        self,
        event_times_us: NDArray[np.int64],
        columns: Sequence[Array],
        nulls: Sequence[NDArray[np.bool_] | None],
    ) -> list[bytes]:
        """Rows that hold every field.

        Args:
            event_times_us: `[rows]`.
            columns: one a field, `[rows]` or `[rows, dimension]`.
            nulls: one a field, `[rows]`; None when no row is null. The value of a null is not kept.
        """
        rows = len(event_times_us)
        place = self.layout(len(self.fields))
        packed = np.zeros(rows, place.dtype)
        packed["version"] = VERSION
        packed["count"] = len(self.fields)
        packed["event_time_us"] = event_times_us
        bits = np.zeros((rows, len(self.fields)), np.bool_)
        heaps: list[list[bytes]] = [[] for _ in range(rows)]
        ends = np.full(rows, place.dtype.itemsize, np.int64)
        for index, (field, column, null) in enumerate(zip(self.fields, columns, nulls, strict=True)):
            if null is not None:
                bits[:, index] = null
            at = place.columns[index]
            if isinstance(column, list):
                texts = (
                    column
                    if null is None
                    else [b"" if no else text for text, no in zip(column, null, strict=True)]
                )
                lengths = np.fromiter(map(len, texts), np.int64, rows)
                packed[SPANS][:, at.start, 0] = ends
                packed[SPANS][:, at.start, 1] = lengths
                ends += lengths
                for heap, text in zip(heaps, texts, strict=True):
                    heap.append(text)
            else:
                values = column.reshape(rows, -1)
                packed[BLOCK_OF[field.type]][:, at] = (
                    values if null is None else np.where(null[:, None], 0, values)
                )
        packed["nulls"] = np.packbits(bits, axis=1, bitorder="little")
        packed["length"] = ends
        size, joined = place.dtype.itemsize, packed.tobytes()
        heads = [joined[start : start + size] for start in range(0, rows * size, size)]
        return (
            heads
            if place.fixed
            else [b"".join((head, *heap)) for head, heap in zip(heads, heaps, strict=True)]
        )

    def unpack(self, rows: Sequence[bytes | None]) -> tuple[list[Unpacked], int]:
        """Rows grouped by how many fields they hold.

        Args:
            rows: what the store holds; None where it holds nothing.

        Returns:
            The groups, and how many rows nobody can read: of another format version, or damaged.
        """
        sizes: dict[int, list[int]] = {}
        held = 0
        for index, row in enumerate(rows):
            if row is not None:
                held += 1
                if len(row) >= HEADER_BYTES and row[0] == VERSION and _U32.unpack_from(row, 4)[0] == len(row):
                    sizes.setdefault(_U16.unpack_from(row, 2)[0], []).append(index)
        groups = [
            group
            for count, at in sizes.items()
            if 0 < count <= len(self.fields) and (group := self._unpack(count, at, rows)) is not None
        ]
        return groups, held - sum(len(group.at) for group in groups)

    def _unpack(self, count: int, at: list[int], rows: Sequence[bytes | None]) -> Unpacked | None:
        """Those of the rows that are as long as so many fields need."""
        place = self.layout(count)
        size = place.dtype.itemsize
        heads = [(rows[index] or b"")[:size] for index in at]
        if min(map(len, heads)) < size:
            at = [index for index, head in zip(at, heads, strict=True) if len(head) == size]
            heads = [head for head in heads if len(head) == size]
        blocks = np.frombuffer(b"".join(heads), place.dtype)
        if not place.fixed:
            sound = blocks[SPANS].sum(axis=2, dtype=np.int64).max(axis=1) <= blocks["length"]
            at = [index for index, ok in zip(at, sound, strict=True) if ok]
            blocks = blocks[sound]
        return Unpacked(at, count, blocks) if at else None


def _layout(fields: Sequence[Field]) -> Layout:
    width = dict.fromkeys((FLOATS, INTEGERS, SPANS, SINGLES, FLAGS), 0)
    columns = []
    for field in fields:
        block = BLOCK_OF[field.type]
        columns.append(slice(width[block], width[block] + max(1, field.dimension)))
        width[block] = columns[-1].stop
    dtype = np.dtype(
        [
            ("version", "u1"),
            ("zero", "u1"),
            ("count", "<u2"),
            ("length", "<u4"),
            ("event_time_us", "<i8"),
            (FLOATS, "<f8", (width[FLOATS],)),
            (INTEGERS, "<i8", (width[INTEGERS],)),
            (SPANS, "<u4", (width[SPANS], 2)),
            (SINGLES, "<f4", (width[SINGLES],)),
            (FLAGS, "?", (width[FLAGS],)),
            ("nulls", "u1", ((len(fields) + 7) // 8,)),
        ]
    )
    return Layout(dtype, tuple(columns), fixed=width[SPANS] == 0)
