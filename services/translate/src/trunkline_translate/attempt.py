"""One engine's try at a sentence: in time or not at all, with the phrases back in their places."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final

import structlog

from trunkline_hop.errors import Fault, TooLate
from trunkline_hop.telemetry import span
from trunkline_translate.answer_length import most_tokens
from trunkline_translate.chain import Link
from trunkline_translate.checks import Finding
from trunkline_translate.engine import Ask, Delta, Done, EngineFailed, Identity, Piece, SentenceTooLong
from trunkline_translate.masking import Masked, Unmasker
from trunkline_translate.meters import Meters

_LONGEST_TOKEN: Final = 64
"""Characters that hardly any token of a model has."""
_FEWEST_TOKENS: Final = 64
"""Of which many together are not too long either. What counts words, not tokens, may be asked for a single one."""

logger = structlog.get_logger("trunkline_translate")


class Why(Enum):
    """Why an engine leaves a sentence to the next one."""

    DOWN = "down"
    FAILED = "failed"
    STALLED = "stalled"
    """It said nothing for too long."""
    BUSY = "busy"
    """It translates, but has too much to do for this one."""
    TOO_LONG = "too_long"
    """The sentence does not fit into its model."""
    REJECTED = "rejected"
    """A check found its answer wrong."""


class Left(Exception):
    """The engine leaves the sentence to the next one.

    Args:
        why: to count by.
        detail: one sentence for an operator, without payload.
    """

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(detail)
        self.why = why
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an engine may take, in seconds."""

    first_s: float
    """To the first piece."""
    next_s: float
    """To each piece after it."""
    due: float
    """When the answer is wanted, on the event loop's clock."""
    spares: bool
    """True when half of the time that is left is to stay for what comes after it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Who is asked, and what."""

    link: Link
    ask: Ask


class Attempt:
    """One try.

    Args:
        turn: who is asked, and what.
        permit: of the engine's breaker, which is told the outcome.
        masked: what the placeholders stand for.
        model: as `Engine.translate`'s.
        patience: how long it may take.
        meters: where it shows how it went.
    """

    def __init__(
        self, turn: Turn, permit: int, masked: Masked, model: str, patience: Patience, meters: Meters
    ) -> None:
        self.turn = turn
        self.made_by = Identity(turn.link.name, f"engines/{turn.link.name}")
        self.finding: Finding | None = None
        """What a check found wrong with the answer."""
        self.unmasker = Unmasker(masked)
        self._link = turn.link
        self._permit = permit
        self._model = model
        self._patience = patience
        self._meters = meters
        self._done: Done | None = None
        self._heard: list[str] = []
        self._room = max(_FEWEST_TOKENS, most_tokens(turn.ask)) * _LONGEST_TOKEN
        """Characters that the engine may still say."""
        self._said: list[str] = []
        self._space = ""
        self._outcome: Callable[[int], None] = turn.link.returned

    @property
    def completed(self) -> Done:
        """The last piece of the answer. Only when `deltas` came to its end."""
        if self._done is None:
            raise RuntimeError("the answer is not complete")
        return self._done

    @property
    def heard(self) -> str:
        """What the engine said, with placeholders."""
        return "".join(self._heard).strip()

    @property
    def text(self) -> str:
        """What was said of it: all of `deltas` put together."""
        return "".join(self._said)

    async def deltas(self) -> AsyncGenerator[str, None]:
        """The translation as it comes, without white space before and behind it. Never empty pieces.

        Raises:
            Left: another engine may translate the sentence.
            TooLate: DEADLINE_EXCEEDED.
            Fault: as the engine that was named.
        """
        began = _now()
        try:
            self.made_by = self._link.engine.identity(self._model)
            async with aclosing(self._link.engine.translate(self.turn.ask, self._model)) as pieces:
                while self._done is None:
                    piece = await self._next(pieces)
                    if not self._heard:
                        self._meters.began(self._link.name, _now() - began)
                    if isinstance(piece, Done):
                        self._done = piece
                    elif text := self._taken(piece):
                        yield text
            self.made_by = self._done.made_by or self.made_by
            self._meters.answered(self.made_by, _now() - began, self._done)
            self._outcome = self._link.succeeded
        except SentenceTooLong as long:
            raise Left(Why.TOO_LONG, str(long)) from None
        except EngineFailed as failed:
            raise self._left(Why.FAILED if failed.counts else Why.BUSY, failed.why) from None
        except (Left, Fault):
            raise
        except Exception as error:
            kind = type(error).__name__
            # Without its text, which may hold some of the sentence.
            logger.error("an engine broke", engine=self._link.name, error=kind, at=_place(error))
            raise self._left(Why.FAILED, f"it broke: {kind}") from None
        finally:
            self._outcome(self._permit)

    async def _next(self, pieces: AsyncGenerator[Piece, None]) -> Piece:
        patience, asked = self._patience, _now()
        limit_s = patience.next_s if self._heard else patience.first_s
        rest_s = patience.due - asked
        if rest_s <= 0:
            raise too_late()
        wait_s = min(limit_s, rest_s / 2 if patience.spares else rest_s)
        try:
            async with asyncio.timeout_at(asked + wait_s) as bound:
                with nullcontext() if self._heard else span("first_piece", engine=self._link.name):
                    piece = await anext(pieces, None)
        except TimeoutError:
            if not bound.expired():
                raise
            # One that says something to others is busy, not gone; nor is one that had hardly any time.
            hung = wait_s >= limit_s / 2 and not self._link.heard_since(asked)
            left = self._left(Why.STALLED if hung else Why.BUSY, f"it said nothing for {wait_s:.3g} s")
            raise (too_late() if wait_s == rest_s else left) from None
        if _now() >= patience.due:
            raise too_late()
        if piece is None:
            raise self._left(Why.FAILED, "its answer broke off")
        if isinstance(piece, Delta):
            self._room -= len(piece.text)
            if self._room < 0:
                # It was asked for less. No translation, whatever may be wrong with the engine.
                self._meters.check_failed(self._link.name, "endless")
                raise Left(Why.REJECTED, "its answer found no end")
        self._link.heard()
        return piece

    def _left(self, why: Why, detail: str) -> Left:
        self._meters.failed(self.made_by, why.value)
        if why is not Why.BUSY:
            self._outcome = partial(self._link.failed, why=detail)
        return Left(why, detail)

    def _taken(self, piece: Delta) -> str:
        self._heard.append(piece.text)
        text = self.unmasker.feed(piece.text)
        text = self._space + (text if self._said else text.lstrip())
        said = text.rstrip()
        self._space = text[len(said) :]
        if said:
            self._said.append(said)
        return said


def too_late() -> TooLate:
    """The answer would come after it was wanted."""
    return TooLate("DEADLINE_EXCEEDED", "the sentence was not translated by when it was wanted")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"
