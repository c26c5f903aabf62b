"""Audio between those who bring it and those who hear it: bounded, so that whoever is too fast waits."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from trunkline_hop.clock import Clock
from trunkline_speech.transcript import RATE_HZ

LIVE_SLACK_S = 0.5
"""Audio of a microphone may come this much ahead of its time, when the network held it back before."""

TURN = 64
"""So many items are read in a row before others have a turn: some 2 ms of work."""

ItemT = TypeVar("ItemT")


class Intake(Generic[ItemT]):
    """A queue of pieces of audio and whatever happens in between, for one writer and one reader.

    Args:
        limit: samples that wait at most, a piece more or less.
        clock: tells audio that comes as it is spoken from audio that was recorded before.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self.limit = limit
        self._clock = clock
        self._items: deque[tuple[ItemT, int]] = deque()
        self._waiting = 0
        self._interrupted = False
        self._closed = False
        self._changed = asyncio.Event()
        self._since = 0.0
        self._last: float | None = None
        self._taken = 0
        self._streak = 0
        self._burst = False

    @property
    def ahead(self) -> int:
        """Samples that wait."""
        return self._waiting

    @property
    def closed(self) -> bool:
        """True when nothing more is taken."""
        return self._closed

    @property
    def live(self) -> bool:
        """True while the audio that waits came no faster than it can be spoken."""
        return not self._burst

    async def put(self, item: ItemT, samples: int = 0) -> None:
        """Appends an item; waits first while too much waits. Does nothing once it is closed."""
        while samples and self._waiting >= self.limit and not self._closed:
            await self._change()
        if self._closed:
            return
        now = self._clock.monotonic()
        if not self._waiting:
            # All that came was heard, so nobody is behind. What comes now was spoken since the last that came.
            self._since = now if self._last is None else self._last
            self._taken, self._burst = 0, False
        self._items.append((item, samples))
        self._waiting += samples
        self._taken += samples
        if samples:
            self._last = now
            self._burst |= self._taken > (now - self._since + LIVE_SLACK_S) * RATE_HZ
        self._changed.set()

    async def get(self) -> ItemT | None:
        """The next item; waits for one. None after `interrupt`, once and for all."""
        self._streak = (self._streak + 1) % TURN
        if not self._streak:
            # Silence is heard without ever waiting: other sessions want a turn.
            await asyncio.sleep(0)
        while not self._items and not self._interrupted:
            await self._change()
        if self._interrupted:
            return None
        item, samples = self._items.popleft()
        self._waiting -= samples
        self._changed.set()
        return item

    def rest(self) -> list[ItemT]:
        """What waits, after `interrupt`; it takes nothing more."""
        items = [item for item, _ in self._items]
        self.close()
        return items

    def interrupt(self) -> None:
        """Nothing more is read, whatever waits."""
        self._interrupted = True
        self._changed.set()

    def close(self) -> None:
        """Nothing more is taken, and what waits is dropped."""
        self._closed = True
        self._items.clear()
        self._waiting = 0
        self._changed.set()

    async def _change(self) -> None:
        # Between the reader's and the writer's look at the queue and this wait, nothing else runs: whoever
        # changes it does so after both have begun to wait, and an event wakes all who wait for it.
        self._changed.clear()
        await self._changed.wait()
