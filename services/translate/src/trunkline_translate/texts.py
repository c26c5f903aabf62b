"""Whole texts: cut into sentences, each translated in the context of those before it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Protocol

from trunkline_hop.errors import BadRequest, Fault, FieldViolation
from trunkline_translate.detect import Detected
from trunkline_translate.engine import Exchange, Priority
from trunkline_translate.sentences import Span
from trunkline_translate.translation import Options, Outcome, Task, Translated, Translates
from trunkline_translate.translator import NOBODY

_CONTEXT: Final = 3
"""Sentences before, that an engine gets to see with one."""
_AT_ONCE: Final = 500
"""Characters that are cut into sentences while nobody else is served, about 1 ms; more are cut in a thread."""
_TELLING: Final = 2000
"""Characters that tell a text's language as well as all of them."""


class Detects(Protocol):
    """Tells languages apart: `detect.Detector`."""

    def detect(self, text: str) -> Sequence[Detected]:
        """The most likely first; empty when nothing tells."""
        ...


@dataclass(frozen=True, slots=True)
class TextEvent:
    """Something about a sentence of a text."""

    sentence_id: int
    """From 1."""
    separator: str
    """What stands between the sentence before and this one, in its first event; empty in the others."""
    source_text: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class TranslatedSentence:
    """A sentence of a text, and its translation."""

    sentence_id: int
    """From 1."""
    separator: str
    """What stands between the sentence before and this one."""
    source_text: str
    translated: Translated


@dataclass(frozen=True, slots=True)
class TranslatedText:
    """A text's translation."""

    text: str
    """That of the sentences, with what stood before, between and behind them as it was."""
    sentences: tuple[TranslatedSentence, ...]


class Texts:
    """Translates texts.

    Args:
        translator: translates their sentences.
        split: cuts a text in a language into sentences.
        detector: tells the language of a text that does not say it.
        at_once: most texts of one call that are translated at once.
    """

    def __init__(
        self,
        translator: Translates,
        split: Callable[[str, str], Sequence[Span]],
        detector: Detects,
        *,
        at_once: int = 8,
    ) -> None:
        self._translator = translator
        self._split = split
        self._detector = detector
        self._at_once = at_once

    async def stream(
        self, text: str, options: Options, *, priority: Priority = Priority.DEFAULT, due: float = float("inf")
    ) -> AsyncGenerator[TextEvent, None]:
        """One text, sentence by sentence as they are translated. Closing it stops the work at once.

        Args:
            text: the text.
            options: how to translate it.
            priority: of its sentences.
            due: when all of it is wanted, on the event loop's clock.

        Raises:
            Fault: as `Translator.translate`.
        """
        source = options.source or self._language(text)
        context: deque[Exchange] = deque(maxlen=_CONTEXT)
        place = 0
        for number, span in enumerate(await self._spans(text, source), 1):
            sentence, separator = text[span.start : span.end], text[place : span.start]
            place = span.end
            task = Task(sentence, options, source, tuple(context), priority, due)
            async with aclosing(self._translator.translate(task)) as outcomes:
                async for outcome in outcomes:
                    yield TextEvent(number, separator, sentence, outcome)
                    separator = ""
                    if isinstance(outcome, Translated) and outcome.made_by != NOBODY:
                        context.append(Exchange(sentence, outcome.text))

    async def whole(
        self, text: str, options: Options, *, priority: Priority = Priority.DEFAULT, due: float = float("inf")
    ) -> TranslatedText:
        """One text at once.

        Raises:
            Fault: as `Translator.translate`.
        """
        sentences: list[TranslatedSentence] = []
        pieces: list[str] = []
        place, separator = 0, ""
        async with aclosing(self.stream(text, options, priority=priority, due=due)) as events:
            async for event in events:
                separator += event.separator
                if isinstance(event.outcome, Translated):
                    sentences.append(
                        TranslatedSentence(event.sentence_id, separator, event.source_text, event.outcome)
                    )
                    pieces += (separator, event.outcome.text)
                    place += len(separator) + len(event.source_text)
                    separator = ""
        return TranslatedText("".join([*pieces, text[place:]]), tuple(sentences))

    async def several(
        self,
        texts: Sequence[str],
        options: Options,
        *,
        priority: Priority = Priority.DEFAULT,
        due: float = float("inf"),
    ) -> list[TranslatedText | Fault]:
        """What became of each text. They are independent of each other.

        Raises:
            Fault: of the first text, when all of them failed.
        """
        at_once = asyncio.Semaphore(self._at_once)

        async def one(number: int, text: str) -> TranslatedText | Fault:
            async with at_once:
                try:
                    return await self.whole(text, options, priority=priority, due=due)
                except BadRequest as fault:
                    fault.violations = tuple(_in(number, violation) for violation in fault.violations)
                    return fault
                except Fault as fault:
                    return fault

        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(one(number, text)) for number, text in enumerate(texts)]
        except ExceptionGroup as group:
            # The others were only cancelled because of the first.
            raise group.exceptions[0] from None
        became = [task.result() for task in running]
        failed = [each for each in became if isinstance(each, Fault)]
        if failed and len(failed) == len(became):
            raise failed[0]
        return became

    async def _spans(self, text: str, source: str) -> Sequence[Span]:
        if len(text) <= _AT_ONCE:
            return self._split(text, source)
        return await asyncio.to_thread(self._split, text, source)

    def _language(self, text: str) -> str:
        detected = self._detector.detect(text[:_TELLING])
        return detected[0].code if detected else ""


def _in(number: int, violation: FieldViolation) -> FieldViolation:
    """What is wrong, as one of several texts has it."""
    return replace(violation, field=f"texts[{number}]") if violation.field == "text" else violation
