from __future__ import annotations

import faiss

from trunkline_retrieval.device import Device


def test_a_process_searches_on_one_thread() -> None:
    faiss.omp_set_num_threads(2)
    Device.detect()
    assert faiss.omp_get_max_threads() == 1


def test_without_a_gpu_nothing_is_placed_on_one() -> None:
    assert Device("cpu").place(faiss.IndexFlatL2(4)) is None
