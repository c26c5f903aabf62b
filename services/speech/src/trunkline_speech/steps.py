"""A thread that runs in turns with its owner, as a coroutine would."""

from __future__ import annotations

import threading
from enum import Enum
from queue import SimpleQueue
from typing import Final

from trunkline_speech.decode import Block
from trunkline_speech.ogg import Pages

READ: Final = 256
"""The demuxer reads up to the next multiple of this and no further, so it never sees how the bytes were cut."""
FRUITLESS: Final = 16 << 20
"""So many bytes without a sample are no audio, whatever they claim to be."""


class Said(Enum):
    """What a turn ends with, when it is no block."""

    HUNGRY = "hungry"
    """It can do nothing without more bytes."""
    END = "end"


class Closed(Exception):
    """Nobody wants what comes next."""


class Steps:
    """The turn, which is either the owner's or the demuxer's, and what they hand each other with it.

    To libav it is the file.
    """

    def __init__(self, pages: Pages | None) -> None:
        self.pages = pages
        self._turn = threading.Semaphore(0)
        self._said: SimpleQueue[Block | Said | Exception] = SimpleQueue()
        self._data = bytearray()
        self._consumed = 0
        self._fruitful = 0
        self._finished = False
        self._closed = False

    # The owner's side.

    def feed(self, data: bytes) -> None:
        """More bytes for the demuxer's next turn."""
        self._data += data

    def finish(self) -> None:
        """There are no more bytes."""
        self._finished = True

    def resume(self) -> Block | Said | Exception:
        """Gives the demuxer a turn; what it says at the end of it."""
        self._turn.release()
        return self._said.get()

    def close(self) -> None:
        """Makes the demuxer end in its next turn, which is now."""
        self._closed = True
        self._turn.release()

    # The demuxer's side.

    @property
    def fruitless(self) -> bool:
        """Whether too many bytes were read for nothing."""
        return self._consumed - self._fruitful > FRUITLESS

    def wait(self) -> None:
        """Waits for a turn."""
        self._turn.acquire()
        if self._closed:
            raise Closed

    def say(self, block: Block) -> None:
        """Hands on a block, if anybody still wants one."""
        if self._closed:
            raise Closed
        self._fruitful = self._consumed
        self._said.put(block)
        self.wait()

    def end(self, outcome: Said | Exception) -> None:
        """The last turn is over."""
        self._said.put(outcome)

    def read(self, size: int) -> bytes:
        """The next bytes; empty at their end. Called by libav, which bears no exception here."""
        size = min(size, READ - self._consumed % READ)
        while not (self._closed or self._finished or self.fruitless) and len(self._data) < READ:
            self._said.put(Said.HUNGRY)
            self._turn.acquire()
        if self._closed or self.fruitless:
            return b""
        data = bytes(self._data[:size])
        del self._data[:size]
        self._consumed += len(data)
        if self.pages is not None:
            self.pages.passed(data)
        return data
