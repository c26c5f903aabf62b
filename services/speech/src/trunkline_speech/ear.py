"""Bytes of audio to frames of 32 ms at 16 kHz, each with the probability that somebody speaks in it.

    decode -> resample -> frames of 512 samples -> voice activity

Positions count samples at 16 kHz. What comes out, and in which order, depends on the bytes alone: not on how they
were cut into messages, nor on when they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, TypeAlias

import numpy as np

from trunkline_hop.errors import BadRequest, FieldViolation
from trunkline_speech import containers, vad
from trunkline_speech.config import AudioFormat, Detector, Encoding
from trunkline_speech.decode import Block, undecodable
from trunkline_speech.events import AudioDropped, DropReason
from trunkline_speech.gaps import Gaps
from trunkline_speech.recogniser import Samples
from trunkline_speech.resample import Resampler
from trunkline_speech.transcript import RATE_HZ
from trunkline_speech.vad import FRAME

STEP: Final = 64
"""Frames made in one visit to a thread: 2 s of audio, some 40 ms of work."""
CUT_OFF_S: Final = 0.1
"""A recording this much shorter than its header says is cut off; encoders round by less."""


@dataclass(frozen=True, slots=True)
class Frame:
    """32 ms of audio."""

    position: int
    """Of its first sample, on the session's clock."""
    samples: Samples
    """[512]. The last of a stream is filled up with silence: `Ear.heard` says where the audio ends."""
    probability: float
    """That somebody speaks in it."""


Heard: TypeAlias = Frame | AudioDropped
"""A drop is told of a tenth of a second after it, in its place in the order; the frames there hold silence."""


class Ear:
    """The intake of one session. One call of `hear` or `finish` at a time.

    Both are iterators and must be exhausted: a small message may hold hours of audio, so only a little of it is
    decoded ahead of the reader. Breaking off or cancelling loses nothing, the next call goes on there. `close` must
    be called in the end, whatever happened.

    Args:
        audio: what the bytes are.
        detector: tells speech from the rest.
        start: position of the first sample.
        executor: where the work is done; the loop's own threads by default.

    Raises:
        BadRequest: FIELD_INVALID, the format is impossible.
    """

    def __init__(
        self,
        audio: AudioFormat,
        detector: Detector = Detector.SILERO,
        *,
        start: int = 0,
        executor: Executor | None = None,
    ) -> None:
        self._decoder = containers.decoder(audio)
        self._timeline = Timeline(start)
        self._vad = vad.detector(detector)
        self._executor = executor
        self._rest = np.zeros(0, np.float32)
        self._position = start
        self._heard = start
        self._work: deque[Iterator[Heard]] = deque()
        self._ready: deque[Heard] = deque()
        self._step: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._closed = False

    @property
    def heard(self) -> int:
        """Position after the last sample handed out."""
        return self._heard

    async def hear(self, data: bytes) -> AsyncIterator[Heard]:
        """What the next bytes complete.

        Raises:
            BadRequest: AUDIO_FORMAT_UNKNOWN or AUDIO_UNDECODABLE; what came before it was handed out, nothing will
                be after it.
        """
        self._work.append(self._framed(self._decoder.feed(data)))
        async for heard in self._all():
            yield heard

    async def finish(self) -> AsyncIterator[Heard]:
        """What is left once all bytes were heard.

        Raises:
            BadRequest: AUDIO_FORMAT_UNKNOWN or AUDIO_UNDECODABLE.
        """
        self._work.append(self._last())
        async for heard in self._all():
            yield heard

    async def close(self) -> None:
        """Frees everything, the decoder's thread included. May be called twice."""
        self._closed = True
        while self._step is not None:
            await self._settle(self._step)
        self._work.clear()
        self._ready.clear()
        self._decoder.close()

    async def _all(self) -> AsyncIterator[Heard]:
        while True:
            while self._ready:
                heard = self._ready.popleft()
                if isinstance(heard, Frame):
                    self._heard = min(heard.position + FRAME, self._timeline.position)
                yield heard
            if self._step is None:
                if self._error is not None:
                    raise self._error
                if not self._work or self._closed:
                    return
                self._step = asyncio.get_running_loop().run_in_executor(self._executor, self._advance)
            await self._settle(self._step)

    async def _settle(self, step: asyncio.Future[None]) -> None:
        """Waits for the thread; a caller that gives up leaves the step to whoever comes next."""
        await asyncio.wait([step])
        self._step = None
        step.result()

    def _advance(self) -> None:
        """Some of the work that waits. Runs in a thread, one at a time, and says what it made through `_ready`."""
        try:
            made = 0
            while self._work and made < STEP and not self._closed:
                for heard in islice(self._work[0], STEP - made):
                    self._ready.append(heard)
                    made += 1
                if made < STEP:
                    self._work.popleft()
        except Exception as error:
            # Raised to the reader, behind what was made before it.
            self._error = error

    def _framed(self, blocks: Iterator[Block]) -> Iterator[Heard]:
        for block in blocks:
            yield from self._listened(self._timeline.take(block))

    def _last(self) -> Iterator[Heard]:
        yield from self._framed(self._decoder.finish())
        yield from self._listened(self._timeline.finish())
        if len(self._rest):
            yield from self._listened(np.zeros(FRAME - len(self._rest), np.float32))
        yield from self._timeline.gaps.rest()

    def _listened(self, samples: Samples) -> Iterator[Heard]:
        self._rest = np.concatenate([self._rest, samples])
        whole = len(self._rest) - len(self._rest) % FRAME
        frames, self._rest = self._rest[:whole].reshape(-1, FRAME), self._rest[whole:]
        for start in range(0, len(frames), STEP):
            some = frames[start : start + STEP]
            for frame, probability in zip(some, self._vad.feed(some).tolist(), strict=True):
                yield from self._timeline.gaps.settled(self._position + FRAME)
                yield Frame(self._position, frame, probability)
                self._position += FRAME


