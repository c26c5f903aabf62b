"""How much of each recogniser's capacity is used, and whether there is room for one more session."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from trunkline_hop.clock import Clock

MEMORY_S: Final = 10.0
"""What happened longer ago than this counts for little."""
WANTED_S: Final = 0.6
"""A pass that takes longer than this, its wait included, makes sessions late."""


class Loads:
    """The load of every recogniser.

    Args:
        clock: measures it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loads: dict[str, Load] = {}

    def of(self, name: str) -> Load:
        """That of one recogniser, by name."""
        return self._loads.setdefault(name, Load(self._clock))

    @property
    def most(self) -> float:
        """That of the busiest."""
        return max((load.now for load in self._loads.values()), default=0.0)


class Load:
    """The share of time in which passes of live sessions run or wait, times how late that makes them.

    A pool that is always busy but answers at once has room for more; so has one that is slow but idle. Recordings
    that are fed as fast as they are heard do not count: they take what is left.

    Args:
        clock: measures both.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()
        self._running = 0
        self._busy = 0.0
        self._taken_s = 0.0

    @property
    def now(self) -> float:
        """0 when idle; at 1 one more session would make the others late."""
        self._advance()
        return self._busy * self._taken_s / WANTED_S

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Counts a pass, from when it is asked for to its answer."""
        self._advance()
        started = self._at
        self._running += 1
        try:
            yield
        finally:
            self._advance()
            self._running -= 1
            taken_s = self._at - started
            weight = 1.0 - math.exp(-max(taken_s, WANTED_S) / MEMORY_S)
            self._taken_s += weight * (taken_s - self._taken_s)

    def _advance(self) -> None:
        """Moves the share of busy time to now: an average whose weights fall off exponentially."""
        now = self._clock.monotonic()
        weight = 1.0 - math.exp(-(now - self._at) / MEMORY_S)
        self._busy += weight * (float(self._running > 0) - self._busy)
        self._at = now
