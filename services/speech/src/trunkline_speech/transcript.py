"""What was said, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

RATE_HZ: Final = 16_000
"""Samples a second of everything behind the resampler. Positions in a session are counted in these."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word, with the punctuation that belongs to it."""

    text: str
    start: int
    """Sample at which it begins; in a hypothesis counted from the first sample of the audio it is about, in a
    segment from the first of the session or recording."""
    end: int
    """Sample after its last."""
    speaker: int = 0
    """From 1 in the order of first speech; 0 when speakers are not told apart."""

    def moved(self, samples: int) -> Word:
        """The same word on a clock that began that many samples earlier."""
        return replace(self, start=self.start + samples, end=self.end + samples)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a recogniser heard in a piece of audio."""

    words: tuple[Word, ...]
    """In order; none where it heard no speech."""
    language: str
    """ISO 639-1."""
    timed: bool = True
    """False when the times of words are estimated."""

    @property
    def text(self) -> str:
        """The words, a space in between."""
        return text_of(self.words)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of speech and what was said in it."""

    number: int
    """From 1."""
    revision: int
    """Grows whenever its text changes."""
    words: tuple[Word, ...]
    language: str
    start: int
    """Sample at which it begins."""
    end: int
    """Sample after its last, or after the last that was heard."""
    speaker: int = 0
    """Who says most of it."""

    @property
    def text(self) -> str:
        """The words, a space in between."""
        return text_of(self.words)


def text_of(words: tuple[Word, ...]) -> str:
    """The text of words."""
    return " ".join(word.text for word in words)
