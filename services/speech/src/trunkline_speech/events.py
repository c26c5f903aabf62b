"""What a session says. Positions are samples on the session's clock, RATE_HZ a second."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from trunkline_speech.config import SessionConfig
from trunkline_speech.transcript import Segment


@dataclass(frozen=True, slots=True)
class Started:
    """First event of a stream."""

    session_id: str
    resume_token: str
    resumed: bool
    audio_start: int
    """Where the audio must begin that the client sends now."""


@dataclass(frozen=True, slots=True)
class Configured:
    """After `Started`, and after every update."""

    config: SessionConfig
    position: int


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody began to speak."""

    position: int


@dataclass(frozen=True, slots=True)
class Interim:
    """What was understood so far."""

    segment: Segment
    stable_words: int
    """So many of its words will not change any more."""


@dataclass(frozen=True, slots=True)
class SegmentFinal:
    """The last word on a segment."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class EndOfUtterance:
    """Nobody has spoken for a while."""

    position: int
    """Where the speech ended."""
    first_segment: int
    last_segment: int


class DropReason(Enum):
    """Why audio was not heard."""

    UNDECODABLE = "undecodable"
    NOT_RESENT = "not_resent"
    NOT_FINITE = "not_finite"
    RECOGNISER_FAILED = "recogniser_failed"


@dataclass(frozen=True, slots=True)
class AudioDropped:
    """Audio was not heard."""

    start: int
    samples: int
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Degraded:
    """The session goes on with less, or has all again."""

    degradation: str
    active: bool
    message: str


@dataclass(frozen=True, slots=True)
class Draining:
    """The server is about to go."""

    resume_token: str
    audio_start: int


Event: TypeAlias = (
    Started
    | Configured
    | SpeechStarted
    | Interim
    | SegmentFinal
    | EndOfUtterance
    | AudioDropped
    | Degraded
    | Draining
)


@dataclass(frozen=True, slots=True)
class Said:
    """An event with what every event says."""

    sequence: int
    event: Event
    heard: int
    """How much audio was heard when it was said."""
    needed_from: int
    """Audio before this is never asked for again."""
    model_version: str
    digest: str
    engine: str
    device: str
    degradations: tuple[str, ...]
