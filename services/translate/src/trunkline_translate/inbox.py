"""What a client sends, until somebody gets round to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from trunkline_translate.translation import Options

MOST: Final = 16
"""So many items may wait."""

LONG: Final = 1000
"""Characters that are taken together."""


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text, or a segment of a transcript."""

    text: str
    text_id: str
    language: str | None = None
    """None for that of the options."""
    joined: bool = False
    """True for words of their own."""
    ends: bool = False
    """True when what waits is a sentence then."""
    more: bool = False
    """True for the rest of one."""


@dataclass(frozen=True, slots=True)
class Flush:
    """The client says that what waits is a sentence."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The client says nothing."""


@dataclass(frozen=True, slots=True)
class End:
    """The client says nothing more."""


Item: TypeAlias = Text | Options | Flush | Pause | End


class Inbox:
    """A queue that is read many at once, so that what came together is kept together.

    Args:
        room: False while nothing more is to be taken in.
    """

    def __init__(self, room: Callable[[], bool]) -> None:
        self._room = room
        self._items: list[Item] = []
        self._closed = False
        self._putting = 0
        self._changed = asyncio.Event()

    async def put(self, item: Item) -> None:
        """Appends an item; waits first while there is no room. Does nothing once it is closed."""
        self._putting += 1
        try:
            while not self._closed and (len(self._items) >= MOST or not self._room()):
                await self._change()
        finally:
            self._putting -= 1
        self.push(item)

    @property
    def held_up(self) -> bool:
        """True while somebody waits to append an item."""
        return self._putting > 0

    def push(self, item: Item) -> None:
        """Appends an item, whether there is room or not. Does nothing once it is closed."""
        if not self._closed:
            self._items.append(item)
            self._changed.set()

    async def take(self) -> list[Item]:
        """What waits, but no more than one text that is long; waits for something, and for room. Nothing once it is
        closed and read.
        """
        while not (self._items and self._room()) and (self._items or not self._closed):
            await self._change()
        together = length = 0
        for item in self._items:
            length += len(item.text) if isinstance(item, Text) else 0
            if together and length > LONG:
                break
            together += 1
        items, self._items = self._items[:together], self._items[together:]
        self._changed.set()
        return items

    async def room(self) -> None:
        """Waits for room."""
        while not self._room():
            await self._change()

    def look(self) -> None:
        """There may be room now."""
        self._changed.set()

    def close(self) -> None:
        """Nothing more is taken in. What waits can be read."""
        self._closed = True
        self._changed.set()

    async def _change(self) -> None:
        # Nothing else runs between a look at the queue and this wait, and an event wakes all who wait for it.
        self._changed.clear()
        await self._changed.wait()
