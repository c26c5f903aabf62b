"""The same work asked for twice is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from trunkline_modelstore import threads

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class SingleFlight(Generic[K, T]):
    """One task a key, shared by everybody who waits for it.

    The task belongs to its waiters together: when the last one is cancelled, so is the task, and that
    waiter leaves only when the task has ended.
    """

    context: Context
    """What tasks run in: not the context of the call that happened to come first, whose deadline is not
    that of the others."""
    _flights: dict[K, _Flight[T]] = field(default_factory=dict)

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `work`, or its exception; of the `work` under way for the key, if there is one."""
        while (flight := self._flights.get(key)) is not None and flight.task.cancelling():
            await asyncio.wait([flight.task])
            self._land(key, flight)
        if flight is None:
            task = asyncio.create_task(work(), name=f"flight {key}", context=self.context.copy())
            flight = self._flights[key] = _Flight(task)
        flight.waiters += 1
        try:
            await asyncio.wait([flight.task])
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                flight.task.cancel()
                await threads.settle(flight.task)
                if not flight.task.cancelled():
                    flight.task.exception()  # nobody is left to hear of it
            self._land(key, flight)
        return flight.task.result()

    def _land(self, key: K, flight: _Flight[T]) -> None:
        if flight.task.done() and self._flights.get(key) is flight:
            del self._flights[key]

    def __len__(self) -> int:
        return len(self._flights)


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiters: int = 0
