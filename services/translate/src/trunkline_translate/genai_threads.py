"""Threads that never end.

OpenVINO keeps something of every thread that ran a model, and frees it when the thread ends. A model that is freed
at that very moment ends the process (2026.4, `CPUStreamsExecutor`). So threads that run models are used again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final, TypeAlias

_Work: TypeAlias = tuple[Callable[[], None], Future[None]]

_lock: Final = Lock()
_idle: Final[list[_Worker]] = []


def start(work: Callable[[], None]) -> Future[None]:
    """Runs this in a thread of its own, which goes on to the next work after it. Every thread ends with the process.

    Returns:
        Done when the work is; it has what the work raised.
    """
    done: Future[None] = Future()
    with _lock:
        worker = _idle.pop() if _idle else _Worker()
    worker.inbox.put((work, done))
    return done


class _Worker:
    def __init__(self) -> None:
        self.inbox: SimpleQueue[_Work] = SimpleQueue()
        # A daemon: whatever goes on in it, the process may end.
        Thread(target=self._run, name="pipeline", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._do(*self.inbox.get())

    def _do(self, work: Callable[[], None], done: Future[None]) -> None:
        """Nothing of it is held on to afterwards."""
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:
            error = raised
        with _lock:
            _idle.append(self)
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
