"""What a session needs to go on elsewhere, and who keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import ConfigDict

from trunkline_speech.config import SessionConfig
from trunkline_speech.events import Said
from trunkline_speech.segmenter import Mark
from trunkline_speech.transcript import Word
from trunkline_valkey import SessionStore as ValkeySessionStore

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


SessionStore: TypeAlias = ValkeySessionStore[Snapshot, Said]
"""Keeps snapshots by resume token, for a minute after they were last saved or touched."""
