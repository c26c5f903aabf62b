"""Where snapshots are searched: this core, or a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import faiss


@dataclass(frozen=True, slots=True)
class Device:
    """What FAISS runs on."""

    name: str
    """`cpu`, or `gpu:0`."""

    @classmethod
    def detect(cls) -> Device:
        """The first GPU that FAISS was built for and finds, else the CPU.

        Limits FAISS to one OpenMP thread: a replica is one process on one core, and threads that wait for
        each other at the end of every search would cost more than they bring.
        """
        faiss.omp_set_num_threads(1)
        gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
        return cls("gpu:0" if gpus > 0 else "cpu")
