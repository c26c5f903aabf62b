"""What a translation is asked for with, and what comes of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from trunkline_translate.engine import Exchange, FinishReason, Formality, Identity, Priority


@dataclass(frozen=True, slots=True)
class Options:
    """How to translate."""

    target: str
    """ISO 639-1."""
    source: str = ""
    """ISO 639-1; empty to detect it."""
    model: str = ""
    """`models/{model}`, a version of it, or `engines/{engine}`: that one, or none. Empty: the best that is up."""
    formality: Formality | None = None
    glossary: tuple[tuple[str, str], ...] = ()
    """Terms, and what stands for them in the translation."""
    keep: tuple[str, ...] = ()
    """Phrases that stay as they are."""
    max_tokens: int = 0
    """Of one sentence's translation; 0 leaves it to the engine."""
    restart: bool = True
    """False: a sentence fails when its engine fails after a part of it was sent."""


@dataclass(frozen=True, slots=True)
class Task:
    """One sentence to translate, and until when."""

    text: str
    options: Options
    source: str
    """Its language, ISO 639-1: given or detected."""
    context: tuple[Exchange, ...] = ()
    priority: Priority = Priority.DEFAULT
    due: float = float("inf")
    """On the event loop's clock."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The next piece of a sentence's translation."""

    revision: int
    """From 1. A higher one than before: what came under the lower one is to be discarded."""
    text: str


@dataclass(frozen=True, slots=True)
class Translated:
    """A sentence's translation."""

    text: str
    source: str
    """Language of the sentence."""
    target: str
    """Language of the translation."""
    revision: int
    """Whose partial texts make up `text`."""
    made_by: Identity
    finish_reason: FinishReason = FinishReason.STOP
    prompt_tokens: int = 0
    completion_tokens: int = 0
    context_used: bool = False
    degradations: tuple[str, ...] = ()


Outcome: TypeAlias = Partial | Translated
"""Partials, then exactly one `Translated`, whose text is that of the partials of its revision put together."""


class Translates(Protocol):
    """Translates sentences."""

    def translate(self, task: Task) -> AsyncGenerator[Outcome, None]:
        """The translation, as it is to be told. Closing it stops all work on the sentence at once.

        Raises:
            Fault: it cannot be translated; see `Translator.translate`.
        """
        ...
