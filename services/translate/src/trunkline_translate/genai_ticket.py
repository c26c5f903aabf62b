"""What the event loop sees of a sequence: its text as it grows, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from trunkline_translate.genai_pipeline import State


@dataclass(frozen=True, slots=True)
class Ended:
    """How a sequence ended."""

    state: State
    prompt_tokens: int
    completion_tokens: int


class Ticket:
    """Reads one sequence: `async for text in ticket`, and then `ticket.ended`.

    Everything but `cancelled` belongs to the event loop it was made on.

    Args:
        changed: is called when it is no longer wanted.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.cancelled = False
        """True when nobody waits for it any more. Whatever works on it stops."""
        self.ended: Ended | None = None
        self._on_cancel = changed
        self._failure: Exception | None = None
        self._texts: list[str] = []
        self._news = asyncio.Event()

    def __aiter__(self) -> Ticket:
        return self

    async def __anext__(self) -> str:
        """What came since the last time. Raises what the sequence failed with."""
        while not self._texts:
            if self._failure is not None:
                raise self._failure
            if self.ended is not None:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        text = "".join(self._texts)
        self._texts.clear()
        return text

    def close(self) -> None:
        """Whoever read it is done with it: a sequence that goes on is stopped."""
        if self.ended is None and self._failure is None and not self.cancelled:
            self.cancelled = True
            self._on_cancel()

    def tell(self, text: str, end: Ended | Exception | None) -> None:
        """More of it, and its end if this is it."""
        if text:
            self._texts.append(text)
        if isinstance(end, Exception):
            self._failure = end
        elif end is not None:
            self.ended = end
        self._news.set()


News: TypeAlias = tuple[Ticket, str, Ended | Exception | None]
"""What is to be told to whom."""


def deliver(news: Iterable[News]) -> None:
    """Tells everybody, on the event loop."""
    for ticket, text, end in news:
        ticket.tell(text, end)
