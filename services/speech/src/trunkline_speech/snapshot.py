"""What a session needs to go on elsewhere, and who keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import ConfigDict, TypeAdapter

from trunkline_hop.errors import Conflict, NotFound
from trunkline_speech.config import SessionConfig
from trunkline_speech.events import Said
from trunkline_speech.segmenter import Mark
from trunkline_speech.transcript import Word

KEPT: int = 64
"""Final events of a session that can be said again."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session as it was when it last said something, at the beginning of the segment it was in."""

    session_id: str
    config: SessionConfig
    sequence: int
    """Of the last event."""
    mark: Mark
    """Where the segment begins, or where nobody has spoken since."""
    number: int
    """Of the segment; of the next one where there is none."""
    revision: int
    """Of the segment's last event."""
    committed: tuple[Word, ...]
    """Its words that were said to be stable."""
    carried: tuple[Word, ...]
    """Words that were heard behind the segment that was cut where this one begins."""
    before: tuple[Word, ...]
    """Last words of that segment."""
    language: str
    """Of the segment, where it is known."""
    utterance: tuple[int, int]
    """First and last segment of the utterance that is open; zeros where it has none yet."""
    speakers: bytes
    """State of the diarizer."""

    # Bytes are not always UTF-8, and JSON is text.
    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


_SNAPSHOT = TypeAdapter(Snapshot)
_SAID = TypeAdapter(Said)


def dump(snapshot: Snapshot) -> bytes:
    """As JSON."""
    return _SNAPSHOT.dump_json(snapshot)


def load(data: bytes) -> Snapshot:
    """From JSON.

    Raises:
        ValueError: it is none of this version's.
    """
    return _SNAPSHOT.validate_json(data)


def dump_said(said: Said) -> bytes:
    """As JSON."""
    return _SAID.dump_json(said)


def load_said(data: bytes) -> Said:
    """From JSON.

    Raises:
        ValueError: it is none of this version's.
    """
    return _SAID.validate_json(data)


def unknown() -> NotFound:
    """What is said to a client whose session is not, or not any more, to be had."""
    return NotFound(
        "SESSION_UNKNOWN",
        "no session can be resumed with this token: it is over for more than a minute, or never was; start a new one",
        resource_type="session",
        resource_name="",
    )


def moved(session_id: str) -> Conflict:
    """What is said on a stream whose session somebody resumed."""
    return Conflict(
        "SESSION_MOVED",
        "the session was resumed on another stream",
        resource_type="session",
        resource_name=session_id,
    )


class StoreDown(Exception):
    """The store does not answer."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A session that was resumed."""

    epoch: int
    """Of the one who resumed it."""
    snapshot: Snapshot
    finals: tuple[Said, ...]
    """The last `KEPT` events that commit text for good."""


class SessionStore(Protocol):
    """Keeps snapshots by resume token, for a minute after they were last saved or touched.

    Each stream of a session has an epoch. One with an older epoch than the newest cannot write any more.
    """

    @property
    def ttl_s(self) -> float:
        """How long a snapshot is kept."""
        ...

    async def save(self, token: str, epoch: int, snapshot: Snapshot, finals: Sequence[Said]) -> None:
        """Keeps a snapshot, and final events behind those that are kept already.

        Raises:
            Conflict: SESSION_MOVED, somebody resumed the session.
            StoreDown: whether it is kept is not known.
        """
        ...

    async def touch(self, token: str, epoch: int) -> None:
        """Keeps what is kept for another minute.

        Raises:
            Conflict, StoreDown: as `save`.
        """
        ...

    async def claim(self, token: str) -> Kept:
        """Takes a session over: from now on its writers so far cannot write any more.

        Raises:
            NotFound: SESSION_UNKNOWN.
            StoreDown: whether it was taken over is not known.
        """
        ...
