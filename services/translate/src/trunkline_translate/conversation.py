r"""One live conversation: text in as it comes, every sentence's translation out.

piece, segment, ... -> Inbox -> Incoming (sentences) -> store -> Translator -> store -> events
\_ the client's task _/  \____ hearing ____________________/   \____ answering __________/
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from trunkline_hop.errors import Fault
from trunkline_hop.tasks import ended
from trunkline_translate.coalesce import coalesced
from trunkline_translate.conversation_events import (
    Answer,
    Degraded,
    Draining,
    Event,
    Said,
    SentenceDelta,
    SentenceFailed,
    SentenceTranslated,
    Started,
)
from trunkline_translate.conversation_parts import Parts
from trunkline_translate.conversation_state import ConversationState
from trunkline_translate.engine import Priority
from trunkline_translate.inbox import End, Flush, Inbox, Item, Pause, Text
from trunkline_translate.language import Direction
from trunkline_translate.snapshot import Snapshot, Waiting
from trunkline_translate.translation import Options, Partial, Task, Translated
from trunkline_valkey import Keeper

AHEAD: Final = 8
"""So many sentences may wait to be translated before the client has to."""
EVENTS_WAITING: Final = 64
"""A client that does not read its events holds up its own conversation beyond this."""
LEAVE_S: Final = 5.0
"""A server that is about to go translates what is complete for so long. The rest is translated where it goes on."""
LAPSE: Final = 1 << 20
"""What is said while the store does not answer has numbers so much higher that who resumes a conversation from what is
kept of it can tell. More than a stream can say between two sentences."""
REVISIONS: Final = 100
"""A sentence that a stream began before is begun anew under revisions so much higher: more than a stream can need."""
SURE: Final = 0.8
"""A sentence whose language is less sure is in the language of the one before it."""
SESSION_NOT_KEPT: Final = "session_not_kept"

logger = structlog.get_logger("trunkline_translate")


@dataclass(frozen=True, slots=True)
class Resumed:
    """How a conversation goes on."""

    last_sequence: int
    """Of the last event that the client has."""
    epoch: int
    """Of the stream."""
    answers: tuple[Said, ...]
    """The last that were given."""


class Conversation:
    """One live conversation. Made by `Conversations.start` and `Conversations.resume`, and ended by leaving their blocks.

    One task feeds it, in order; another one reads its events. The events end when everything is answered.

    A client that resumes it sends again what was not answered, from a text on that it knows to be taken or from the
    first one: texts that were taken are ignored, and so is what was asked for between two of them.
    """

    def __init__(
        self,
        parts: Parts,
        snapshot: Snapshot,
        keeper: Keeper[Snapshot, Said],
        priority: Priority,
        *,
        ttl_s: float | None,
        resumed: Resumed | None = None,
    ) -> None:
        self._parts = parts
        self._keeper = keeper
        self._priority = priority
        self._ttl_s = ttl_s
        self._resumed = resumed
        self._snapshot = snapshot
        sequence = max(snapshot.sequence, resumed.last_sequence if resumed else 0)
        self._state = ConversationState(snapshot, sequence, parts.sentences)
        self._waiting = self._state.waiting
        self._inbox = Inbox(lambda: len(self._waiting) < AHEAD)
        self._said = asyncio.Queue[Said | None](EVENTS_WAITING)
        # What is said and what is kept happens in one order, whoever says it.
        self._turn = asyncio.Lock()
        self._kept = True
        self._told_kept = True
        self._ready = 1
        self._heard_all = self._ended = False
        self._more = asyncio.Event()
        self._pausing = asyncio.Event()
        self._pause_at = 0.0
        self._draining = asyncio.Event()
        self._hurried = False
        self._limit: asyncio.Timeout | None = None
        self._failure: Exception | None = None

    async def piece(self, text: str, piece_id: str = "") -> None:
        """Takes the next piece of a text, cut anywhere; waits while too many sentences wait to be translated."""
        await self._inbox.put(Text(text, piece_id))

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
        await self._inbox.put(Text(text, segment_id, language or None, joined=True, ends=end_of_utterance))

    async def flush(self) -> None:
        """What waits is a sentence now."""
        await self._inbox.put(Flush())

    async def change(self, options: Options) -> None:
        """How to translate from here on. What waits is translated as before."""
        await self._inbox.put(options)

    async def finish(self) -> None:
        """No more text comes: what is left is translated, then the events end."""
        await self._inbox.put(End())
        self._inbox.close()

    def drain(self) -> None:
        """Ends it soon with a `Draining` event, so that the client goes on elsewhere."""
        self._draining.set()
        self._inbox.close()

    async def events(self) -> AsyncIterator[Said]:
        """What it says, until all is said. Read by one task.

        Raises:
            Conflict: SESSION_MOVED, somebody resumed it elsewhere.
        """
        while (said := await self._said.get()) is not None:
            yield said
        if self._failure is not None:
            raise self._failure

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Conversation]:
        """Runs it as long as the block; then nothing of it is left but what is in the store."""
        name = f"conversation {self._snapshot.session_id}"
        task = asyncio.get_running_loop().create_task(self._main(), name=name)
        try:
            yield self
        finally:
            self._inbox.close()
            await ended(task)

    async def _main(self) -> None:
        try:
            await self._run()
        except ExceptionGroup as failures:
            self._failure = failures.exceptions[0]
        except Exception as failure:
            self._failure = failure
        self._inbox.close()
        await self._said.put(None)

    async def _run(self) -> None:
        await self._begin()
        async with asyncio.TaskGroup() as tasks:
            helpers = [
                tasks.create_task(self._keeper.beat()),
                tasks.create_task(self._hear()),
                tasks.create_task(self._watch_pauses()),
                tasks.create_task(self._hurry()),
            ]
            await self._answer()
            for helper in helpers:
                helper.cancel()
        if self._draining.is_set() and (self._waiting or not self._ended):
            await self._tell(Draining(self._keeper.token))

    async def _begin(self) -> None:
        async with self._turn:
            await self._keep()
            expires = None
            if self._kept and self._ttl_s is not None:
                expires = self._parts.clock.now() + timedelta(seconds=self._ttl_s)
            started = Started(
                self._snapshot.session_id, self._keeper.token, self._resumed is not None, expires
            )
            if self._resumed is None:
                await self._put(started)
            else:
                # It has the number of the last event that the client has, and what follows again has its own: so a
                # client that breaks off once more, at any point, knows what it has.
                await self._said.put(Said(self._resumed.last_sequence, started))
                for said in self._resumed.answers:
                    if said.sequence > self._resumed.last_sequence:
                        await self._said.put(said)
            await self._tell_kept()
        self._pause_at = self._parts.clock.monotonic() + self._state.config.pause_s
        self._look_for_pause()

    # Text

    async def _hear(self) -> None:
        if self._snapshot.rest is not None:
            await self._cut()
            await self._accept()
        while items := await self._inbox.take():
            for item in items:
                self._take(item)
                await self._cut()
            await self._accept()
        if self._draining.is_set() and not self._keeper.resumable:
            # What is not translated here is lost.
            self._state.flush(self._parts.clock.now())
            await self._accept()
        self._heard_all = True
        self._more.set()

    async def _cut(self) -> None:
        """Has the text that was taken looked at, as far as sentences may wait."""
        while self._state.cut(self._parts.clock.now()):
            if len(self._waiting) >= AHEAD:
                await self._accept()
                await self._inbox.room()
            else:
                await asyncio.sleep(0)

    def _take(self, item: Item) -> None:
        clock, state = self._parts.clock, self._state
        match item:
            case Text():
                state.take(item, clock.now())
                self._pause_at = clock.monotonic() + state.config.pause_s
            case Options():
                state.change(item, clock.now())
            case Flush():
                state.flush_asked(clock.now())
            case Pause() if self._inbox.held_up:
                # It would say something if it were let.
                self._pause_at = clock.monotonic() + state.config.pause_s
            case Pause() if clock.monotonic() >= self._pause_at:
                state.flush(clock.now())
            case End():
                self._ended = True
                state.flush(clock.now())

    async def _accept(self) -> None:
        """Keeps what was taken, then has it translated."""
        self._look_for_pause()
        async with self._turn:
            await self._keep()
            await self._tell_kept()
        self._more.set()

    def _look_for_pause(self) -> None:
        if self._state.text_waits:
            self._pausing.set()
        else:
            self._pausing.clear()

    async def _watch_pauses(self) -> None:
        while True:
            await self._pausing.wait()
            left = self._pause_at - self._parts.clock.monotonic()
            if left > 0:
                await self._parts.sleep(left)
            else:
                self._pausing.clear()
                self._inbox.push(Pause())

    # Answers

    async def _answer(self) -> None:
        while not self._hurried:
            if self._waiting and self._waiting[0].sentence_id < self._ready:
                await self._translate(self._waiting[0])
            elif self._heard_all:
                return
            else:
                self._more.clear()
                await self._more.wait()

    async def _translate(self, waiting: Waiting) -> None:
        source = waiting.language or self._detected(waiting.text)
        options = self._state.options(waiting)
        direction = Direction(source, options.target)
        task = Task(
            waiting.text,
            options,
            source,
            self._state.context(direction, waiting),
            self._priority,
            asyncio.get_running_loop().time() + self._state.config.sentence_timeout_s,
        )
        answer: Answer | None = None
        try:
            async with asyncio.timeout(None) as self._limit:
                translated = await self._outcome(task, waiting.sentence_id, self._revision(waiting))
                answer = SentenceTranslated(waiting.sentence_id, waiting.text, translated)
                self._limit = None
        except Fault as fault:
            answer = _failed(waiting, fault.status, fault.reason, fault.message)
        except Exception as failure:
            if self._hurried and isinstance(failure, TimeoutError):
                return
            logger.exception("a sentence was not translated", session=self._snapshot.session_id)
            answer = _failed(waiting, "INTERNAL", "INTERNAL", "the sentence met a defect of the server")
        finally:
            self._limit = None
        await self._give(waiting, answer, direction)

    async def _outcome(self, task: Task, sentence_id: int, revision: int) -> Translated:
        """Tells a sentence's pieces; its translation."""
        outcomes = self._parts.translator.translate(task)
        async with aclosing(outcomes if self._state.config.final_only else coalesced(outcomes)) as told:
            async for outcome in told:
                if isinstance(outcome, Translated):
                    return replace(outcome, revision=outcome.revision + revision)
                if not self._state.config.final_only:
                    partial = Partial(outcome.revision + revision, outcome.text)
                    await self._tell(SentenceDelta(sentence_id, partial))
        raise RuntimeError("the translator ended without a translation")

    def _revision(self, waiting: Waiting) -> int:
        """What comes under revisions up to this one may have been told by a stream before."""
        if self._resumed is None or waiting.sentence_id >= self._snapshot.next_sentence:
            return 0
        return (self._resumed.epoch - 1) * REVISIONS

    def _detected(self, text: str) -> str:
        """The language of a sentence; empty where nothing tells."""
        likely = self._parts.detector.detect(text)
        if likely and (likely[0].confidence >= SURE or not self._state.language):
            return likely[0].code
        return self._state.language

    async def _give(self, waiting: Waiting, answer: Answer, direction: Direction) -> None:
        """Keeps an answer, then gives it."""
        async with self._turn:
            self._state.answer(answer, direction)
            self._inbox.look()
            self._state.sequence += 1
            self._state.answered.append(self._state.sequence)
            said = Said(self._state.sequence, answer, waiting.text_ids)
            await self._keep(said)
            if not self._kept and self._keeper.token:
                said = replace(said, sequence=self._state.sequence, event=_not_kept(answer))
                self._keeper.revise(said)
                self._state.answered[-1] = said.sequence
            await self._said.put(said)
            await self._tell_kept()

    async def _hurry(self) -> None:
        """Leaves what is not translated in time to whoever goes on."""
        await self._draining.wait()
        await self._parts.sleep(LEAVE_S)
        if self._keeper.resumable:
            self._hurried = True
            self._more.set()
            if self._limit is not None:
                self._limit.reschedule(asyncio.get_running_loop().time())

    # What is said and kept. Under `_turn`, so that it is in order.

    async def _tell(self, event: Event) -> None:
        async with self._turn:
            await self._put(event)

    async def _put(self, event: Event) -> None:
        self._state.sequence += 1
        await self._said.put(Said(self._state.sequence, event))

    async def _keep(self, final: Said | None = None) -> None:
        ready = self._state.next_sentence
        kept = await self._keeper.save(self._state.snapshot(), final)
        if not kept and self._keeper.token:
            # Every time: what was not confirmed may be kept all the same.
            self._state.sequence += LAPSE
        self._kept, self._ready = kept, ready

    async def _tell_kept(self) -> None:
        if not self._keeper.token or self._kept == self._told_kept:
            return
        self._told_kept = self._kept
        message = (
            "The conversation can be resumed again."
            if self._kept
            else "The session store does not answer: if this stream breaks off, the conversation cannot be resumed."
        )
        await self._put(Degraded(SESSION_NOT_KEPT, not self._kept, message))


def _failed(waiting: Waiting, code: str, reason: str, message: str) -> SentenceFailed:
    return SentenceFailed(waiting.sentence_id, waiting.text, code, reason, message)


def _not_kept(answer: Answer) -> Answer:
    """An answer that says what it lacks."""
    if isinstance(answer, SentenceFailed):
        return answer
    translated = answer.translated
    degradations = (*translated.degradations, SESSION_NOT_KEPT)
    return replace(answer, translated=replace(translated, degradations=degradations))
