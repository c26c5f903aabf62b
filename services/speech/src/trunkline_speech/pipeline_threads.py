"""The threads that pipelines run in. They are the process's, not a pool's, and end with it.

OpenVINO keeps something of every thread that ran a model, and frees it when the thread ends (2026.4,
`CPUStreamsExecutor`). A model that is freed at that very moment, whosever it is, can end the process: seen with text
generation, not with Whisper. To join a thread first does not help: Python says that it is over before what libraries
keep of it is freed. So threads that ran a model are used again for others.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

_MOST: Final = 1024
"""More than pipelines: what limits work is their number. A thread is only started when none is idle."""

EXECUTOR: Final = ThreadPoolExecutor(_MOST, thread_name_prefix="pipeline")
"""Never shut down."""


def run(work: Callable[[], T]) -> T:
    """What the work gives, done in one of them, and raises. Blocks meanwhile; not to be called in one of them."""
    return EXECUTOR.submit(work).result()
