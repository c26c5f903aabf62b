"""Conversations whose translator answers by a script, on a clock that stands, and a client that holds what it got."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from trunkline_translate.conversation import Conversation
from trunkline_translate.conversation_events import (
    Said,
    SentenceDelta,
    SentenceFailed,
    SentenceTranslated,
    Started,
)
from trunkline_translate.conversations import Conversations
from trunkline_translate.detect import Detected
from trunkline_translate.engine import Identity
from trunkline_translate.sentences import Sentences
from trunkline_translate.snapshot import ConversationConfig, ConversationStore
from trunkline_translate.translation import Options, Outcome, Partial, Task, Translated

BOUND_S = 30.0
"""How long a test waits for a condition before it is a failure. Nothing is asserted about time."""
SCRIPT = Identity("openvino", "models/script/versions/1")
CONFIG = ConversationConfig(Options(target="es", source="en"))


class StandingTime:
    """A clock that moves when told, and waits on it."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time_s)

    @property
    def asleep(self) -> int:
        """How many wait."""
        return sum(not future.done() for _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time_s + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        self.time_s += seconds
        for until, future in self._sleepers:
            if until <= self.time_s and not future.done():
                future.set_result(None)
        self._sleepers = [(until, future) for until, future in self._sleepers if not future.done()]


def answer_to(task: Task) -> str:
    """What the script answers: other bytes for every other context, option or language."""
    asked = (task.text, task.source, task.options, task.context)
    return f"{hashlib.sha256(repr(asked).encode()).hexdigest()[:8]} {task.text[::-1]}"


@dataclass
class ScriptedTranslator:
    """Answers in three pieces."""

    before: Callable[[Task], Awaitable[None]] | None = None
    """Called with what is to be translated; it may wait, or fail."""
    between: Callable[[Task], Awaitable[None]] | None = None
    """Called when the first piece was told."""
    tasks: list[Task] = field(default_factory=list)
    open: int = 0

    async def translate(self, task: Task) -> AsyncGenerator[Outcome, None]:
        self.tasks.append(task)
        self.open += 1
        try:
            if self.before is not None:
                await self.before(task)
            text = answer_to(task)
            yield Partial(1, text[:4])
            if self.between is not None:
                await self.between(task)
            yield Partial(1, text[4:9])
            yield Partial(1, text[9:])
            yield Translated(
                text, task.source, task.options.target, 1, SCRIPT, context_used=bool(task.context)
            )
        finally:
            self.open -= 1


class ScriptedDetector:
    """Knows a language by one word of it."""

    def detect(self, text: str) -> list[Detected]:
        if not any(map(str.isalpha, text)):
            return []
        for code, word in (("en", "the"), ("es", "el"), ("de", "der")):
            if word in text.casefold().split():
                return [Detected(code, 0.99)]
        return [Detected("fr", 0.4), Detected("en", 0.3)]


class Here:
    """One replica."""

    def __init__(
        self, store: ConversationStore | None = None, *, limit: int = 10, time: StandingTime | None = None
    ) -> None:
        self.time = time or StandingTime()
        self.translator = ScriptedTranslator()
        self.conversations = Conversations(
            translator=self.translator,
            detector=ScriptedDetector(),
            sentences=Sentences,
            store=store,
            clock=self.time,
            limit=limit,
            sleep=self.time.sleep,
        )

    def start(self, config: ConversationConfig = CONFIG) -> AbstractAsyncContextManager[Conversation]:
        return self.conversations.start(config)


@dataclass(frozen=True)
class Piece:
    text: str
    text_id: str


@dataclass(frozen=True)
class Segment:
    text: str
    text_id: str
    language: str = ""
    ends: bool = False


@dataclass(frozen=True)
class Flush:
    pass


Step: TypeAlias = Piece | Segment | Flush | Options
"""What a client does."""


async def said_by(conversation: Conversation, steps: Iterable[Step]) -> list[Said]:
    """Feeds a conversation to its end; what it said."""
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(fed(conversation, steps))
        return [said async for said in conversation.events()]


async def fed(conversation: Conversation, steps: Iterable[Step], *, finish: bool = True) -> None:
    for step in steps:
        match step:
            case Piece(text, text_id):
                await conversation.piece(text, text_id)
            case Segment(text, text_id, language, ends):
                await conversation.segment(text, text_id, language=language, end_of_utterance=ends)
            case Flush():
                await conversation.flush()
            case Options():
                await conversation.change(step)
    if finish:
        await conversation.finish()


def answers(said: Iterable[Said]) -> list[SentenceTranslated | SentenceFailed]:
    return [each.event for each in said if isinstance(each.event, SentenceTranslated | SentenceFailed)]


def sources(said: Iterable[Said]) -> list[str]:
    return [each.source_text for each in answers(said)]


def texts(said: Iterable[Said]) -> list[tuple[int, str, str]]:
    """Number, text and translation of every sentence."""
    return [
        (each.sentence_id, each.source_text, each.translated.text)
        for each in answers(said)
        if isinstance(each, SentenceTranslated)
    ]


def shown(said: Sequence[Said]) -> dict[int, str]:
    """What a client shows of each sentence that draws deltas and discards what a higher revision makes void."""
    text: dict[int, tuple[int, str]] = {}
    for each in said:
        if isinstance(each.event, SentenceDelta):
            revision, before = text.get(each.event.sentence_id, (0, ""))
            partial = each.event.partial
            assert partial.revision >= revision
            before = before if partial.revision == revision else ""
            text[each.event.sentence_id] = (partial.revision, before + partial.text)
    return {number: drawn for number, (_, drawn) in text.items()}


class Client:
    """Holds what it got, and resumes whenever its stream breaks off."""

    def __init__(self, steps: Sequence[Step], here: Here, elsewhere: Here, *, anchor: bool = True) -> None:
        self.steps = tuple(steps)
        self.servers = (here, elsewhere)
        self.streams = 0
        self.said: list[Said] = []
        self.token = ""
        self.anchor = anchor
        """False: sends everything again, instead of what comes after the last text that was answered."""

    @property
    def last_sequence(self) -> int:
        return self.said[-1].sequence if self.said else 0

    def left(self) -> tuple[Step, ...]:
        """What it sends again: everything from the last text on behind which nothing was answered."""
        if not self.anchor:
            return self.steps
        answered = {text_id for each in self.said for text_id in each.text_ids}
        first = 0
        for number, step in enumerate(self.steps):
            if isinstance(step, Piece | Segment):
                if step.text_id not in answered:
                    break
                first = number
        return self.steps[first:]

    async def stream(self, *, read: int | None = None) -> bool:
        """One stream, which breaks off once so many events were read.

        Nothing is written any more when it breaks off: for the store it is as if the server had died.
        Returns True when the conversation came to its end.
        """
        conversations = self.servers[self.streams % 2].conversations
        self.streams += 1
        opened = (
            conversations.resume(self.token, last_sequence=self.last_sequence)
            if self.token
            else conversations.start(CONFIG)
        )
        async with asyncio.timeout(BOUND_S), opened as conversation:
            events = conversation.events()
            self._got(await anext(events))
            feeding = asyncio.create_task(fed(conversation, self.left()))
            try:
                while read is None or read > 0:
                    said = await anext(events, None)
                    if said is None:
                        return True
                    self._got(said)
                    read = None if read is None else read - 1
                return False
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    def _got(self, said: Said) -> None:
        if isinstance(said.event, Started):
            assert said.sequence == (self.last_sequence or said.sequence)
            assert said.event.resumed == bool(self.token)
            self.token = said.event.resume_token
            if not self.said:
                self.said.append(said)
        else:
            assert said.sequence > self.last_sequence
            self.said.append(said)


async def until(condition: Callable[[], bool]) -> None:
    """Returns when the condition is true."""
    async with asyncio.timeout(BOUND_S):
        while not condition():
            await turn()


async def turn() -> None:
    """Lets others run."""
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: passed.done() or passed.set_result(None))
    await passed
