"""Admission: how many calls run at once, who waits, and who is refused."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field
from datetime import timedelta

from trunkline_hop.clock import Clock, SystemClock
from trunkline_hop.context import Priority
from trunkline_hop.errors import Overloaded, TooLate

_SMOOTHING = 0.1
_RETRY_AFTER = timedelta(milliseconds=100)


@dataclass(order=True, slots=True)
class _Waiter:
    rank: tuple[int, float, int]
    """Higher priority, then earlier deadline, then first come."""
    admitted: asyncio.Future[None] = field(compare=False)


class Admission:
    """A fixed number of slots in front of a bounded queue, ordered by priority and deadline.

    Over its bound the queue sheds its least urgent call. A call is refused at once when the queue ahead of
    it will take longer than its deadline allows, and dropped when it waited longer than the TTL.

    Args:
        limit: calls at once.
        queue_limit: calls waiting at most.
        queue_ttl_s: longest wait.
    """

    def __init__(
        self, limit: int, queue_limit: int, queue_ttl_s: float, *, clock: Clock | None = None
    ) -> None:
        self.limit = limit
        self.queue_limit = queue_limit
        self.queue_ttl_s = queue_ttl_s
        self.running = 0
        self.shed_count = 0
        self.expired_count = 0
        self._clock = clock or SystemClock()
        self._queue: list[_Waiter] = []
        self._sequence = 0
        self._run_time_s = 0.0

    @property
    def queued(self) -> int:
        """Calls waiting."""
        return len(self._queue)

    def admit(self) -> bool:
        """Takes a free slot, if there is one and nobody waits for it. The way of most calls."""
        if self.running < self.limit and not self._queue:
            self.running += 1
            return True
        return False

    async def wait(self, priority: Priority, deadline: float | None) -> None:
        """Waits for a slot. The caller gives it back with `release`.

        Args:
            priority: who goes first.
            deadline: on the clock's monotonic reading; None goes after those that have one.

        Raises:
            Overloaded: SHED, the queue is full of calls at least as urgent.
            TooLate: DEADLINE_UNMEETABLE, the queue takes longer than is left; EXPIRED_IN_QUEUE.
        """
        now = self._clock.monotonic()
        rank = (-priority, deadline if deadline is not None else float("inf"), self._sequence)
        self._sequence += 1
        self._refuse_unmeetable(rank, deadline, now)
        self._make_room(rank)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(rank, loop.create_future())
        heapq.heappush(self._queue, waiter)
        wait_s = self.queue_ttl_s if deadline is None else min(self.queue_ttl_s, deadline - now)
        timer = loop.call_later(wait_s, self._expire, waiter)
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter.admitted.done() and not waiter.admitted.cancelled() and not waiter.admitted.exception():
                self.release()
            else:
                self._forget(waiter)
            raise
        finally:
            timer.cancel()

    def release(self, seconds: float | None = None) -> None:
        """Gives a slot back and passes it on.

        Args:
            seconds: how long the call ran, if that says something about the next one.
        """
        if seconds is not None:
            self._run_time_s += _SMOOTHING * (seconds - self._run_time_s)
        self.running -= 1
        while self._queue and self.running < self.limit:
            waiter = heapq.heappop(self._queue)
            if not waiter.admitted.done():
                self.running += 1
                waiter.admitted.set_result(None)

    def _refuse_unmeetable(self, rank: tuple[int, float, int], deadline: float | None, now: float) -> None:
        if deadline is None:
            return
        ahead = sum(waiter.rank < rank for waiter in self._queue)
        # Slots come free at limit / run time; the call itself takes one run time more.
        predicted_s = self._run_time_s * (1 + (ahead + 1) / self.limit)
        if now + predicted_s > deadline:
            # An estimate that only refuses would never learn that calls became faster.
            self._run_time_s *= 1 - _SMOOTHING
            raise TooLate(
                "DEADLINE_UNMEETABLE",
                "the queue and the call would take longer than the deadline leaves",
                metadata={"predicted_ms": f"{predicted_s * 1e3:.0f}"},
            )

    def _make_room(self, rank: tuple[int, float, int]) -> None:
        if len(self._queue) < self.queue_limit:
            return
        self.shed_count += 1
        last = max(self._queue, default=None)
        if last is None or last.rank <= rank:
            raise _shed()
        self._forget(last)
        if not last.admitted.done():
            last.admitted.set_exception(_shed())

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.admitted.done():
            self.expired_count += 1
            self._forget(waiter)
            waiter.admitted.set_exception(
                TooLate("EXPIRED_IN_QUEUE", "the call waited for a slot until it was too late")
            )

    def _forget(self, waiter: _Waiter) -> None:
        if waiter in self._queue:
            self._queue.remove(waiter)
            heapq.heapify(self._queue)


def _shed() -> Overloaded:
    return Overloaded("SHED", "more calls than can be served at once; try again", retry_after=_RETRY_AFTER)
