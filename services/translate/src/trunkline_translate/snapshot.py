"""What a conversation needs to go on elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from trunkline_translate.context import Remembered
from trunkline_translate.conversation_events import Said
from trunkline_translate.inbox import Text
from trunkline_translate.incoming import Pending
from trunkline_translate.translation import Options
from trunkline_valkey import SessionStore

KEPT: Final = 64
"""Answers of a conversation that can be given again."""


@dataclass(frozen=True, slots=True)
class ConversationConfig:
    """What a conversation is told first."""

    options: Options
    pause_s: float = 1.5
    """Silence after which the text that waits is a sentence."""
    longest: int = 400
    """Most characters of a sentence."""
    sentence_timeout_s: float = 10.0
    """Longest wait for the translation of one sentence, from when it is its turn."""
    final_only: bool = False
    """True for whole sentences only."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sentence that is to be translated."""

    sentence_id: int
    text: str
    language: str
    """As the client says it; empty where it does not."""
    text_ids: tuple[str, ...]
    asked: int
    """How it is to be translated: number of it in the snapshot."""
    complete: datetime
    """When it was complete."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A conversation after it took text, or before it gives an answer."""

    session_id: str
    config: ConversationConfig
    """As it was changed last."""
    sequence: int = 0
    """Of the last event, or a later one than that: deltas are not kept."""
    next_sentence: int = 1
    pending: Pending = field(default_factory=Pending)
    rest: Text | None = None
    """Of a text, what was not looked at yet."""
    waiting: tuple[Waiting, ...] = ()
    """In their order."""
    asked: tuple[tuple[int, Options], ...] = ()
    """How sentences that wait, or will, are to be translated, by number: each once, for it may be a long glossary."""
    remembered: tuple[Remembered, ...] = ()
    language: str = ""
    """Of the last sentence."""
    text_ids: tuple[str, ...] = ()
    last_text_id: str = ""
    answered: tuple[int, ...] = ()
    """Sequence numbers of the last answers, one more than are kept: a client that lacks one that is not kept is told."""


ConversationStore: TypeAlias = SessionStore[Snapshot, Said]
"""Keeps conversations by resume token, for a while after they were last saved or touched."""
