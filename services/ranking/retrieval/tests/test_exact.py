from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_retrieval.exact import nearest, unit
from trunkline_retrieval.index import Metric
from trunkline_retrieval.rowset import RowSet


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.02, 0.5, 0.9, 1.0]),
    st.sampled_from([Metric.SQUARED_L2, Metric.INNER_PRODUCT]),
)
def test_the_nearest_rows_and_all_that_tie_with_the_last_are_found(
    seed: int, count: int, top_k: int, absent: float, metric: Metric
) -> None:
    random = np.random.default_rng(seed)
    # Few values, so that many tie; whole numbers, so that every sum is exact.
    vectors = random.integers(-1, 2, (count, 3)).astype(np.float32)
    query = random.integers(-2, 3, (1, 3)).astype(np.float32)
    rows = RowSet.of(random.random(count) >= absent)
    scores, found = nearest(query, vectors, top_k, metric, rows)

    worth = -((vectors - query) ** 2).sum(axis=1) if metric is Metric.SQUARED_L2 else vectors @ query[0]
    among = np.sort(worth[rows.rows])[::-1]
    wanted = {row for row in rows.rows.tolist() if worth[row] >= among[min(top_k, len(among)) - 1]}
    assert set(found.tolist()) == wanted and len(found) == len(wanted)
    assert np.array_equal(np.abs(scores), np.abs(worth[found]))
    assert np.all(np.diff(worth[found]) <= 0)


def test_a_vector_has_the_length_of_one_however_large_or_small_it_was() -> None:
    vectors = np.array([[3e30, 4e30], [3e-30, 4e-30], [0, -7]], np.float32)
    assert unit(vectors) == pytest.approx(np.array([[0.6, 0.8], [0.6, 0.8], [0, -1]]))
