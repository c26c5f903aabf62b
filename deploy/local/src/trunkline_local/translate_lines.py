"""Lines in, lines out, in order: several are under way at once, and the first of them is shown as it grows."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import BinaryIO, Generic, TypeVar

AT_ONCE = 8
"""Lines that were begun and not shown to their end."""

E = TypeVar("E")


class NotText(ValueError):
    """A line is no UTF-8. The message says which."""


@dataclass(frozen=True, slots=True)
class Line(Generic[E]):
    """A line, and what comes of it."""

    text: str
    events: AsyncIterator[E]
    """Raises what the translation of the line failed with."""


@dataclass(slots=True)
class _Begun(Generic[E]):
    """A line whose events are taken in the background."""

    text: str
    came: asyncio.Queue[E | Exception | None] = field(default_factory=asyncio.Queue)
    """Events, then None or what it failed with."""

    async def run(self, events: AsyncGenerator[E, None]) -> None:
        last: Exception | None = None
        try:
            async with aclosing(events):
                async for event in events:
                    self.came.put_nowait(event)
        except Exception as error:
            last = error  # raised where the line's turn comes
        self.came.put_nowait(last)

    async def events(self) -> AsyncIterator[E]:
        while (event := await self.came.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


async def in_order(
    lines: AsyncIterator[str], begin: Callable[[str], AsyncGenerator[E, None]], at_once: int = AT_ONCE
) -> AsyncGenerator[Line[E], None]:
    """Every line in its turn, with its events as they come; those behind it are already under way.

    Raises:
        Exception: whatever `lines` raises, once what came before has had its turn.
    """
    room = asyncio.Semaphore(at_once)
    begun: asyncio.Queue[_Begun[E] | Exception | None] = asyncio.Queue()
    running: set[asyncio.Task[None]] = set()

    async def read() -> None:
        last: Exception | None = None
        try:
            async for text in lines:
                await room.acquire()
                line: _Begun[E] = _Begun(text)
                task = asyncio.create_task(line.run(begin(text)))
                running.add(task)
                task.add_done_callback(running.discard)
                begun.put_nowait(line)
        except Exception as error:
            last = error
        begun.put_nowait(last)

    reading = asyncio.create_task(read())
    try:
        while (line := await begun.get()) is not None:
            if isinstance(line, Exception):
                raise line
            yield Line(line.text, line.events())
            room.release()
    finally:
        tasks = [reading, *running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def lines_of(source: BinaryIO | None = None) -> AsyncIterator[str]:
    """The lines of a file, by default standard input, as they come and without their ends.

    Read in a thread: a terminal, a pipe and a file are all the same to it. It holds nobody up who leaves.

    Raises:
        NotText: a line is no UTF-8.
    """
    given = source or _standard_input()
    loop = asyncio.get_running_loop()
    came: asyncio.Queue[bytes] = asyncio.Queue()
    wanted = threading.Semaphore(AT_ONCE)

    def read() -> None:
        while True:
            wanted.acquire()
            line = given.readline()
            try:
                loop.call_soon_threadsafe(came.put_nowait, line)
            except RuntimeError:  # the loop is closed: nobody reads any more
                return
            if not line:
                return

    threading.Thread(target=read, name="standard input", daemon=True).start()
    number = 0
    while line := await came.get():
        wanted.release()
        number += 1
        try:
            yield line.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise NotText(f"line {number} of standard input is not UTF-8") from None


def _standard_input() -> BinaryIO:
    """Not `sys.stdin` itself: the interpreter ends with SIGABRT where a thread still reads that."""
    return open(sys.stdin.fileno(), "rb", closefd=False)
