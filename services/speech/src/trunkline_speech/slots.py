"""Who is next: a fixed number of slots, handed to whoever's answer is due first."""

from __future__ import annotations

import asyncio
import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from trunkline_hop.errors import Overloaded, TooLate

_WEIGHT: Final = 0.2
"""Of the last run in the expected time of one."""


@dataclass(slots=True, order=True)
class _Waiter:
    due: float
    order: int
    slot: asyncio.Future[int] = field(compare=False)


class Slots:
    """Hands out slots, the earliest due first (EDF); those due alike in the order in which they came.

    Args:
        count: of slots, numbered from 0.
        queue_limit: most that may wait.
        changed: is told how many wait, whenever that changes.
    """

    def __init__(self, count: int, queue_limit: int, changed: Callable[[int], None] = lambda _: None) -> None:
        self._count = count
        self._limit = queue_limit
        self._changed = changed
        self._idle = list(range(count))
        self._waiting: list[_Waiter] = []
        self._order = 0
        self._expected_s = 0.0
        """What work takes, as an average of the last; 0 until there was some."""

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiting)

    async def take(self, due: float = math.inf) -> int:
        """A slot, to be given back by `give`.

        Args:
            due: when the work must be over, on the event loop's clock.

        Raises:
            Overloaded: SHED, too many wait already.
            TooLate: DEADLINE_UNMEETABLE, or EXPIRED_IN_QUEUE: work that began now would be over too late.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        ahead = 0.0 if self._idle else 1 + sum(waiter.due <= due for waiter in self._waiting)
        if now + self._expected_s * (1 + ahead / self._count) > due:
            raise TooLate("DEADLINE_UNMEETABLE", "this speech cannot be heard by when the answer is due")
        if self._idle:
            return self._idle.pop()
        if len(self._waiting) >= self._limit:
            wait_s = self._expected_s * max(1, len(self._waiting)) / self._count
            raise Overloaded(
                "SHED",
                f"{len(self._waiting)} pieces of speech wait for this recogniser already",
                retry_after=timedelta(seconds=round(max(wait_s, 0.1), 1)),
            )
        self._order += 1
        waiter = _Waiter(due, self._order, loop.create_future())
        insort(self._waiting, waiter)
        self._changed(len(self._waiting))
        expiry = None if due == math.inf else loop.call_at(due - self._expected_s, self._expire, waiter)
        try:
            return await waiter.slot
        except asyncio.CancelledError:
            if waiter.slot.cancelled():
                self._forget(waiter)
            elif waiter.slot.exception() is None:
                # It was handed over in the very step in which it was no longer wanted.
                self._hand_over(waiter.slot.result())
            raise
        finally:
            if expiry is not None:
                expiry.cancel()

    def give(self, slot: int, worked_s: float | None) -> None:
        """Gives a slot back.

        Args:
            slot: from `take`.
            worked_s: how long the work took; None when it was not done.
        """
        if worked_s is not None:
            weight = _WEIGHT if self._expected_s else 1.0
            self._expected_s += weight * (worked_s - self._expected_s)
        self._hand_over(slot)

    def _hand_over(self, slot: int) -> None:
        while self._waiting:
            waiter = self._waiting[0]
            self._forget(waiter)
            # One that is cancelled has not run yet to take itself off the list.
            if not waiter.slot.done():
                waiter.slot.set_result(slot)
                return
        self._idle.append(slot)

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.slot.done():
            self._forget(waiter)
            waiter.slot.set_exception(
                TooLate("EXPIRED_IN_QUEUE", "no pipeline was free before the answer was due")
            )

    def _forget(self, waiter: _Waiter) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            self._changed(len(self._waiting))
