"""Where snapshots are searched: this core, or a GPU."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.rowset import RowSet

_GPU_MOST: Final = 2048
"""Most results of a search on a GPU, by FAISS."""


def use_one_thread() -> None:
    """Keeps FAISS to the calling thread: a replica is one process on one core.

    To be called by whatever enters FAISS: OpenMP keeps the number by thread, and gives a new thread all cores.
    """
    faiss.omp_set_num_threads(1)


@dataclass(frozen=True, slots=True)
class Placed:
    """An index on a GPU. One search at a time: FAISS's GPU resources are not safe for several threads."""

    index: faiss.Index
    resources: object
    """Lives as long as the index that uses it."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, fetch: int, rows: RowSet) -> bool:
        """Whether it can do a search: it has a limit, and is told of no rows but all."""
        return fetch + rows.missing <= _GPU_MOST

    def search(
        self,
        query: NDArray[np.float32],
        fetch: int,
        rows: RowSet,
        parameters: faiss.SearchParameters | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest of the rows, best first; fewer where it meets no more. It asks for those to leave out too."""
        with self.lock:
            scores, found = self.index.search(query, fetch + rows.missing, params=parameters)
        kept = np.flatnonzero(found[0] >= 0)
        kept = kept[rows.has(found[0][kept])][:fetch]
        return scores[0][kept], found[0][kept]


@dataclass(frozen=True, slots=True)
class Device:
    """What FAISS runs on."""

    name: str
    """`cpu`, or `gpu:0`."""

    @classmethod
    def detect(cls) -> Device:
        """The first GPU that FAISS was built for and finds, else the CPU."""
        gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
        return cls("gpu:0" if gpus > 0 else "cpu")

    def place(self, index: faiss.Index) -> Placed | None:
        """A copy of a flat or an inverted index on the GPU; None on the CPU.

        Graphs stay where they are: FAISS walks none on a GPU.
        """
        if self.name == "cpu":
            return None
        resources = faiss.StandardGpuResources()
        number = int(self.name.removeprefix("gpu:"))
        return Placed(faiss.index_cpu_to_gpu(resources, number, index), resources)
