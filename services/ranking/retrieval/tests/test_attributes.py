from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trunkline_retrieval.attributes import Columns
from trunkline_retrieval.changes import Attributes
from trunkline_retrieval.filter import And, Comparison, Condition, Filter, Not, Or

WORDS = st.sampled_from(["", "a", "b", "ab", "ä", "Z"])
NUMBERS = st.sampled_from([-1.5, 0.0, 1.0, 2.0])
VALUES = WORDS | NUMBERS | st.booleans()
NAMES = st.sampled_from(["x", "y", "z"])
ATTRIBUTES = st.dictionaries(NAMES, VALUES | st.lists(WORDS, max_size=3).map(tuple), max_size=3)
ROWS = st.lists(ATTRIBUTES, max_size=12)

COMPARISONS = (
    st.builds(Comparison, NAMES, st.sampled_from(["=", "!=", ":"]), VALUES)
    | st.builds(Comparison, NAMES, st.sampled_from(["<", "<=", ">", ">="]), WORDS | NUMBERS)
    | st.builds(Comparison, NAMES, st.just(":"), st.none())
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=2, max_size=3).flatmap(
            lambda each: st.sampled_from([And(tuple(each)), Or(tuple(each))])
        )
    ),
    max_leaves=6,
)


def rows_of(columns: Columns) -> list[Attributes]:
    return columns.read(np.arange(columns.size))


@given(ROWS)
def test_attributes_come_out_as_they_went_in(rows: list[Attributes]) -> None:
    assert rows_of(Columns.of(rows)) == rows


@given(ROWS, st.data())
def test_some_rows_are_read_in_the_order_asked(rows: list[Attributes], data: st.DataObject) -> None:
    asked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20)) if rows else []
    assert Columns.of(rows).read(np.array(asked, np.int64)) == [rows[row] for row in asked]


@given(ROWS, CONDITIONS)
def test_columns_and_rows_agree_about_a_filter(rows: list[Attributes], condition: Condition) -> None:
    where = Filter(repr(condition), condition)
    assert Columns.of(rows).mask(where).tolist() == [where.matches(row) for row in rows]


@given(ROWS, ROWS, st.data())
def test_columns_are_joined_and_picked_from_like_lists(
    first: list[Attributes], second: list[Attributes], data: st.DataObject
) -> None:
    both = first + second
    joined = Columns.of(first).followed_by(Columns.of(second))
    assert rows_of(joined) == both
    order = data.draw(st.permutations(range(len(both))))[: data.draw(st.integers(0, len(both)))]
    taken = joined.take(np.array(order, np.int64))
    assert rows_of(taken) == [both[row] for row in order]
    # Nothing of the rows left behind is carried on: the same columns as if they had never been.
    fresh = Columns.of([both[row] for row in order]).to_arrays()
    assert {name: array.tolist() for name, array in taken.to_arrays().items()} == {
        name: array.tolist() for name, array in fresh.items()
    }


@given(ROWS)
def test_columns_survive_a_file_without_pickles(rows: list[Attributes]) -> None:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **Columns.of(rows).to_arrays())
    file.seek(0)
    with np.load(file) as arrays:
        assert rows_of(Columns.from_arrays(arrays)) == rows
