"""One sentence on its way through the engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from trunkline_hop.errors import Fault, TooLate
from trunkline_translate.attempt import Attempt, Left, Turn, Why
from trunkline_translate.chain import Link
from trunkline_translate.checks import Finding
from trunkline_translate.engine import Ask, Exchange
from trunkline_translate.language import Direction
from trunkline_translate.masking import Kind, Masked, without_placeholders
from trunkline_translate.meters import Meters
from trunkline_translate.translation import Partial, Task, Translated
from trunkline_translate.tried import Tried, broken_off, rejected

FALLBACK_ENGINE: Final = "fallback_engine"
"""Degradation: made by another engine than the first of the direction."""
CONTEXT_DROPPED: Final = "context_dropped"
"""Degradation: what was said before had to be left out."""
CHECK_FAILED: Final = "check_failed"
"""Degradation: a check has doubts, and no engine had a better answer."""
NOT_THERE: Final = {Kind.KEEP: "phrase_not_kept", Kind.GLOSSARY: "glossary_missed"}
"""Degradations: what the answer lost, or has too often."""
PLACEHOLDERS: Final = Finding("placeholders", hard=False)


class Work:
    """Whose turn it is, and what the client has so far.

    Args:
        task: the sentence.
        direction: from what into what.
        masked: the sentence as engines see it.
        links: who may translate it, in order of preference.
        meters: where it shows who did.
    """

    def __init__(
        self, task: Task, direction: Direction, masked: Masked, links: Sequence[Link], meters: Meters
    ) -> None:
        self.task = task
        self.direction = direction
        self.masked = masked
        self.links = links
        self.shown: Attempt | None = None
        """Whose partials the client has."""
        self.spare: Attempt | None = None
        """An answer that a check has doubts about, of the most preferred engine that has one."""
        self._context = tuple(
            Exchange(without_placeholders(each.source), without_placeholders(each.target))
            for each in task.context
        )
        self._tried = Tried(meters)
        self._following = iter(links)
        self._turn: Turn | None = None
        self._once_more = False
        """True when the same engine is to try without context."""
        self._stuck: tuple[Link, Left] | None = None
        """Who left it when nothing may begin anew any more."""
        self._revision = 0

    def next(self) -> Turn | None:
        """The next turn: the same engine's without context where that is worth a try, or the next engine's."""
        if self._stuck is not None:
            return None
        if self._turn is not None and self._once_more:
            self._once_more = False
            self._turn = Turn(self._turn.link, replace(self._turn.ask, context=()))
        else:
            link = next(self._following, None)
            self._turn = None if link is None else Turn(link, self._ask(link))
        return self._turn

    def skipped(self, link: Link) -> None:
        """An engine cannot be asked."""
        self._tried.ended(link, Left(Why.DOWN, link.error))

    def begins(self, link: Link) -> None:
        """An engine is asked."""
        self._tried.begins(link)

    def others_up(self, link: Link) -> bool:
        """True when there is an engine to go on with behind this one."""
        return any(other.up for other in self.links[self.links.index(link) + 1 :])

    def partial(self, attempt: Attempt, text: str) -> Partial:
        """The next piece for the client, of an answer which may be another than before."""
        if self.shown is not attempt:
            self.shown = attempt
            self._revision += 1
        return Partial(self._revision, text)

    def left(self, attempt: Attempt, ended: Left | TooLate) -> None:
        """An engine did not translate it. What is next depends on why.

        Raises:
            TooLate: that is why, and there is no answer to give instead.
        """
        link = attempt.turn.link
        if isinstance(ended, TooLate):
            if self.spare is None:
                raise ended
            ended = Left(Why.BUSY, "a better answer would have come too late")
        self._tried.ended(link, ended)
        doubted = attempt.finding is not None and not attempt.finding.hard
        if doubted and (self.spare is None or self.spare.turn.link is link):
            self.spare = attempt
        if self.shown is not None and not self.task.options.restart:
            self._stuck = link, ended
        self._once_more = bool(attempt.turn.ask.context) and ended.why in (Why.TOO_LONG, Why.REJECTED)

    def translated(self, attempt: Attempt) -> Translated:
        """An answer that is given."""
        done = attempt.completed
        return Translated(
            text=attempt.text,
            source=self.direction.source,
            target=self.direction.target,
            revision=self._revision,
            made_by=attempt.made_by,
            finish_reason=done.finish_reason,
            prompt_tokens=done.prompt_tokens,
            completion_tokens=done.completion_tokens,
            context_used=bool(attempt.turn.ask.context),
            degradations=tuple(dict.fromkeys(self._degradations(attempt, done.degradations))),
        )

    def fault(self, retry_in_s: float) -> Fault:
        """What to say where nobody translated it.

        Args:
            retry_in_s: seconds until an engine may be back.
        """
        if self._stuck is None:
            return self._tried.fault(self.task.options.model, retry_in_s)
        link, left = self._stuck
        return rejected({link.name: left.detail}) if left.why is Why.REJECTED else broken_off(link, left)

    def _ask(self, link: Link) -> Ask:
        task = self.task
        return Ask(
            text=self.masked.text,
            direction=self.direction,
            formality=task.options.formality,
            context=self._context if link.engine.takes_context else (),
            max_tokens=task.options.max_tokens,
            priority=task.priority,
            due=task.due,
        )

    def _degradations(self, attempt: Attempt, own: tuple[str, ...]) -> Iterator[str]:
        link, finding = attempt.turn.link, attempt.finding
        if link is not self.links[0]:
            yield FALLBACK_ENGINE
        if self._context and link.engine.takes_context and not attempt.turn.ask.context:
            yield CONTEXT_DROPPED
        yield from own
        missing = attempt.unmasker.missing()
        yield from (name for kind, name in NOT_THERE.items() if kind in missing)
        if finding is not None and not (finding is PLACEHOLDERS and missing):
            yield CHECK_FAILED
