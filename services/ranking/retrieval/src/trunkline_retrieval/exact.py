"""Exact search: every row that may be returned is compared."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.index import Metric
from trunkline_retrieval.rowset import RowSet

BYTE_S = 1e-10
"""Time to compare a byte of vectors: 0.04 ns was measured where they fit a cache, 0.13 ns where they do not."""
FETCH_S = 1e-7
"""Time to fetch a row that does not follow the one before, of many: 18 ns within a cache, 130 ns without."""

_OVERFETCH = 64
"""Up to so many missing rows it is faster to ask for as many more than to look every row up in a bitmap."""

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Scores, best first, and their rows."""

NOTHING: Found = (np.empty(0, np.float32), np.empty(0, np.int64))


def faiss_metric(metric: Metric) -> int:
    """What FAISS calls it. Vectors of COSINE are of length 1, so that their inner product is it."""
    return int(faiss.METRIC_L2 if metric is Metric.SQUARED_L2 else faiss.METRIC_INNER_PRODUCT)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length 1 in the direction of each, `[n, dimension]`. None may be zero."""
    # In 64 bits: the squares of large 32-bit numbers overflow, and those of small ones vanish.
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide.astype(np.float32)


def nearest(
    query: NDArray[np.float32], vectors: NDArray[np.float32], top_k: int, metric: Metric, rows: RowSet
) -> Found:
    """The nearest of the rows, and all that are as near as the last of them, so that a caller can order ties.

    One query a call. FAISS compares 20 or more at a time as a matrix product, with other roundings: a vector
    would have one score alone and another in a batch, and equal vectors might not tie.

    Args:
        query: `[1, dimension]`, contiguous, as are the vectors.
        vectors: `[rows.size, dimension]`.
        top_k: 1 or more.
        metric: how they are compared.
        rows: which vectors to compare.
    """
    if not rows.count:
        return NOTHING
    spare = rows.missing if rows.missing <= _OVERFETCH else 0
    selector = None if rows.missing == spare else rows.listed
    wanted = min(top_k, rows.count)
    fetch = wanted + 1
    while True:
        scores, found = _knn(query, vectors, min(fetch, rows.count) + spare, metric, selector)
        if spare:
            live = rows.has(found)
            scores, found = scores[live], found[live]
        last = scores[wanted - 1]
        if fetch >= rows.count or scores[-1] != last:
            ties = np.count_nonzero(scores[wanted:] == last)
            return scores[: wanted + ties], found[: wanted + ties]
        fetch *= 4


def _knn(
    query: NDArray[np.float32],
    vectors: NDArray[np.float32],
    fetch: int,
    metric: Metric,
    selector: faiss.IDSelector | None,
) -> Found:
    # faiss.knn takes no selector; the functions below it do.
    scores, rows = np.empty(fetch, np.float32), np.empty(fetch, np.int64)
    count, dimension = vectors.shape
    into = (faiss.swig_ptr(scores), faiss.swig_ptr(rows))
    matrices = (faiss.swig_ptr(query), faiss.swig_ptr(vectors), dimension, 1, count, fetch)
    if metric is Metric.SQUARED_L2:
        faiss.knn_L2sqr(*matrices, *into, None, selector)
    else:
        faiss.knn_inner_product(*matrices, *into, selector)
    return scores, rows