class Timeline:
    """Blocks of any rate, end to end at 16 kHz, and where something is missing in them."""

    def __init__(self, start: int = 0) -> None:
        self.position = start
        """After the last sample that came out."""
        self.gaps = Gaps()
        self._base = start
        self._taken = 0
        self._rate_hz = 0
        self._resampler = Resampler(RATE_HZ)

    def take(self, block: Block) -> Samples:
        """What the block completes."""
        before = self._turn_to(block.rate_hz)
        for gap in block.gaps:
            # Outwards, so that one sample of a higher rate is not rounded to none, which would mean unknown.
            first = (self._taken + gap.start) * RATE_HZ
            start = self._base + first // block.rate_hz
            end = self._base - (-(first + gap.samples * RATE_HZ) // block.rate_hz)
            self.gaps.lost(start, end - start if gap.samples else 0, gap.reason)
        self._taken += len(block.samples)
        return self._out(np.concatenate([before, self._resampler.feed(block.samples)]))

    def finish(self) -> Samples:
        """What is left."""
        return self._out(self._resampler.finish())

    def _turn_to(self, rate_hz: int) -> Samples:
        """The rest at the old rate, if the new one is another."""
        if rate_hz == self._rate_hz:
            return np.zeros(0, np.float32)
        rest = self._resampler.finish()
        self._base, self._taken = self.position + len(rest), 0
        self._rate_hz, self._resampler = rate_hz, Resampler(rate_hz)
        return rest

    def _out(self, samples: Samples) -> Samples:
        self.position += len(samples)
        return samples


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, decoded."""

    samples: Samples
    dropped: tuple[AudioDropped, ...]
    """What could not be decoded in the middle of it, and is silence."""


def whole(data: bytes, audio: AudioFormat, limit_s: float) -> Recording:
    """A recording at once. Blocks for as long as it takes: some 5 ms for a second of Opus.

    Args:
        data: all of it.
        audio: what it is.
        limit_s: longest that is decoded. What is longer ends early, however few bytes it has.

    Raises:
        BadRequest: FIELD_INVALID (the format, or samples that are no numbers), AUDIO_FORMAT_UNKNOWN,
            AUDIO_UNDECODABLE (malformed, empty or cut off), AUDIO_TOO_LONG.
    """
    source = containers.decoder(audio)
    timeline = Timeline()
    pieces: list[Samples] = []
    try:
        for block in chain(source.feed(data), source.finish()):
            pieces.append(timeline.take(block))
            if timeline.position > limit_s * RATE_HZ:
                raise too_long(limit_s)
        pieces.append(timeline.finish())
        promised_s = source.promised_s
    finally:
        source.close()
    dropped = tuple(timeline.gaps.rest())
    if any(drop.reason is DropReason.NOT_FINITE for drop in dropped):
        raise BadRequest.field("audio", "must hold finite samples; these hold NaN or infinity")
    if audio.encoding is not Encoding.CONTAINER and dropped:
        raise undecodable("it ends inside a sample; send whole samples of every channel")
    if timeline.position == 0:
        raise undecodable("there are no samples in it; send a recording")
    heard_s = timeline.position / RATE_HZ
    if promised_s is not None and heard_s < promised_s - CUT_OFF_S:
        raise undecodable(f"it ends after {heard_s:.2f} of {promised_s:.2f} s; send the recording whole")
    return Recording(np.concatenate(pieces), dropped)


def too_long(limit_s: float) -> BadRequest:
    """There is more audio than one request may hold."""
    remedy = f"must be at most {limit_s:g} s; send longer ones by StreamingRecognize, or in parts"
    return BadRequest(
        f"audio: {remedy}",
        [FieldViolation("audio", remedy)],
        reason="AUDIO_TOO_LONG",
        metadata={"field": "audio", "limit_s": f"{limit_s:g}"},
    )
