from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trunkline_retrieval.rowset import RowSet

MASKS = st.lists(st.booleans(), max_size=40).map(lambda mask: np.array(mask, np.bool_))


def same(rows: RowSet, mask: NDArray[np.bool_]) -> bool:
    every = np.arange(len(mask))
    return (
        (rows.size, rows.count, rows.missing) == (len(mask), mask.sum(), (~mask).sum())
        and np.array_equal(rows.rows, np.flatnonzero(mask))
        and np.array_equal(rows.has(every), mask)
    )


@given(MASKS)
def test_a_set_is_its_mask(mask: NDArray[np.bool_]) -> None:
    assert same(RowSet.of(mask), mask)
    assert same(RowSet.all(len(mask)), np.ones(len(mask), np.bool_))


@given(MASKS, st.data())
def test_rows_removed_are_gone_and_the_set_before_still_has_them(
    mask: NDArray[np.bool_], data: st.DataObject
) -> None:
    before = RowSet.of(mask)
    gone = np.array(
        data.draw(st.lists(st.sampled_from(before.rows), unique=True)) if mask.any() else [], np.int64
    )
    left = mask.copy()
    left[gone] = False
    assert same(before.without(gone), left)
    assert same(before, mask)


@given(MASKS, st.integers(0, 20))
def test_new_rows_are_in_the_set(mask: NDArray[np.bool_], more: int) -> None:
    assert same(RowSet.of(mask).extended(more), np.concatenate((mask, np.ones(more, np.bool_))))


@given(MASKS, st.data())
def test_an_intersection_is_what_both_have(mask: NDArray[np.bool_], data: st.DataObject) -> None:
    other = np.array(data.draw(st.lists(st.booleans(), min_size=len(mask), max_size=len(mask))), np.bool_)
    full = RowSet.all(len(mask))
    assert same(RowSet.of(mask).intersection(RowSet.of(other)), mask & other)
    assert same(RowSet.of(mask).intersection(full), mask)
    assert same(full.intersection(RowSet.of(other)), other)
