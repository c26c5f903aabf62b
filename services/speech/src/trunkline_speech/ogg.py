"""What the pages of an Ogg file say about time (RFC 3533).

libav skips a damaged page and counts on as if nothing had been there. The granule position of each page says how much
audio there should have been up to its end.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import Final

HEADER: Final = struct.Struct("<4sBBqIIIB")
CAPTURE: Final = b"OggS"
UNFINISHED: Final = -1
"""Granule position of a page on which no packet ends."""


@dataclass(frozen=True, slots=True)
class Page:
    """The header of a page."""

    offset: int
    """Of its first byte in the stream."""
    end: int
    """Of the byte after its last."""
    granule: int
    """Samples up to its end."""


class Pages:
    """Reads the headers as the bytes pass."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._offset = 0
        self._pages: deque[Page] = deque(maxlen=256)
        self._last: Page | None = None

    def passed(self, data: bytes) -> None:
        """The next bytes of the stream."""
        self._data += data
        while True:
            at = self._data.find(CAPTURE)
            if at < 0:
                self._skip(max(0, len(self._data) - len(CAPTURE) + 1))
                return
            self._skip(at)
            if len(self._data) < HEADER.size:
                return
            _, version, _, granule, _, _, _, segments = HEADER.unpack_from(self._data)
            size = HEADER.size + segments
            if len(self._data) < size:
                return
            if version == 0:
                end = self._offset + size + sum(self._data[HEADER.size : size])
                self._last = Page(self._offset, end, granule)
                self._pages.append(self._last)
            # Not past its body: what a damaged header says of its length may hide the next page.
            self._skip(len(CAPTURE))

    def granule(self, offset: int) -> int | None:
        """What the page that begins there says; forgets it, and all before it."""
        while self._pages and self._pages[0].offset <= offset:
            page = self._pages.popleft()
            if page.offset == offset:
                return None if page.granule == UNFINISHED else page.granule
        return None

    @property
    def cut_off(self) -> bool:
        """Whether the last page goes on behind the last byte."""
        return self._last is not None and self._last.end > self._offset + len(self._data)

    def _skip(self, size: int) -> None:
        del self._data[:size]
        self._offset += size
