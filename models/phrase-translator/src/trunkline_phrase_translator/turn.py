"""A direction of translation, and a text with its translation."""

from dataclasses import dataclass

from trunkline_phrases import Formality, Language


@dataclass(frozen=True, slots=True)
class Direction:
    """From one language to another, addressing people in a way."""

    source: Language
    target: Language
    formality: Formality | None = None
    """As asked for; None where nothing was."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A text and its translation."""

    source: str
    target: str
