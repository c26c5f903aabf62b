"""One sentence: masked, given to the best engine that is up, checked, and given to the next one where that failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol

from trunkline_hop.breaker import REFUSED
from trunkline_hop.errors import BadRequest, FieldViolation, TooLate
from trunkline_translate.attempt import Attempt, Left, Patience, Why, too_late
from trunkline_translate.chain import ENGINES, Chain
from trunkline_translate.checks import Finding
from trunkline_translate.engine import FinishReason, Identity
from trunkline_translate.language import Direction
from trunkline_translate.masking import Masked, mask, one_placeholder, without_placeholders
from trunkline_translate.meters import Meters
from trunkline_translate.translation import Outcome, Partial, Task, Translated
from trunkline_translate.work import PLACEHOLDERS, Work

ALREADY_TARGET_LANGUAGE: Final = "already_target_language"
"""Degradation: there was nothing to translate."""
NOBODY: Final = Identity("none", "engines/none")
"""Made what needed no engine."""


class Checks(Protocol):
    """Looks at answers."""

    def find(self, source: str, answer: str, direction: Direction, *, finished: bool) -> Finding | None:
        """The worst that is wrong with an answer, or None. Both texts have placeholders."""
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
        masked = mask(task.text, task.options.keep, task.options.glossary)
        if (unchanged := _unchanged(task, masked)) is not None:
            if unchanged.text:
                yield Partial(unchanged.revision, unchanged.text)
            yield unchanged
            return
        work = self._work(task, masked)
        while (attempt := self._next(work)) is not None:
            try:
                async with aclosing(attempt.deltas()) as deltas:
                    async for delta in deltas:
                        yield work.partial(attempt, delta)
                self._check(work, attempt)
            except (Left, TooLate) as ended:
                work.left(attempt, ended)
                continue
            yield _in_time(task, work.translated(attempt))
            return
        if work.spare is None:
            raise work.fault(self._chain.retry_in(work.links))
        if work.shown is not work.spare:
            yield work.partial(work.spare, work.spare.text)
        yield _in_time(task, work.translated(work.spare))

    def _work(self, task: Task, masked: Masked) -> Work:
        if not task.source:
            wanted = "expected the language of the text, because nothing in it tells"
            raise BadRequest(
                f"options.source_language_code: {wanted}",
                [FieldViolation("options.source_language_code", wanted)],
                reason="LANGUAGE_UNDETECTED",
            )
        direction = Direction(task.source, task.options.target)
        links = self._chain.candidates(direction, task.options.model)
        if _now() >= task.due:
            raise TooLate("DEADLINE_UNMEETABLE", "the sentence was wanted before it could be begun")
        return Work(task, direction, masked, links, self._meters)

    def _next(self, work: Work) -> Attempt | None:
        """The next try; None when there is none left."""
        while (turn := work.next()) is not None:
            permit = turn.link.enter()
            if permit != REFUSED:
                break
            work.skipped(turn.link)
        else:
            return None
        work.begins(turn.link)
        now, due = _now(), work.task.due
        patience = Patience(
            first_s=self._first_token_s,
            next_s=self._stall_s,
            # An answer that is there already must not come too late for the hope of a better one.
            due=due if work.spare is None else now + (due - now) / 2,
            spares=work.others_up(turn.link),
        )
        named = work.task.options.model
        model = "" if named.startswith(ENGINES) else named
        return Attempt(turn, permit, work.masked, model, patience, self._meters)

    def _check(self, work: Work, attempt: Attempt) -> None:
        """Raises Left when there is something wrong with the answer."""
        source, answer = work.masked.text, attempt.heard
        finished = attempt.completed.finish_reason is FinishReason.STOP
        finding = None
        if attempt.unmasker.intact:
            # Which of two placeholders for the same phrase stands where makes no difference.
            source, answer = one_placeholder(source), one_placeholder(answer)
        else:
            source, answer = without_placeholders(source), without_placeholders(answer)
            # Where an answer was cut, phrases may be behind the cut.
            finding = PLACEHOLDERS if finished else None
        if answer.strip() or not attempt.text:
            finding = self._checks.find(source, answer, work.direction, finished=finished) or finding
        if finding is not None:
            self._meters.check_failed(attempt.turn.link.name, finding.name)
            attempt.finding = finding
            raise Left(Why.REJECTED, f"its answer failed the check {finding.name}")


def _unchanged(task: Task, masked: Masked) -> Translated | None:
    """The answer where there is nothing to translate."""
    already = task.source == task.options.target
    if masked.translatable and not already:
        return None
    return Translated(
        text=task.text if already else masked.restored(),
        source=task.source,
        target=task.options.target,
        revision=1,
        made_by=NOBODY,
        degradations=(ALREADY_TARGET_LANGUAGE,) if already else (),
    )


def _in_time(task: Task, translated: Translated) -> Translated:
    if _now() >= task.due:
        raise too_late()
    return translated


def _now() -> float:
    return asyncio.get_running_loop().time()
