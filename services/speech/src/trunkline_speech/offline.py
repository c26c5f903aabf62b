"""One recording at once."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, TypeAlias

import numpy as np
import structlog

from trunkline_hop.errors import Overloaded
from trunkline_hop.telemetry import span
from trunkline_speech.config import AudioFormat, Options
from trunkline_speech.degradations import SPEAKERS_UNAVAILABLE, WORD_TIMES_ESTIMATED
from trunkline_speech.ear import Frame, Recording
from trunkline_speech.loops import believable
from trunkline_speech.parts import Choose
from trunkline_speech.pieces import Piece, pieces
from trunkline_speech.recogniser import Heard, Hearing, Recogniser, Samples
from trunkline_speech.speakers import most_of
from trunkline_speech.transcript import Segment, Word, text_of
from trunkline_speech.vad import FRAME, Vad

AUDIO_DROPPED: Final = "audio_dropped"
"""Degradation: part of the recording could not be decoded."""
_PAUSE_S: Final = 0.1
_RETRY_AFTER: Final = timedelta(seconds=0.5)
_STEP: Final = 64
"""Frames between two looks at whether anybody still waits for the answer."""

Decode: TypeAlias = Callable[[bytes, AudioFormat, float], Recording]
"""A recording, of at most so many seconds. Blocks. Raises BadRequest."""

Tag: TypeAlias = Callable[[Samples, Sequence[Word], int], Awaitable[tuple[Word, ...]]]
"""The words of a recording, each with one of at most so many speakers."""

logger = structlog.get_logger("trunkline_speech")


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was said in a recording, and what made it."""

    segments: tuple[Segment, ...]
    language: str
    """Of most of the speech; empty where nobody speaks."""
    samples: int
    """How long the recording is."""
    model_version: str
    digest: str
    engine: str
    device: str
    degradations: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(segment.text for segment in self.segments)


class Offline:
    """Recognises recordings.

    Args:
        decode: makes samples of bytes.
        detect: makes detectors of speech.
        choose: chooses recognisers.
        tag: tells speakers apart.
        limit_s: longest recording.
        at_once: most recordings in hand. More are refused before any work is done on them: they would be listened to
            only to find that the recogniser has no room, at the cost of those that it has room for.
    """

    def __init__(
        self,
        *,
        decode: Decode,
        detect: Callable[[], Vad],
        choose: Choose,
        tag: Tag,
        limit_s: float,
        at_once: int,
    ) -> None:
        self._decode = decode
        self._detect = detect
        self._choose = choose
        self._tag = tag
        self._limit_s = limit_s
        self._at_once = at_once
        self._in_hand = 0

    async def recognise(
        self, data: bytes, audio: AudioFormat, options: Options, *, within_s: float | None = None
    ) -> Recognised:
        """What is said in a recording. Cancelling it stops the work.

        Args:
            data: the recording.
            audio: its format.
            options: how to hear it.
            within_s: when the answer is due.

        Raises:
            BadRequest: this is no audio, it is too long, or nobody hears with these options.
            Overloaded: SHED, too many recordings are in hand; or as the recogniser.
            TooLate, Unavailable: as the recogniser.
        """
        if self._in_hand >= self._at_once:
            raise Overloaded(
                "SHED", f"{self._in_hand} recordings are being heard already", retry_after=_RETRY_AFTER
            )
        self._in_hand += 1
        try:
            return await self._recognised(data, audio, options, within_s)
        finally:
            self._in_hand -= 1

    async def _recognised(
        self, data: bytes, audio: AudioFormat, options: Options, within_s: float | None
    ) -> Recognised:
        now = asyncio.get_running_loop().time()
        due = math.inf if within_s is None else now + within_s
        async with self._choose(options) as recogniser:
            stopped = threading.Event()
            try:
                with span("decode"):
                    recording, found = await asyncio.to_thread(
                        self._listened, data, audio, recogniser.window, stopped
                    )
            finally:
                stopped.set()
            heard = await _heard(recogniser, recording.samples, found, options, due)
        names = dict.fromkeys(name for each in heard for name in each.degradations)
        if not options.word_times:
            names.pop(WORD_TIMES_ESTIMATED, None)
        if recording.dropped:
            names[AUDIO_DROPPED] = None
        segments = list(_segments(found, heard, len(recording.samples)))
        if options.max_speakers and segments:
            try:
                segments = await self._tagged(recording.samples, segments, options.max_speakers)
            except Exception:
                logger.warning("speakers were not told apart", exc_info=True)
                names[SPEAKERS_UNAVAILABLE] = None
        devices = [each.device for each in heard] or [each.name for each in recogniser.devices if each.active]
        return Recognised(
            segments=tuple(segments),
            language=_language(segments),
            samples=len(recording.samples),
            model_version=recogniser.name,
            digest=recogniser.digest,
            engine=recogniser.engine,
            device=devices[-1] if devices else "",
            degradations=tuple(names),
        )

    def _listened(
        self, data: bytes, audio: AudioFormat, window: int, stopped: threading.Event
    ) -> tuple[Recording, list[Piece]]:
        """The recording, and where somebody speaks in it. Runs in a thread."""
        recording = self._decode(data, audio, self._limit_s)
        return recording, list(pieces(self._frames(recording.samples, stopped), window))

    def _frames(self, samples: Samples, stopped: threading.Event) -> Iterator[Frame]:
        detector = self._detect()
        frames = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
        for first in range(0, len(frames), _STEP):
            if stopped.is_set():
                return
            some = frames[first : first + _STEP]
            for offset, (frame, probability) in enumerate(
                zip(some, detector.feed(some).tolist(), strict=True)
            ):
                yield Frame((first + offset) * FRAME, frame, probability)

    async def _tagged(self, samples: Samples, segments: list[Segment], most: int) -> list[Segment]:
        words = iter(await self._tag(samples, [word for each in segments for word in each.words], most))
        tagged = []
        for segment in segments:
            own = tuple(next(words) for _ in segment.words)
            tagged.append(replace(segment, words=own, speaker=most_of(own)))
        return tagged


