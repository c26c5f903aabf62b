"""Fewer and longer pieces: at most one every 20 ms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from trunkline_hop.tasks import ended
from trunkline_translate.translation import Outcome, Partial, Task, Translated, Translates

EVERY_S: Final = 0.02
"""A client that draws text gains nothing from more than 50 pieces a second, and each costs a message."""


class Coalesced:
    """A translator whose partials come so many at most.

    Args:
        translator: says them as they come.
        every_s: least time between two of one sentence.
    """

    def __init__(self, translator: Translates, *, every_s: float = EVERY_S) -> None:
        self._translator = translator
        self._every_s = every_s

    def translate(self, task: Task) -> AsyncGenerator[Outcome, None]:
        """The translation of a sentence. See `Translator.translate`."""
        return coalesced(self._translator.translate(task), every_s=self._every_s)


async def coalesced(
    outcomes: AsyncGenerator[Outcome, None], *, every_s: float = EVERY_S
) -> AsyncGenerator[Outcome, None]:
    """The same outcomes with partials of one revision put together; the first partial and the translation at once.

    What a new revision makes void before it was said is not said at all. Closing it closes `outcomes`.

    Args:
        outcomes: of one sentence.
        every_s: shortest time between two partials, in seconds.

    Raises:
        Exception: whatever `outcomes` raises, after the partials before it.
    """
    loop = asyncio.get_running_loop()
    gathered = _Gathered()
    reading = asyncio.create_task(gathered.read(outcomes), name="coalesce")
    reading.add_done_callback(gathered.over)
    said_at = float("-inf")
    try:
        while True:
            await gathered.news.wait()
            if (early_s := said_at + every_s - loop.time()) > 0 and not reading.done():
                await asyncio.wait([reading], timeout=early_s)
            if (partial := gathered.taken()) is not None:
                said_at = loop.time()
                yield partial
            elif reading.done():
                break
        reading.result()
        if gathered.translated is not None:
            yield gathered.translated
    finally:
        await ended(reading)


class _Gathered:
    """What was not said yet."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        """Set while there is something to say, and once nothing comes any more."""
        self.translated: Translated | None = None
        self._ended = False
        self._revision = 0
        self._texts: list[str] = []

    async def read(self, outcomes: AsyncGenerator[Outcome, None]) -> None:
        """Takes in all of it, as it comes."""
        async with aclosing(outcomes):
            async for outcome in outcomes:
                if isinstance(outcome, Translated):
                    self.translated = outcome
                    return
                if outcome.revision != self._revision:
                    self._revision = outcome.revision
                    self._texts.clear()
                self._texts.append(outcome.text)
                self.news.set()

    def over(self, _: asyncio.Task[None]) -> None:
        """Nothing comes any more."""
        self._ended = True
        self.news.set()

    def taken(self) -> Partial | None:
        """All that was not said yet, as one piece."""
        if not self._ended:
            self.news.clear()
        if not self._texts:
            return None
        partial = Partial(self._revision, "".join(self._texts))
        self._texts.clear()
        return partial
