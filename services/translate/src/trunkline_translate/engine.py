"""What the service asks of whatever translates a sentence."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from trunkline_translate.language import Direction


class Formality(Enum):
    """How the listener is addressed, in languages that tell."""

    FORMAL = "formal"
    INFORMAL = "informal"


class FinishReason(Enum):
    """Why a translation ended."""

    STOP = "stop"
    LENGTH = "length"
    """It was as long as it may be, and was cut."""


class Priority(Enum):
    """Which sentence goes first where several wait; smaller goes first."""

    INTERACTIVE = 0
    DEFAULT = 1
    BATCH = 2


@dataclass(frozen=True, slots=True)
class Exchange:
    """A sentence that was translated before: context for those that follow."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One sentence to translate.

    Its text may hold placeholders (see `masking`): single characters of Unicode's private use area, which every
    engine spells as its model knows them, and gives back as they were.
    """

    text: str
    direction: Direction
    formality: Formality | None = None
    context: tuple[Exchange, ...] = ()
    """What was said before, the oldest first."""
    max_tokens: int = 0
    """Most tokens of the translation; 0 leaves it to the engine and the length of the text."""
    priority: Priority = Priority.DEFAULT
    due: float = float("inf")
    """When the translation is wanted, on the event loop's clock."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What made a translation."""

    engine: str
    """`openvino`, `vllm`, `triton` or `apertium`."""
    model_version: str
    """`models/{model}/versions/{version}`, or `engines/{engine}/{model}[/{version}]`."""
    digest: str = ""
    """Of a version of the registry."""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of a translation. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The last piece of an engine's answer: what it was made of."""

    finish_reason: FinishReason
    prompt_tokens: int = 0
    """0 where the engine has no tokens or does not count them."""
    completion_tokens: int = 0
    degradations: tuple[str, ...] = ()
    """Such as `formality_ignored`."""
    made_by: Identity | None = None
    """What translated, where that may be another one by now than when the translation began; None: `Engine.identity`
    as it was then."""


Piece: TypeAlias = Delta | Done
"""Deltas, then exactly one `Done`."""


class EngineFailed(Exception):
    """The engine, not the sentence, is at fault: another one may translate it.

    Args:
        why: one sentence for the log and for an operator; it may reach `ListLanguages`, so no payload and no secrets.
        counts: False when it says nothing about the engine's health (it is merely full, or the caller was in a hurry):
            the breaker is not told.
    """

    def __init__(self, why: str, *, counts: bool = True) -> None:
        super().__init__(why)
        self.why = why
        self.counts = counts


class SentenceTooLong(Exception):
    """The sentence does not fit into the model. Another engine may have more room; the engine's health is untouched.

    Args:
        tokens: of the prompt.
        limit: of the model.
    """

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"{tokens} tokens, and the model takes {limit}")
        self.tokens = tokens
        self.limit = limit


class Engine(Protocol):
    """Translates sentences. All of it is called on the event loop."""

    @property
    def name(self) -> str:
        """`openvino`, `vllm`, `triton` or `apertium`."""
        ...

    @property
    def directions(self) -> Collection[Direction]:
        """What it translates. Empty while nothing is known of it."""
        ...

    @property
    def takes_context(self) -> bool:
        """False when `Ask.context` is ignored."""
        ...

    @property
    def error(self) -> str:
        """Why it is not up, in one sentence with the remedy; empty when it is."""
        ...

    def identity(self, model: str = "") -> Identity:
        """What translates at the moment.

        Args:
            model: `models/{model}` or a version of it, when one is asked for.
        """
        ...

    def translate(self, ask: Ask, model: str = "") -> AsyncGenerator[Piece, None]:
        """The translation, piece by piece. Closing the generator, or cancelling its reader, stops the work within two
        steps of the engine.

        Raises:
            EngineFailed: before or after the first delta.
            SentenceTooLong: before the first delta.
            Fault: what is asked for by name does not exist or is not served (NotFound, NotAllowed).
        """
        ...

    async def probe(self) -> None:
        """Asks whether the engine is up, and what it has. Cheap; called when it starts and every few seconds.

        Raises:
            EngineFailed: it is not.
        """
        ...
