from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
from engine_parts import CPU, a_collection, an_index, built, clustered, numbered

from trunkline_retrieval.device import Device, Placed
from trunkline_retrieval.exact import nearest
from trunkline_retrieval.index import Metric
from trunkline_retrieval.rowset import RowSet
from trunkline_retrieval.snapshot import load


def test_builds_loads_and_searches_use_the_thread_they_are_called_on_and_no_other(tmp_path: Path) -> None:
    collection = a_collection(an_index(), numbered(clustered(100, 4)))
    manifest = built(collection, tmp_path / "here")

    def threads_after(entry: Callable[[], object]) -> int:
        faiss.omp_set_num_threads(2)
        entry()
        return faiss.omp_get_max_threads()

    with ThreadPoolExecutor(1) as pool:
        for entry in (
            lambda: collection.view().search(np.ones((1, 4), np.float32), 1),
            lambda: built(collection, tmp_path / "there"),
            lambda: load(collection.index, tmp_path / "here", manifest, CPU),
        ):
            assert pool.submit(threads_after, entry).result() == 1


def test_without_a_gpu_nothing_is_placed_on_one() -> None:
    assert Device("cpu").place(faiss.IndexFlatL2(4)) is None


def test_what_is_placed_is_asked_for_more_when_rows_are_missing() -> None:
    """With an index of the CPU in it: FAISS's GPU indexes are searched the same way, and take no selector."""
    vectors = clustered(3000, 8)
    index = faiss.IndexFlatL2(8)
    index.add(vectors)
    placed = Placed(index, None)
    few, many = (RowSet.all(3000).without(np.arange(gone)) for gone in (500, 2500))
    assert placed.takes(1000, few)
    assert not placed.takes(1000, many)
    scores, rows = placed.search(vectors[:1], 1000, few)
    exact_scores, exact_rows = nearest(vectors[:1], vectors, 1000, Metric.SQUARED_L2, few)
    assert np.array_equal(rows, exact_rows)
    assert np.array_equal(scores, exact_scores)
