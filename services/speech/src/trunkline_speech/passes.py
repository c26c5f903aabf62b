"""One pass of the recogniser over a segment, and what is done when it cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

import structlog

from trunkline_hop.clock import Clock
from trunkline_hop.errors import BadRequest, Fault, Overloaded, TooLate, Unavailable
from trunkline_speech.load import Loads
from trunkline_speech.recogniser import Heard, Hearing, Recogniser, Samples

FINAL_DUE_S: Final = 2.0
"""A final is wanted within this; each further attempt gives it twice as long."""
PATIENCE_S: Final = 60.0
"""So long a final waits for a pool that is full, as long as a stream may be idle."""
ATTEMPTS: Final = 3
"""On audio that the recogniser fails on."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0

logger = structlog.get_logger("trunkline_speech")


class Interrupted(Exception):
    """The session ends before the pool had room."""


class Passes:
    """Runs the passes of one session.

    Args:
        clock: measures patience.
        loads: is told how long passes of a live session take.
        live: whether the session is live right now.
        stop: set when waiting has no point any more.
    """

    def __init__(self, clock: Clock, loads: Loads, live: Callable[[], bool], stop: asyncio.Event) -> None:
        self._clock = clock
        self._loads = loads
        self._live = live
        self._stop = stop

    async def interim(
        self, recogniser: Recogniser, samples: Samples, hearing: Hearing, *, within_s: float
    ) -> Heard | None:
        """What is heard, or None where there is no room for it or it fails: another pass will follow.

        Raises:
            BadRequest: the recogniser does not do this.
            Unavailable: it never will again.
        """
        try:
            return await self._once(recogniser, samples, hearing, within_s)
        except (Overloaded, TooLate):
            return None
        except (BadRequest, Unavailable):
            raise
        except Exception:
            logger.warning("a pass failed", model=recogniser.name, exc_info=True)
            return None

    async def final(self, recogniser: Recogniser, samples: Samples, hearing: Hearing) -> Heard | None:
        """What is heard, however long that takes; None where the recogniser fails on it again and again.

        Raises:
            Overloaded, TooLate: the pool was full all the time that a stream may be idle.
            BadRequest, Unavailable: as `interim`.
            Interrupted: the session was stopped meanwhile.
        """
        until = self._clock.monotonic() + PATIENCE_S
        within_s, pause_s, failures = FINAL_DUE_S, _FIRST_PAUSE_S, 0
        while True:
            try:
                return await self._once(recogniser, samples, hearing, within_s)
            except (Overloaded, TooLate) as full:
                if self._clock.monotonic() >= until:
                    raise
                await self._pause(_retry_after_s(full) or pause_s)
                within_s *= 2
            except (BadRequest, Unavailable):
                raise
            except Exception:
                failures += 1
                logger.warning("a pass failed", model=recogniser.name, failures=failures, exc_info=True)
                if failures == ATTEMPTS:
                    return None
                await self._pause(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _once(
        self, recogniser: Recogniser, samples: Samples, hearing: Hearing, within_s: float
    ) -> Heard:
        due = asyncio.get_running_loop().time() + within_s
        live = self._live()
        with self._loads.of(recogniser.name).measured() if live else nullcontext():
            return await recogniser.hear(samples, replace(hearing, due=due))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
        raise Interrupted


def _retry_after_s(fault: Fault) -> float:
    if not isinstance(fault, Overloaded) or fault.retry_after is None:
        return 0.0
    return min(fault.retry_after.total_seconds(), _LONGEST_PAUSE_S)
