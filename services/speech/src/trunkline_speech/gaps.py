"""Where audio is missing, told in pieces that do not depend on how it came in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from trunkline_speech.events import AudioDropped, DropReason
from trunkline_speech.transcript import RATE_HZ

JOIN: Final = RATE_HZ // 10
"""Losses less than this apart are told as one."""
LONGEST: Final = 10 * RATE_HZ
"""Longer losses are told in pieces of this, so that one without end is told of at all."""


@dataclass(slots=True)
class _Loss:
    start: int
    end: int
    reason: DropReason
    told: bool = False
    """A part of it was."""


class Gaps:
    """Joins losses that are close together and tells of each once nothing can join it any more."""

    def __init__(self) -> None:
        self._open: _Loss | None = None
        self._closed: deque[AudioDropped] = deque()

    def lost(self, start: int, samples: int, reason: DropReason) -> None:
        """Something is missing, behind all that was missing before."""
        loss = self._open
        if loss is not None and loss.reason is reason and samples and start - loss.end < JOIN:
            loss.end = max(loss.end, start + samples)
        else:
            self._close()
            loss = self._open = _Loss(start, start + samples, reason)
        while loss.end - loss.start >= LONGEST:
            self._closed.append(AudioDropped(loss.start, LONGEST, reason))
            loss.start += LONGEST
            loss.told = True

    def settled(self, position: int) -> list[AudioDropped]:
        """Those that are over, told of with the audio up to `position`."""
        if self._open is not None and self._open.end + JOIN < position:
            self._close()
        settled = []
        while self._closed and self._closed[0].start + self._closed[0].samples + JOIN < position:
            settled.append(self._closed.popleft())
        return settled

    def rest(self) -> list[AudioDropped]:
        """All that were not told of yet, at the end of the audio."""
        self._close()
        rest = list(self._closed)
        self._closed.clear()
        return rest

    def _close(self) -> None:
        loss, self._open = self._open, None
        if loss is not None and (loss.end > loss.start or not loss.told):
            self._closed.append(AudioDropped(loss.start, loss.end - loss.start, loss.reason))
