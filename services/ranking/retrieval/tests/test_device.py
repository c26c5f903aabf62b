from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
from engine_parts import CPU, a_collection, an_index, built, clustered, numbered

from trunkline_retrieval.device import Device
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
