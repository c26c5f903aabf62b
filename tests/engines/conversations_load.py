"""Conversations that talk on and on, each about names of its own, and what they were answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from real_engines import Translate, tick, until

from trunkline.translate.v1 import translate_pb2 as pb

SAID = (
    "My name is {}.",
    "Where is {}, please?",
    "I would like to speak to {} tomorrow.",
    "{} is my brother.",
)
NAMES = 100
"""Of one conversation: as many as a request may keep as they are."""
CATALOGUE = frozenset(
    {"NO_ENGINE", "ENGINE_FAILED", "TRANSLATION_REJECTED", "DEADLINE_EXCEEDED", "DEADLINE_UNMEETABLE", "SHED"}
)
"""Reasons for which a sentence may fail while engines do."""


@dataclass
class Open:
    """A sentence that is being translated."""

    text: str
    revision: int = 0
    partial: str = ""


@dataclass
class Conversation:
    """One conversation: says a sentence, waits for its translation, says the next one."""

    number: int
    model: str = ""
    answered: list[pb.Sentence] = field(default_factory=list)
    failed: list[pb.SentenceFailed] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What should never be."""
    events: int = 0
    open: Open | None = None
    over: bool = False

    @property
    def midway(self) -> bool:
        """True when it has a part of a sentence."""
        return self.open is not None and bool(self.open.partial)

    def name(self, count: int) -> str:
        """A name that nobody else says."""
        return f"Kora{self.number:02}{count % NAMES:02}"

    async def talk(self, translate: Translate) -> None:
        call = translate.stub.Converse()
        options = pb.TranslationOptions(
            source_language_code="en",
            target_language_code="es",
            model=self.model,
            do_not_translate=[self.name(count) for count in range(NAMES)],
        )
        config = pb.ConverseConfig(options=options, sentence_timeout=Duration(seconds=100))
        await call.write(pb.ConverseRequest(config=config))
        count = 0
        while not self.over:
            text = SAID[count % len(SAID)].format(self.name(count))
            self.open = Open(text)
            segment = pb.TranscriptSegment(
                segment_id=str(count), text=text, language_code="en", end_of_utterance=True
            )
            await call.write(pb.ConverseRequest(segment=segment))
            if not await self._answer(call, self.open, self.name(count)):
                await tick(0.2)  # as somebody would who was told to try again
            self.open = None
            count += 1
        await call.done_writing()
        if (event := await call.read()) is not grpc.aio.EOF:
            self.wrong.append(f"something more: {event.WhichOneof('event')}")

    async def _answer(self, call: Any, asked: Open, name: str) -> bool:
        """Reads up to the end of a sentence; whether it was translated."""
        while True:
            event = await call.read()
            if event is grpc.aio.EOF:
                raise AssertionError(f"the conversation ended: {await call.code()} {await call.details()}")
            self.events += 1
            match event.WhichOneof("event"):
                case "delta":
                    if event.delta.revision != asked.revision:
                        if event.delta.revision < asked.revision:
                            self.wrong.append("a revision that was over")
                        asked.revision, asked.partial = event.delta.revision, ""
                    asked.partial += event.delta.text
                case "sentence":
                    self._take(event.sentence, asked, name)
                    return True
                case "sentence_failed":
                    self.failed.append(event.sentence_failed)
                    return False

    def _take(self, sentence: pb.Sentence, asked: Open, name: str) -> None:
        self.answered.append(sentence)
        if sentence.source_text != asked.text:
            self.wrong.append(f"{asked.text!r} was answered as {sentence.source_text!r}")
        if asked.partial != sentence.text or asked.revision != sentence.revision:
            self.wrong.append(f"{asked.partial!r} was said, and {sentence.text!r} meant")
        others = sentence.text.replace(name, "")
        if "Kora" in others:
            self.wrong.append(f"{sentence.text!r} has the name of somebody else")
        if name not in sentence.text and "phrase_not_kept" not in sentence.provenance.degradations:
            self.wrong.append(f"{sentence.text!r} lost {name}, and does not say so")


@dataclass
class Load:
    """Several conversations at once. An async context manager: leaving it waits until each got its last answer."""

    translate: Translate
    conversations: list[Conversation]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(each.talk(self.translate)) for each in self.conversations]
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in self.conversations:
            each.over = True
        async with asyncio.timeout(240):
            await asyncio.gather(*self._tasks)

    @property
    def events(self) -> int:
        return sum(each.events for each in self.conversations)

    @property
    def made_by(self) -> Counter[str]:
        """Sentences by the engine that translated them."""
        return Counter(each.provenance.engine for talk in self.conversations for each in talk.answered)

    async def go_on(self, more: int) -> None:
        """Returns when every conversation got so many sentences more."""
        before = [len(each.answered) + len(each.failed) for each in self.conversations]

        def went_on() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            return all(
                len(each.answered) + len(each.failed) >= count + more
                for each, count in zip(self.conversations, before, strict=True)
            )

        await until(went_on, 300)

    async def made_again_by(self, engine: str) -> None:
        """Returns when every conversation got a sentence more of an engine."""
        before = [self._of(each, engine) for each in self.conversations]
        await until(
            lambda: all(
                self._of(each, engine) > count for each, count in zip(self.conversations, before, strict=True)
            ),
            300,
        )

    def check(self) -> None:
        """That nothing is wrong, and what failed is of the catalogue."""
        assert not [wrong for each in self.conversations for wrong in each.wrong]
        reasons = {failed.failure.reason for each in self.conversations for failed in each.failed}
        assert reasons <= CATALOGUE

    @staticmethod
    def _of(conversation: Conversation, engine: str) -> int:
        return sum(each.provenance.engine == engine for each in conversation.answered)
