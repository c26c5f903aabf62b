"""Whole texts: cut into sentences, each translated in the context of those before it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trunkline_hop.errors import Fault
from trunkline_translate.engine import Priority
from trunkline_translate.translation import Options, Outcome, Task, Translated


class Span(Protocol):
    """Where a sentence is in a text."""

    @property
    def start(self) -> int:
        """Of its first character."""
        ...

    @property
    def end(self) -> int:
        """Behind its last character."""
        ...


class Detected(Protocol):
    """A language that a text may be in."""

    @property
    def code(self) -> str:
        """ISO 639-1."""
        ...


class Detector(Protocol):
    """Tells languages apart."""

    def detect(self, text: str) -> Sequence[Detected]:
        """The most likely first; empty when nothing tells."""
        ...


class Translates(Protocol):
    """What translates a sentence: `Translator`."""

    def translate(self, task: Task) -> AsyncGenerator[Outcome, None]:
        """Partials, then exactly one `Translated`."""
        ...


@dataclass(frozen=True, slots=True)
class TextEvent:
    """Something about a sentence of a text."""

    sentence_id: int
    """From 1."""
    separator: str
    """What stands between the sentence before and this one, in its first event; empty in the others."""
    source_text: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class TranslatedSentence:
    """A sentence of a text, and its translation."""

    sentence_id: int
    """From 1."""
    separator: str
    """What stands between the sentence before and this one."""
    source_text: str
    translated: Translated


@dataclass(frozen=True, slots=True)
class TranslatedText:
    """A text's translation."""

    text: str
    """That of the sentences, with what stood before, between and behind them as it was."""
    sentences: tuple[TranslatedSentence, ...]


class Texts:
    """Translates texts.

    Args:
        translator: translates their sentences.
        split: cuts a text in a language into sentences.
        detector: tells the language of a text that does not say it.
        at_once: most texts of one call that are translated at once.
    """

    def __init__(
        self,
        translator: Translates,
        split: Callable[[str, str], Sequence[Span]],
        detector: Detector,
        *,
        at_once: int = 8,
    ) -> None:
        self._translator = translator
        self._split = split
        self._detector = detector
        self._at_once = at_once

    async def stream(
        self, text: str, options: Options, *, priority: Priority = Priority.DEFAULT, due: float = float("inf")
    ) -> AsyncGenerator[TextEvent, None]:
        """One text, sentence by sentence as they are translated. Closing it stops the work at once.

        Args:
            text: the text.
            options: how to translate it.
            priority: of its sentences.
            due: when all of it is wanted, on the event loop's clock.

        Raises:
            Fault: as `Translator.translate`.
        """
        raise RuntimeError("in the making")
        yield

    async def whole(
        self, text: str, options: Options, *, priority: Priority = Priority.DEFAULT, due: float = float("inf")
    ) -> TranslatedText:
        """One text at once.

        Raises:
            Fault: as `Translator.translate`.
        """
        raise RuntimeError("in the making")

    async def several(
        self,
        texts: Sequence[str],
        options: Options,
        *,
        priority: Priority = Priority.DEFAULT,
        due: float = float("inf"),
    ) -> list[TranslatedText | Fault]:
        """What became of each text. They are independent of each other.

        Raises:
            Fault: of the first text, when all of them failed.
        """
        raise RuntimeError("in the making")
