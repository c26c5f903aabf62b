"""What a driver and the process of its pipeline say to each other: a line of JSON each."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias


class State(StrEnum):
    """What has become of a sequence."""

    RUNNING = "running"
    STOPPED = "stopped"
    """It is complete."""
    LENGTH = "length"
    """It has as many tokens as it may have."""
    DROPPED = "dropped"
    """The pipeline gave it up."""


# ---- to the process


class Open(NamedTuple):
    """The first word: which pipeline to open. It is answered with Opened or CannotOpen."""

    directory: str
    """The model's files."""
    device: str
    """Such as NPU, GPU or CPU."""
    facts: str
    """What is known of the model: `Facts.to_json`."""
    sequences: int
    """Most at once."""
    threads: int
    """Of a CPU; 0 leaves it to OpenVINO."""
    cache_mb: int
    """Most memory for the KV cache."""


class Begin(NamedTuple):
    """A sequence to make."""

    number: int
    prompt: str
    most: int
    """Tokens of the answer at most."""
    likely: int
    """With room for fewer tokens of the answer it is not begun."""
    priority: int
    """Smaller goes first."""
    due: float
    """On the machine's monotonic clock. Among those of one priority, the earliest goes first."""


class Cancel(NamedTuple):
    """Nobody wants this sequence any more. It is answered with Gone, unless it was over."""

    number: int


# ---- from it


class Opened(NamedTuple):
    """The pipeline works."""


class CannotOpen(NamedTuple):
    """There is no such device, and the process ends."""

    why: str


class Began(NamedTuple):
    """A sequence is about to begin: if the process ends from now on, it may be the reason."""

    number: int


class Said(NamedTuple):
    """More text of a sequence."""

    number: int
    text: str


class Over(NamedTuple):
    """The rest of a sequence, and how it ended."""

    number: int
    text: str
    state: str
    prompt_tokens: int
    completion_tokens: int


class TooLong(NamedTuple):
    """A prompt leaves no room for an answer; it was not begun."""

    number: int
    tokens: int
    limit: int


class Failed(NamedTuple):
    """A sequence could not be made, and the pipeline is not to blame."""

    number: int
    why: str


class Gone(NamedTuple):
    """A sequence that nobody wants any more is no longer there."""

    number: int


class Steps(NamedTuple):
    """So many steps were made since the last time. It is said now and then while there is work, as a sign of life."""

    made: int


class Broke(NamedTuple):
    """The pipeline is broken, and the process ends."""

    why: str


Order: TypeAlias = Open | Begin | Cancel
News: TypeAlias = Opened | CannotOpen | Began | Said | Over | TooLong | Failed | Gone | Steps | Broke
Message: TypeAlias = Order | News

_KINDS: Final[dict[str, type[Message]]] = {
    kind.__name__: kind
    for kind in (
        *(Open, Begin, Cancel),
        *(Opened, CannotOpen, Began, Said, Over, TooLong, Failed, Gone, Steps, Broke),
    )
}


def encode(message: Message) -> bytes:
    """A line."""
    return json.dumps([type(message).__name__, *message]).encode() + b"\n"


def decode(line: bytes) -> Message:
    """From a line of `encode`.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    kind, *fields = json.loads(line)
    return _KINDS[kind](*fields)
