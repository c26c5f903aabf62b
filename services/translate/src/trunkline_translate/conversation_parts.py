"""What every conversation of a process is put together from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trunkline_hop.clock import Clock
from trunkline_translate.incoming import Splits
from trunkline_translate.translation import Outcome, Task


class Translates(Protocol):
    """A `Translator`."""

    def translate(self, task: Task) -> AsyncGenerator[Outcome, None]:
        """The translation of a sentence, as it is made."""
        ...


class Likely(Protocol):
    """A language that a text may be in."""

    @property
    def code(self) -> str:
        """ISO 639-1."""
        ...

    @property
    def confidence(self) -> float:
        """0 to 1."""
        ...


class Detects(Protocol):
    """A `Detector`."""

    def detect(self, text: str) -> Sequence[Likely]:
        """The languages that a text may be in, the most likely first; none where nothing tells."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The translator and what finds it its sentences, with the time."""

    translator: Translates
    detector: Detects
    sentences: Callable[[str, int], Splits]
    """Finds sentences in text of a language (empty: any), each of so many characters at most."""
    clock: Clock
    sleep: Callable[[float], Awaitable[None]]
    """Waits so many seconds."""
