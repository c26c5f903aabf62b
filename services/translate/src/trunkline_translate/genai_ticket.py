"""What a translation sees of its sequence: its text as it grows, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from trunkline_translate.genai_messages import State


@dataclass(frozen=True, slots=True)
class Ended:
    """How a sequence ended."""

    state: State
    prompt_tokens: int
    completion_tokens: int


class Ticket:
    """Reads one sequence: `async for text in ticket`, and then `ticket.ended`.

    Args:
        cancel: is called when it is closed before its end.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancelled = False
        """True when nobody waits for it any more."""
        self.ended: Ended | None = None
        self._cancel = cancel
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
            self._cancel()

    def tell(self, text: str, end: Ended | Exception | None = None) -> None:
        """More of it, and its end if this is it."""
        if text:
            self._texts.append(text)
        if isinstance(end, Exception):
            self._failure = end
        elif end is not None:
            self.ended = end
        self._news.set()
