"""What a session makes of its audio: from frames, one after the other, to events.

One task runs it. It takes one frame and makes each decision, passes included, before it looks at the next: so the
text depends on the audio alone, not on when it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import structlog

from trunkline_hop.clock import Clock
from trunkline_hop.errors import BadRequest, Conflict
from trunkline_speech import degradations as lacks
from trunkline_speech.config import SessionConfig
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
from trunkline_speech.load import Loads
from trunkline_speech.parts import Choose, Diarize, Diarizer, Ear, Frame, Listen
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
    loads: Loads
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
class Change:
    """The session was told something else."""

    config: SessionConfig
    recogniser: Recogniser
    over: AsyncExitStack | None = None
    """The lease of the recogniser before it, when there is another one."""


@dataclass(frozen=True, slots=True)
class End:
    """No more audio comes."""

    fault: BadRequest | None = None
    """Why, when the client did not say so."""


Item: TypeAlias = Frame | AudioDropped | Change | End


class Conversation:
    """Says what is said in the audio of one session.

    Args:
        parts: what it is put together from.
        snapshot: where it begins.
        keeper: keeps where it is.
        recogniser: hears words.
        resumed: how it goes on; None when it is new.
    """

    def __init__(
        self,
        parts: Parts,
        snapshot: Snapshot,
        keeper: Keeper,
        recogniser: Recogniser,
        resumed: Resumed | None,
    ) -> None:
        self._parts = parts
        self._keeper = keeper
        self._resumed = resumed
        self._id = snapshot.session_id
        self._config = snapshot.config
        self._recogniser = recogniser
        self._device = _device(recogniser)
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
        self._stop = asyncio.Event()
        self._degradations = Degradations()
        self._diarizer = self._new_diarizer(snapshot.speakers)
        self._failing = False
        self._moved: Conflict | None = None
        self.ear: Ear = parts.listen(self._config.audio, self._config.detector, self._audio_start)
        """Makes frames of what the client sends."""
        self.intake = Intake[Item](self._room(), parts.clock)
        """What is to be heard. Filled by the session."""
        self._passes = Passes(parts.clock, parts.loads, lambda: self.intake.live, self._stop)
        self.said = asyncio.Queue[Said | None](EVENTS_WAITING)
        """What is said."""

    def stop(self, moved: Conflict | None = None) -> None:
        """Ends it soon, with a `Draining` event or because it moved."""
        self._moved = moved or self._moved
        self._stop.set()
        self.intake.interrupt()

    async def run(self) -> None:
        """Says everything, in `said`.

        Raises:
            BadRequest: the client's bytes are no audio; what was before them is said.
            Conflict: SESSION_MOVED, somebody resumed it elsewhere.
            Overloaded, TooLate, Unavailable: the recogniser cannot go on; the session can be resumed.
        """
        await self._begin()
        try:
            while (item := await self.intake.get()) is not None:
                if isinstance(item, End):
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
            await self._tell(started)
        else:
            # It has the number of the last event that the client has, and what follows again has its own: so a
            # client that breaks off once more, at any point, knows what it has.
            await self.said.put(replace(self._made(started), sequence=self._resumed.last_sequence))
            for said in self._resumed.finals:
                if said.sequence > self._resumed.last_sequence:
                    await self.said.put(said)
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

    async def _hear(self, item: Frame | AudioDropped | Change) -> None:
        if isinstance(item, Change):
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

    async def _change(self, change: Change) -> None:
        before, now = self._config.options.language, change.config.options.language
        if before != now or change.recogniser is not self._recogniser:
            await self._follow(self._segmenter.split())
        if change.recogniser is not self._recogniser:
            self._recogniser, self._device = change.recogniser, _device(change.recogniser)
        self._config = change.config
        self._segmenter.parameters = change.config.parameters
        self._segmenter.window = change.recogniser.window
        self.intake.limit = self._room()
        if change.over is not None:
            await change.over.aclose()
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
            late = self.intake.live and self.intake.ahead >= samples(parameters.interval_s)
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
                for item in self.intake.rest():
                    if not isinstance(item, End):
                        await self._hear(item)
                await self._follow(self._segmenter.finish())
            except Interrupted:
                logger.warning("a session ended before the recogniser had room", session=self._id)
        await self._say(Draining(self._keeper.token, self._segmenter.mark.start))

    async def _degrade(self, changes: Iterable[Degraded]) -> None:
        for change in changes:
            await self._say(change)

    async def _say(self, event: Event) -> None:
        """Says it, and whether the session can still be resumed, if that has changed."""
        await self._tell(event)
        changes = self._degradations.change(lacks.RESUME_UNAVAILABLE, not self._keeper.resumable)
        await self._degrade(changes)

    async def _tell(self, event: Event) -> None:
        """Says it once it is kept: what a client was told is never lost."""
        self._sequence += 1
        said = self._made(event)
        await self._keep(said)
        await self.said.put(said)

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
            heard=min(self._segmenter.position, self.ear.heard),
            needed_from=self._segmenter.mark.start,
            model_version=recogniser.name,
            digest=recogniser.digest,
            engine=recogniser.engine,
            device=self._device,
            degradations=self._degradations.active,
        )

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
