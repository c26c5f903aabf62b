"""Columns: the values of one field for many entities, as they are written and as they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trunkline_features.views import Field, FieldType, Value
from trunkline_hop.errors import BadRequest


class Status(IntEnum):
    """What a value is. The numbers are those of trunkline.features.v1.FeatureStatus."""

    PRESENT = 1
    NULL = 2
    NOT_FOUND = 3
    STALE = 4
    DEFAULTED = 5


@dataclass(frozen=True, slots=True)
class Values:
    """An array of one type, not checked yet. Vectors lie one after the other."""

    type: FieldType | None
    """None: the array was not set."""
    items: Sequence[Any]


@dataclass(frozen=True, slots=True)
class WriteColumn:
    """The values of one field as a caller sent them."""

    feature: str
    values: Values
    statuses: Sequence[int] = ()
    """PRESENT or NULL, one a value; empty: all PRESENT."""


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """The values of one feature as they are answered."""

    feature: str
    type: FieldType
    values: Sequence[Any]
    """One a row; vectors lie one after the other."""
    statuses: Sequence[int]
    """One a row."""


Array: TypeAlias = NDArray[Any] | list[bytes]
"""Checked values: `[rows]`, vectors `[rows, dimension]`, strings and bytes as a list of bytes."""

_DTYPES: dict[FieldType, type[np.generic]] = {
    FieldType.FLOAT64: np.float64,
    FieldType.INT64: np.int64,
    FieldType.BOOL: np.bool_,
    FieldType.FLOAT32_VECTOR: np.float32,
    FieldType.TIMESTAMP: np.int64,
}


def zero(field: Field) -> Value:
    """What stands where there is no value."""
    match field.type:
        case FieldType.FLOAT64:
            return 0.0
        case FieldType.STRING:
            return ""
        case FieldType.BYTES:
            return b""
        case FieldType.BOOL:
            return False
        case FieldType.FLOAT32_VECTOR:
            return (0.0,) * field.dimension
        case _:
            return 0


def check(field: Field, values: Values, rows: int, path: str) -> Array:
    """The values as an array of the field's type.

    Args:
        field: what they must fit.
        values: what was sent.
        rows: how many there must be.
        path: of `values` in the request.

    Raises:
        BadRequest: naming the path and what was expected there.
    """
    kind = field.type.name.lower()
    if values.type is not field.type:
        got = "nothing" if values.type is None else values.type.name.lower()
        raise BadRequest.field(path, f"`{field.name}` is {kind}, not {got}")
    expected = rows * max(1, field.dimension)
    if len(values.items) != expected:
        shape = f"{rows} vectors of {field.dimension}" if field.dimension else f"{rows}"
        raise BadRequest.field(
            f"{path}.{kind}", f"expected {shape} values for `{field.name}`, got {len(values.items)}"
        )
    if field.type is FieldType.STRING:
        return [item.encode() for item in values.items]
    if field.type is FieldType.BYTES:
        return list(values.items)
    try:
        array = np.fromiter(values.items, dtype=_DTYPES[field.type], count=expected)
    except OverflowError:
        raise BadRequest.field(f"{path}.{kind}", "must be integers of 64 bits") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array))[0])
        raise BadRequest.field(f"{path}.{kind}.values[{index}]", "must be finite, neither NaN nor infinite")
    return array.reshape(rows, field.dimension) if field.dimension else array


def check_nulls(statuses: Sequence[int], rows: int, path: str) -> NDArray[np.bool_] | None:
    """Which of the rows are null; None when none is.

    Raises:
        BadRequest: a status that cannot be written, or not one a row.
    """
    if not statuses:
        return None
    if len(statuses) != rows:
        raise BadRequest.field(path, f"expected none or {rows} statuses, got {len(statuses)}")
    codes = np.fromiter(statuses, dtype=np.int64, count=rows)
    nulls = codes == Status.NULL
    allowed = nulls | (codes == Status.PRESENT)
    if not allowed.all():
        index = int(np.flatnonzero(~allowed)[0])
        raise BadRequest.field(f"{path}[{index}]", "must be PRESENT or NULL in a write")
    return nulls if nulls.any() else None


def single(field: Field, values: Values, path: str) -> Value:
    """The one value that a default is.

    Raises:
        BadRequest: it is not exactly one value of the field's type.
    """
    array = check(field, values, 1, path)
    value: Any = values.items[0] if isinstance(array, list) else array.tolist()[0]
    default: Value = tuple(value) if field.dimension else value
    return default


def repeated(value: Value, rows: int) -> Iterable[Any]:
    """One value for many rows; vectors lie one after the other."""
    return list(value) * rows if isinstance(value, tuple) else [value] * rows
