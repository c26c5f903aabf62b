"""What a conversation says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from trunkline_translate.translation import Partial, Translated


@dataclass(frozen=True, slots=True)
class Started:
    """First event of a stream."""

    session_id: str
    resume_token: str
    """Empty where conversations are not kept."""
    resumed: bool
    expires: datetime | None
    """Until when it can be resumed, unless it goes on; None where conversations are not kept."""


@dataclass(frozen=True, slots=True)
class SentenceDelta:
    """The next piece of a sentence's translation."""

    sentence_id: int
    partial: Partial


@dataclass(frozen=True, slots=True)
class SentenceTranslated:
    """A sentence is complete."""

    sentence_id: int
    source_text: str
    translated: Translated


@dataclass(frozen=True, slots=True)
class SentenceFailed:
    """A sentence was not translated. The conversation goes on."""

    sentence_id: int
    source_text: str
    code: str
    """Name of the canonical status code, such as `UNAVAILABLE`."""
    reason: str
    """Of the suite's catalogue, such as `NO_ENGINE`."""
    message: str
    """One sentence for a developer."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """The conversation goes on with less, or has all again."""

    degradation: str
    active: bool
    message: str


@dataclass(frozen=True, slots=True)
class Draining:
    """The server is about to go. The last event of its stream."""

    resume_token: str


Event: TypeAlias = Started | SentenceDelta | SentenceTranslated | SentenceFailed | Degraded | Draining
Answer: TypeAlias = SentenceTranslated | SentenceFailed
"""What is said once about every sentence, and again to a client that did not get it."""


@dataclass(frozen=True, slots=True)
class Said:
    """An event with what every event says."""

    sequence: int
    event: Event
    text_ids: tuple[str, ...] = ()
    """Of the pieces and segments that the event's sentence was made of."""
