from __future__ import annotations

import struct
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trunkline_features.columns import Values, check, zero
from trunkline_features.plan import Plans
from trunkline_features.rows import RowFormat
from trunkline_features.views import FeatureView, Field, FieldType, Views

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: dict[FieldType, st.SearchStrategy[Any]] = {
    FieldType.FLOAT64: st.floats(allow_nan=False, allow_infinity=False),
    FieldType.INT64: INT64,
    FieldType.TIMESTAMP: INT64,
    FieldType.BOOL: st.booleans(),
    FieldType.STRING: TEXT,
    FieldType.BYTES: st.binary(max_size=20),
}


def value_of(field: Field) -> st.SearchStrategy[Any]:
    if field.type is FieldType.FLOAT32_VECTOR:
        single = st.floats(allow_nan=False, allow_infinity=False, width=32)
        return st.lists(single, min_size=field.dimension, max_size=field.dimension).map(tuple)
    return VALUES[field.type]


@st.composite
def a_view(draw: st.DrawFn) -> FeatureView:
    fields = []
    for index, kind in enumerate(draw(st.lists(st.sampled_from(FieldType), min_size=1, max_size=20))):
        dimension = draw(st.integers(1, 4)) if kind is FieldType.FLOAT32_VECTOR else 0
        field = Field(f"f{index}", kind, None, dimension)
        default = draw(st.none() | value_of(field))
        fields.append(Field(field.name, kind, default, dimension))
    return FeatureView("v", "customer", tuple(fields))


def packed(fields: tuple[Field, ...], values: list[list[Any]], time_us: int) -> list[bytes]:
    """Rows of values by row, None for a null."""
    columns, nulls = [], []
    for index, field in enumerate(fields):
        column = [zero(field) if row[index] is None else row[index] for row in values]
        flat = [single for each in column for single in each] if field.dimension else column
        columns.append(check(field, Values(field.type, flat), len(values), ""))
        nulls.append(np.array([row[index] is None for row in values]))
    return RowFormat(fields).pack(np.full(len(values), time_us), columns, nulls)


@given(st.data())
def test_what_was_packed_is_read_back_whatever_the_types_the_nulls_and_the_age_of_the_row(
    data: st.DataObject,
) -> None:
    view = data.draw(a_view())
    older = view.fields[: data.draw(st.integers(1, len(view.fields)))]
    stored: list[bytes | None] = []
    expected: list[tuple[int, list[Any]] | None] = []
    for held in data.draw(st.lists(st.sampled_from(["none", "older", "whole"]), min_size=1, max_size=5)):
        fields = {"none": (), "older": older, "whole": view.fields}[held]
        values = [data.draw(st.none() | value_of(field)) for field in fields]
        stored.append(packed(fields, [values], 7_000)[0] if fields else None)
        expected.append((len(fields), values) if fields else None)
    order = data.draw(st.permutations(range(len(view.fields))))
    plan = Plans(Views("r", {"v": view})).plan(tuple(f"v:f{index}" for index in order)).views[0]

    columns, ages, unreadable = plan.decode(stored, 10_000)

    assert unreadable == 0
    assert ages == [-1 if each is None else 3 for each in expected]
    for column, index in zip(columns, order, strict=True):
        field = view.fields[index]
        for row, held in enumerate(expected):
            value = column.values[row]
            if field.dimension:
                value = tuple(column.values[row * field.dimension : (row + 1) * field.dimension])
            if held is None or index >= held[0]:
                wanted = (3, zero(field)) if field.default is None else (5, field.default)
            else:
                wanted = (2, zero(field)) if held[1][index] is None else (1, held[1][index])
            assert (column.statuses[row], value) == wanted


@given(st.binary(max_size=80))
def test_bytes_that_are_no_row_are_counted_and_read_as_missing(garbage: bytes) -> None:
    fields = (Field("a", FieldType.STRING, "x"), Field("b", FieldType.INT64))
    plan = Plans(Views("r", {"v": FeatureView("v", "customer", fields)})).plan(("v:a", "v:b")).views[0]
    good = packed(fields, [["hello", 1]], 0)[0]
    for row in (garbage, b"\x00" + garbage + good, good[:-1], b"\x02" + good[1:]):
        columns, ages, unreadable = plan.decode([good, row], 0)
        assert (unreadable, ages) == (1, [0, -1])
        assert [list(column.values) for column in columns] == [["hello", "x"], [1, 0]]


def test_a_text_that_points_outside_its_row_is_no_text() -> None:
    fields = (Field("a", FieldType.STRING),)
    good = packed(fields, [["hello"]], 0)[0]
    assert struct.unpack_from("<II", good, 16) == (25, 5)
    bad = good[:16] + struct.pack("<II", 20, 2**32 - 1) + good[24:]
    groups, unreadable = RowFormat(fields).unpack([bad])
    assert (groups, unreadable) == ([], 1)


def test_the_bytes_of_a_row_are_as_documented() -> None:
    fields = (
        Field("s", FieldType.STRING),
        Field("x", FieldType.FLOAT64),
        Field("b", FieldType.BOOL),
        Field("n", FieldType.INT64),
        Field("e", FieldType.FLOAT32_VECTOR, None, 2),
    )
    row = packed(fields, [["hé", 1.5, True, None, (1.0, 2.0)]], 99)[0]
    assert row == struct.pack(
        "<BBHIqdqIIffBB3s", 1, 0, 5, 53, 99, 1.5, 0, 50, 3, 1.0, 2.0, 1, 0b01000, "hé".encode()
    )
