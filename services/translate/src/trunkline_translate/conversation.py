"""One live conversation: text in as it comes, every sentence's translation out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trunkline_hop.clock import Clock
from trunkline_translate.conversation_events import Said
from trunkline_translate.translation import Options, Outcome, Task


class Translates(Protocol):
    """A `Translator`."""

    def translate(self, task: Task) -> AsyncGenerator[Outcome, None]:
        """The translation of a sentence, as it is to be told."""
        ...


class Likely(Protocol):
    """A language that a text may be in."""

    @property
    def code(self) -> str:
        """ISO 639-1."""
        ...


class Detects(Protocol):
    """A `Detector`."""

    def detect(self, text: str) -> Sequence[Likely]:
        """The languages that a text may be in, the most likely first; none where nothing tells."""
        ...


class Splits(Protocol):
    """A `Sentences`."""

    def feed(self, text: str) -> list[str]:
        """The sentences that are complete now."""
        ...

    def flush(self) -> list[str]:
        """What waits, as sentences."""
        ...


@dataclass(frozen=True, slots=True)
class ConversationConfig:
    """What a conversation is told first."""

    options: Options
    pause_s: float = 1.5
    """Silence after which the text that waits is a sentence."""
    longest: int = 400
    """Most characters of a sentence."""
    sentence_timeout_s: float = 10.0
    """Longest wait for the translation of one sentence."""
    final_only: bool = False
    """True for whole sentences only."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every conversation of a process is put together from."""

    translator: Translates
    detector: Detects
    sentences: Callable[[str, int], Splits]
    """Finds sentences in text of a language (empty: any), each of so many characters at most."""
    clock: Clock
    sleep: Callable[[float], Awaitable[None]]
    """Waits so many seconds."""


class Conversation:
    """One live conversation. Made by `Conversations.start` and `Conversations.resume`, and ended by leaving their blocks.

    One task feeds it, in order; another one reads its events. The events end when everything is answered.
    """

    async def piece(self, text: str, piece_id: str = "") -> None:
        """Takes the next piece of a text, cut anywhere; waits while too many sentences wait to be translated."""

    async def segment(
        self, text: str, segment_id: str = "", *, language: str = "", end_of_utterance: bool = False
    ) -> None:
        """Takes the next segment of a transcript; waits as `piece`.

        Args:
            text: what was said.
            segment_id: one that was taken already is ignored; empty: never ignored.
            language: ISO 639-1; empty for that of the options.
            end_of_utterance: True when what waits is a sentence now.
        """

    async def flush(self) -> None:
        """What waits is a sentence now."""

    async def change(self, options: Options) -> None:
        """How to translate from here on. What waits is translated as before."""

    async def finish(self) -> None:
        """No more text comes: what is left is translated, then the events end."""

    def drain(self) -> None:
        """Ends it soon with a `Draining` event, so that the client goes on elsewhere."""

    async def events(self) -> AsyncIterator[Said]:
        """What it says, until all is said. Read by one task.

        Raises:
            Conflict: SESSION_MOVED, somebody resumed it elsewhere.
        """
        for said in ():
            yield said
