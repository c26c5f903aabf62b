"""Which texts a conversation has already."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

KEPT: Final = 256
"""Ids of texts that are remembered after they were answered."""


class TextIds:
    """The ids of the texts that were taken, and where a client is that sends them again.

    Args:
        taken: ids, the oldest first.
        last: id of the last text; empty where it had none.
    """

    def __init__(self, taken: Iterable[str] = (), last: str = "") -> None:
        self._taken = dict.fromkeys(taken)
        self.last = last
        """Id of the last text; empty where it had none."""
        self.behind = False
        """True while the client may be sending again what came before the last text."""

    @property
    def taken(self) -> tuple[str, ...]:
        """The oldest first."""
        return tuple(self._taken)

    def take(self, text_id: str) -> bool:
        """Takes a text. False for one that was taken already."""
        if text_id and text_id in self._taken:
            self.behind = text_id != self.last
            return False
        if text_id:
            self._taken[text_id] = None
        self.last, self.behind = text_id, False
        return True

    def forget(self, unanswered: Collection[str]) -> None:
        """Forgets the oldest of those that were answered, beyond `KEPT`."""
        spare = len(self._taken) - len(unanswered) - KEPT
        if spare > 0:
            for text_id in [each for each in self._taken if each not in unanswered][:spare]:
                del self._taken[text_id]
