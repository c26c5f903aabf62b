"""One sentence: masked, given to the best engine that is up, checked, and given to the next one where that failed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from trunkline_translate.chain import Chain
from trunkline_translate.engine import FinishReason
from trunkline_translate.language import Direction
from trunkline_translate.meters import Meters
from trunkline_translate.translation import Outcome, Partial, Task, Translated


class Finding(Protocol):
    """What is wrong with an answer."""

    @property
    def name(self) -> str:
        """Of the check."""
        ...

    @property
    def hard(self) -> bool:
        """True when the answer must not be given."""
        ...


class Checks(Protocol):
    """Looks at answers."""

    def find(
        self, source: str, target: str, direction: Direction, finish_reason: FinishReason
    ) -> Finding | None:
        """What is wrong with a translation, if anything is."""
        ...


class Translator:
    """Translates sentences.

    Args:
        chain: the engines.
        checks: look at every answer.
        meters: where it shows what it does.
        first_token_s: longest wait for the first piece of an engine's answer.
        stall_s: longest wait for each piece after it.
    """

    def __init__(
        self,
        chain: Chain,
        checks: Checks,
        meters: Meters,
        *,
        first_token_s: float = 2.0,
        stall_s: float = 2.0,
    ) -> None:
        self._chain = chain
        self._checks = checks
        self._meters = meters
        self._first_token_s = first_token_s
        self._stall_s = stall_s

    async def translate(self, task: Task) -> AsyncGenerator[Outcome, None]:
        """Partials, then exactly one `Translated`. Closing the generator stops all work on the sentence at once.

        Raises:
            BadRequest: LANGUAGE_UNDETECTED, LANGUAGE_UNSUPPORTED, TEXT_TOO_LONG.
            NotFound: MODEL_UNKNOWN; or as the engine that was named.
            NotAllowed: as the engine that was named.
            Unavailable: NO_ENGINE; ENGINE_FAILED, where one was named, or may not be replaced midway;
                TRANSLATION_REJECTED, every answer was no translation.
            Overloaded: SHED, whoever is up has too much to do.
            TooLate: DEADLINE_UNMEETABLE, DEADLINE_EXCEEDED.
        """
        raise RuntimeError("in the making")
        yield Partial(1, "")
