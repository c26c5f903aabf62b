"""One live session: audio in, events out.

    feed -> Ear -> Intake -> Segmenter -> Passes (recogniser) -> Draft -> Keeper (store) -> events

Everything behind the intake is one task that takes one frame after the other and makes each decision, passes
included, before it looks at the next: so the text depends on the audio alone, not on when it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import structlog

from trunkline_hop.clock import Clock
from trunkline_hop.errors import BadRequest, Conflict
from trunkline_speech import degradations as lacks
from trunkline_speech.config import SessionConfig, Update
from trunkline_speech.degradations import Degradations
from trunkline_speech.draft import Draft
from trunkline_speech.events import (
    AudioDropped,
    Configured,
    Degraded,
    Draining,
    DropReason,
    EndOfUtterance,
    Event,
    Said,
    SegmentFinal,
    SpeechStarted,
    Started,
)
from trunkline_speech.intake import Intake
from trunkline_speech.keeper import Keeper
from trunkline_speech.load import Load
from trunkline_speech.parts import Choose, Diarize, Diarizer, Frame, Listen
from trunkline_speech.passes import Interrupted, Passes
from trunkline_speech.recogniser import Hearing, Recogniser
from trunkline_speech.segmenter import (
    LEAST_CUT,
    Decision,
    Full,
    Kind,
    Mark,
    PassDue,
    SegmentEnded,
    Segmenter,
    SpeechBegan,
    UtteranceEnded,
    samples,
)
from trunkline_speech.snapshot import Snapshot
from trunkline_speech.tape import Tape
from trunkline_speech.transcript import RATE_HZ, Word

AHEAD: Final = 2
"""So many buffers of audio may wait to be heard."""
SAVED_EVERY: Final = 5 * RATE_HZ
"""While nobody speaks, a client has to keep about this much of its audio."""
EVENTS_WAITING: Final = 64
"""A client that does not read its events holds up its own session beyond this."""

logger = structlog.get_logger("trunkline_speech")


@dataclass(frozen=True, slots=True)
class Parts:
    """What every session of a process is put together from."""

    listen: Listen
    choose: Choose
    diarize: Diarize
    load: Load
    clock: Clock


@dataclass(frozen=True, slots=True)
class Resumed:
    """How a session goes on."""

    last_sequence: int
    """Of the last event that the client has."""
    audio_start: int | None
    """Where its audio begins; None for where it is asked to."""
    finals: tuple[Said, ...]
    """What was said that is final."""


@dataclass(frozen=True, slots=True)
class _Change:
    config: SessionConfig
    recogniser: Recogniser


@dataclass(frozen=True, slots=True)
class _End:
    fault: BadRequest | None


_Item: TypeAlias = Frame | AudioDropped | _Change | _End


class Session:
    """One live session. Made by `Sessions.start` and `Sessions.resume`, and ended by leaving their blocks.

    One task feeds it, in order; another one reads its events. The events end when everything is said.
    """

    def __init__(
        self,
        parts: Parts,
        snapshot: Snapshot,
        keeper: Keeper,
        recogniser: Recogniser,
        lease: AsyncExitStack,
        resumed: Resumed | None = None,
    ) -> None:
        self._parts = parts
        self._keeper = keeper
        self._resumed = resumed
        self._id = snapshot.session_id
        self._wanted = self._config = snapshot.config
        self._latest = self._recogniser = recogniser
        self._leases = [lease]
        self._mark = snapshot.mark
        self._audio_start = snapshot.mark.start
        if resumed is not None and resumed.audio_start is not None:
            self._audio_start = resumed.audio_start
        self._sequence = max(snapshot.sequence, resumed.last_sequence if resumed else 0)
        self._utterance = snapshot.utterance
        self._draft = Draft(
            snapshot.number,
            revision=snapshot.revision,
            language=snapshot.language,
            committed=snapshot.committed,
            carried=snapshot.carried,
            before=snapshot.before,
        )
        self._segmenter = Segmenter(self._config.parameters, recogniser.window, snapshot.mark)
        self._tape = Tape()
        self._ear = parts.listen(self._config.audio, self._config.detector, self._audio_start)
        self._intake = Intake[_Item](self._room(), parts.clock)
        self._stop = asyncio.Event()
        self._passes = Passes(parts.clock, parts.load, self._stop)
        self._degradations = Degradations()
        self._diarizer = self._new_diarizer(snapshot.speakers)
        self._device = _device(recogniser)
        self._failing = False
        self._moved: Conflict | None = None
        self._failure: Exception | None = None
        self._out = asyncio.Queue[Said | None](EVENTS_WAITING)

    @property
    def config(self) -> SessionConfig:
        """What it was told, the last update included."""
        return self._wanted

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Session]:
        """Runs it as long as the block; then nothing of it is left but the snapshot in the store."""
        task = asyncio.get_running_loop().create_task(self._main(), name=f"session {self._id}")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._intake.close()
            await self._ear.close()
            await self._release(0)

    async def feed(self, data: bytes) -> None:
        """Takes the next bytes of the audio, cut anywhere; waits while it is too far ahead of the recogniser.

        Bytes that are no audio end the session with BadRequest, once everything before them is said. After its end
        it takes nothing more: the events say why.
        """
        if not self._intake.closed:
            try:
                async for item in self._ear.hear(data):
                    await self._take(item)
            except BadRequest as fault:
                await self._intake.put(_End(fault))

    async def finish(self) -> None:
        """No more audio comes: what is in flight is said, then the events end."""
        fault: BadRequest | None = None
        if not self._intake.closed:
            try:
                async for item in self._ear.finish():
                    await self._take(item)
            except BadRequest as raised:
                fault = raised
            await self._intake.put(_End(fault))

    async def update(self, update: Update) -> None:
        """Changes the session from the audio that follows. Another language begins a new segment.

        Raises:
            BadRequest: LANGUAGE_UNSUPPORTED, nobody here hears that language.
            NotFound, Unavailable: the recogniser that does cannot be had.
        """
        config = update.of(self._wanted)
        language = config.options.language
        if language and language not in self._latest.languages:
            lease = AsyncExitStack()
            self._latest = await lease.enter_async_context(self._parts.choose(config.options))
            self._leases.append(lease)
        self._wanted = config
        await self._intake.put(_Change(config, self._latest))

    def drain(self) -> None:
        """Ends it with a `Draining` event, so that the client goes on elsewhere."""
        self._stop.set()
        self._intake.interrupt()

    async def events(self) -> AsyncIterator[Said]:
        """What it says, until all is said. Read by one task.

        Raises:
            BadRequest: the bytes that it was fed are no audio.
            Conflict: SESSION_MOVED, somebody resumed it elsewhere.
            Overloaded, TooLate, Unavailable: the recogniser cannot go on; the session can be resumed.
        """
        while (said := await self._out.get()) is not None:
            yield said
        if self._failure is not None:
            raise self._failure

    # Everything below runs in the session's own task.

    async def _main(self) -> None:
        beat = asyncio.get_running_loop().create_task(self._beat(), name=f"session {self._id} beat")
        try:
            await self._run()
        except Exception as failure:
            self._failure = failure
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
        self._intake.close()
        await self._out.put(None)

    async def _beat(self) -> None:
        try:
            await self._keeper.beat()
        except Conflict as moved:
            self._moved = moved
            self._stop.set()
            self._intake.interrupt()

    async def _run(self) -> None:
        await self._begin()
        try:
            while (item := await self._intake.get()) is not None:
                if isinstance(item, _End):
                    await self._follow(self._segmenter.finish())
                    await self._keep(None)
                    if item.fault is not None:
                        raise item.fault
                    return
                await self._hear(item)
        except Interrupted:
            logger.debug("a session was interrupted while the recogniser was busy", session=self._id)
        if self._moved is not None:
            raise self._moved
        await self._leave()

    async def _begin(self) -> None:
        started = Started(self._id, self._keeper.token, self._resumed is not None, self._audio_start)
        if self._resumed is None:
            await self._say(started)
        else:
            # It has the number of the last event that the client has, and what follows again has its own: so a
            # client that breaks off once more, at any point, knows what it has.
            await self._out.put(replace(self._made(started), sequence=self._resumed.last_sequence))
            for said in self._resumed.finals:
                if said.sequence > self._resumed.last_sequence:
                    await self._out.put(said)
        await self._say(Configured(self._config, self._audio_start))
        missing = self._audio_start - self._mark.start
        if missing > 0:
            await self._skip(missing)

    async def _skip(self, missing: int) -> None:
        """The client does not have the beginning of the segment any more: what was committed of it stays."""
        mark, draft = self._mark, self._draft
        words = draft.commit.committed
        if words:
            await self._final(words, mark.start, words[-1].end, draft.next())
        else:
            self._draft = Draft(draft.number, revision=draft.revision)
        spoken = max(mark.voiced_end, mark.start if mark.speaking else 0)
        self._mark = Mark(self._audio_start, utterance=mark.utterance, voiced_end=spoken)
        self._segmenter = Segmenter(self._config.parameters, self._recogniser.window, self._mark)
        await self._say(AudioDropped(mark.start, missing, DropReason.NOT_RESENT))

    async def _hear(self, item: Frame | AudioDropped | _Change) -> None:
        if isinstance(item, _Change):
            await self._change(item)
        elif isinstance(item, AudioDropped):
            if item.start >= self._mark.start:
                await self._say(item)
        elif item.position + len(item.samples) > self._mark.start:
            self._tape.add(item.position, item.samples)
            await self._follow(self._segmenter.feed(item))
            needed = self._segmenter.mark.start
            self._tape.forget(needed)
            if needed - self._keeper.saved_from >= SAVED_EVERY:
                await self._keep(None)

    async def _change(self, change: _Change) -> None:
        before, now = self._config.options.language, change.config.options.language
        if before != now or change.recogniser is not self._recogniser:
            await self._follow(self._segmenter.split())
        if change.recogniser is not self._recogniser:
            self._recogniser, self._device = change.recogniser, _device(change.recogniser)
        self._config = change.config
        self._segmenter.parameters = change.config.parameters
        self._segmenter.window = change.recogniser.window
        self._intake.limit = self._room()
        if self._recogniser is self._latest:
            await self._release(1)
        await self._say(Configured(self._config, self._segmenter.position))

    async def _follow(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case SpeechBegan(position):
                    await self._say(SpeechStarted(position))
                case PassDue():
                    await self._pass(decision)
                case Full(start):
                    await self._cut(start)
                case SegmentEnded(start, end, speech_end):
                    words = self._draft.commit.words
                    await self._final(words, start, speech_end, self._draft.next(), heard=end)
                case UtteranceEnded(position):
                    (first, last), self._utterance = self._utterance, (0, 0)
                    await self._say(EndOfUtterance(position, first, last))

    async def _pass(self, due: PassDue) -> None:
        audio = self._tape.between(due.start, due.end)
        options, parameters = self._config.options, self._config.parameters
        hearing = Hearing(options.language or self._draft.sure_language, options.task, options.hints)
        if due.kind is Kind.INTERVAL:
            late = self._intake.live and self._intake.ahead >= samples(parameters.interval_s)
            heard = (
                None
                if late
                else await self._passes.interim(
                    self._recogniser, audio, hearing, within_s=parameters.interval_s
                )
            )
            await self._degrade(self._degradations.change(lacks.INTERVAL_STRETCHED, heard is None))
        else:
            heard = await self._passes.final(self._recogniser, audio, hearing)
            self._failing = heard is None
        if heard is None:
            return
        self._failing = False
        self._device = heard.device
        names = (
            name for name in heard.degradations if options.word_times or name != lacks.WORD_TIMES_ESTIMATED
        )
        await self._degrade(self._degradations.heard(names))
        self._draft.hear(heard.hypothesis, due.start, self._segmenter.voiced)
        if due.kind is not Kind.LAST and not self._config.final_only:
            interim = self._draft.interim(due.start, due.end)
            if interim is not None:
                await self._say(interim)

    async def _cut(self, start: int) -> None:
        """Ends a segment that is as long as may be, where its last sure word ends."""
        commit = self._draft.commit
        words, tail = commit.committed, commit.tail
        if words and words[-1].end - start >= LEAST_CUT:
            end = self._segmenter.cut(words[-1].end)
        else:
            end = self._segmenter.cut(self._segmenter.quietest)
            words, tail = commit.split(end)
        await self._final(words, start, end, self._draft.next(tail, words), heard=end)

    async def _final(
        self, words: tuple[Word, ...], start: int, end: int, following: Draft, *, heard: int = 0
    ) -> None:
        """Says the last word on the segment.

        Args:
            words: all of it.
            start: where it begins.
            end: where its speech ends.
            following: the segment after it.
            heard: where its audio ends.
        """
        tagged = await self._tagged(words, start, heard)
        segment = self._draft.final(tagged, start, max(end, words[-1].end if words else end))
        if segment is not None:
            following.number = segment.number + 1
            self._utterance = (self._utterance[0] or segment.number, segment.number)
        self._draft = following
        if segment is not None:
            await self._say(SegmentFinal(segment))
        if self._failing:
            self._failing = False
            lost = words[-1].end if words else start
            await self._say(AudioDropped(lost, max(0, heard - lost), DropReason.RECOGNISER_FAILED))

    async def _tagged(self, words: tuple[Word, ...], start: int, end: int) -> tuple[Word, ...]:
        if self._diarizer is None or not words or end <= start:
            return words
        try:
            tagged = await self._diarizer.tag(self._tape.between(start, end), start, words)
        except Exception:
            logger.warning("speakers were not told apart", session=self._id, exc_info=True)
            await self._degrade(self._degradations.change(lacks.SPEAKERS_UNAVAILABLE, True))
            return words
        await self._degrade(self._degradations.change(lacks.SPEAKERS_UNAVAILABLE, False))
        return tagged

    async def _leave(self) -> None:
        """Says goodbye. A session that cannot be resumed is heard to its end first."""
        if not self._keeper.resumable:
            try:
                for item in self._intake.rest():
                    if not isinstance(item, _End):
                        await self._hear(item)
                await self._follow(self._segmenter.finish())
            except Interrupted:
                logger.warning("a session ended before the recogniser had room", session=self._id)
        await self._say(Draining(self._keeper.token, self._segmenter.mark.start))

    async def _degrade(self, changes: Iterable[Degraded]) -> None:
        for change in changes:
            await self._say(change)

    async def _say(self, event: Event) -> None:
        """Says it, once it is kept: what a client was told is never lost."""
        self._sequence += 1
        said = self._made(event)
        await self._keep(said)
        await self._out.put(said)
        changes = self._degradations.change(lacks.RESUME_UNAVAILABLE, not self._keeper.resumable)
        await self._degrade(changes)

    async def _keep(self, said: Said | None) -> None:
        draft = self._draft
        snapshot = Snapshot(
            session_id=self._id,
            config=self._config,
            sequence=self._sequence,
            mark=self._segmenter.mark,
            number=draft.number,
            revision=draft.revision,
            committed=draft.commit.committed,
            carried=draft.carried,
            before=draft.before,
            language=draft.language,
            utterance=self._utterance,
            speakers=b"" if self._diarizer is None else self._diarizer.state(),
        )
        await self._keeper.save(snapshot, said if said is not None and _is_final(said.event) else None)

    def _made(self, event: Event) -> Said:
        recogniser = self._recogniser
        return Said(
            sequence=self._sequence,
            event=event,
            heard=min(self._segmenter.position, self._ear.heard),
            needed_from=self._segmenter.mark.start,
            model_version=recogniser.name,
            digest=recogniser.digest,
            engine=recogniser.engine,
            device=self._device,
            degradations=self._degradations.active,
        )

    async def _take(self, item: Frame | AudioDropped) -> None:
        await self._intake.put(item, 0 if isinstance(item, AudioDropped) else len(item.samples))

    def _room(self) -> int:
        return AHEAD * min(samples(self._config.parameters.buffer_s), self._recogniser.window)

    def _new_diarizer(self, state: bytes) -> Diarizer | None:
        most = self._config.options.max_speakers
        if not most:
            return None
        try:
            return self._parts.diarize(most, state)
        except ValueError:
            logger.warning("speakers are numbered anew: their state was made elsewhere", session=self._id)
            return self._parts.diarize(most, b"")

    async def _release(self, keep: int) -> None:
        """Ends all leases but the last `keep`."""
        while len(self._leases) > keep:
            await self._leases.pop(0).aclose()


def _device(recogniser: Recogniser) -> str:
    """Where its next answer most likely comes from."""
    return next((device.name for device in recogniser.devices if device.active), "")


def _is_final(event: Event) -> bool:
    """True for what is said again to a client that did not get it."""
    match event:
        case SegmentFinal() | EndOfUtterance():
            return True
        case AudioDropped(reason=reason):
            # The others are found again in the audio that is sent again.
            return reason in (DropReason.RECOGNISER_FAILED, DropReason.NOT_RESENT)
        case _:
            return False
