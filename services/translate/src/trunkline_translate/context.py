"""What was said before in a conversation: context for what follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from trunkline_translate.engine import Exchange
from trunkline_translate.language import Direction

EXCHANGES: Final = 3
"""Most sentences of context."""
AGE: Final = timedelta(seconds=30)
"""Older ones are about something else."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A sentence that was translated."""

    direction: Direction
    exchange: Exchange
    complete: datetime
    """When the sentence was complete."""


class Context:
    """The last sentences of a conversation, by direction.

    How old a sentence is counts from the end of it to the end of the one it is context for. So it makes no difference
    how long translating takes, or going on elsewhere. One that is younger by as much was said before a clock was set.

    Args:
        remembered: the oldest first.
    """

    def __init__(self, remembered: Iterable[Remembered] = ()) -> None:
        self._remembered = list(remembered)

    @property
    def remembered(self) -> tuple[Remembered, ...]:
        """The oldest first."""
        return tuple(self._remembered)

    def of(self, direction: Direction, complete: datetime) -> tuple[Exchange, ...]:
        """Context of a sentence, the oldest first.

        Args:
            direction: of the sentence.
            complete: when it was complete.
        """
        return tuple(
            each.exchange
            for each in self._remembered
            if each.direction == direction and abs(complete - each.complete) <= AGE
        )

    def add(self, direction: Direction, exchange: Exchange, complete: datetime) -> None:
        """Remembers a sentence that was translated."""
        others = [each for each in self._remembered if abs(complete - each.complete) <= AGE]
        same = [each for each in others if each.direction == direction]
        if len(same) >= EXCHANGES:
            others.remove(same[0])
        self._remembered = [*others, Remembered(direction, exchange, complete)]
