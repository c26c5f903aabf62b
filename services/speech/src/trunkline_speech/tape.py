"""The audio of a session that may still be heard again."""

from __future__ import annotations

from collections import deque

import numpy as np

from trunkline_speech.recogniser import Samples


class Tape:
    """Consecutive audio, by its position on the session's clock."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, Samples]] = deque()

    def __len__(self) -> int:
        """Samples on it."""
        return sum(len(samples) for _, samples in self._pieces)

    def add(self, position: int, samples: Samples) -> None:
        """Appends what begins at a position."""
        self._pieces.append((position, samples))

    def between(self, start: int, end: int) -> Samples:
        """[end - start]; silence where nothing is on it."""
        cut = np.zeros(end - start, np.float32)
        for position, samples in self._pieces:
            first, last = max(position, start), min(position + len(samples), end)
            if first < last:
                cut[first - start : last - start] = samples[first - position : last - position]
        return cut

    def forget(self, before: int) -> None:
        """Drops whole pieces that end before a position."""
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= before:
            self._pieces.popleft()