async def _heard(
    recogniser: Recogniser, samples: Samples, found: Sequence[Piece], options: Options, due: float
) -> list[Heard]:
    """What is said in each piece. As many at once as the recogniser hears at once: the rest would only wait."""
    at_once = asyncio.Semaphore(max(1, sum(each.pipelines for each in recogniser.devices if each.active)))
    hearing = Hearing(options.language, options.task, options.hints, due)
    begun = False

    async def hear(piece: Piece) -> Heard:
        nonlocal begun
        async with at_once:
            while True:
                try:
                    heard = await recogniser.hear(samples[piece.start : piece.end], hearing)
                except Overloaded as full:
                    if not begun:
                        # Nothing is done yet that would be done again.
                        raise
                    wait = full.retry_after.total_seconds() if full.retry_after else _PAUSE_S
                    await asyncio.sleep(min(wait, 1.0))
                else:
                    begun = True
                    return heard

    try:
        async with asyncio.TaskGroup() as tasks:
            heard = [tasks.create_task(hear(piece)) for piece in found]
    except ExceptionGroup as group:
        # The others only followed from the first.
        raise group.exceptions[0] from None
    return [task.result() for task in heard]


def _segments(found: Sequence[Piece], heard: Sequence[Heard], length: int) -> Iterator[Segment]:
    number = 0
    for piece, answer in zip(found, heard, strict=True):
        hypothesis = answer.hypothesis
        words = believable(
            [word.moved(piece.start) for word in hypothesis.words],
            voiced=piece.voiced,
            timed=hypothesis.timed,
        )
        if text_of(words):
            number += 1
            # The last frame may be filled up with silence.
            end = min(max(piece.speech_end, words[-1].end), length)
            yield Segment(number, 1, words, hypothesis.language, piece.start, end)


def _language(segments: Sequence[Segment]) -> str:
    spoken: dict[str, int] = defaultdict(int)
    for segment in segments:
        spoken[segment.language] += segment.end - segment.start
    return max(spoken, key=lambda language: spoken[language], default="")
