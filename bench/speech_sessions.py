"""Live sessions as a client has them, and how long after the speech its text came."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.speech_material import RATE_HZ, Track, Utterance
from trunkline.speech.v1 import speech_pb2 as pb
from trunkline.speech.v1.speech_pb2_grpc import SpeechServiceStub
from trunkline_hop import logs
from trunkline_hop.channel import connect
from trunkline_hop.errors import Fault, Overloaded

CHUNK_S = 0.04
"""Of audio in a message, as telephony and browsers send it."""
FIRST_S, FINAL_S = (1.2, 2.0), (0.7, 1.2)
"""Required p50 and p95 of the first partial after speech starts, and of the final after it ends."""
PATIENCE_S, AGAIN_S = 60.0, 1.0
PCM = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RATE_HZ)


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event, and when it came: in seconds since the session's first sample was spoken."""

    event: pb.StreamingRecognizeResponse
    at_s: float


@dataclass
class Session:
    """What one session gave."""

    track: Track
    arrived: list[Arrived] = field(default_factory=list)
    late_s: float = 0.0
    """Most by which a chunk was sent after its time: the load's own fault, or the server holding it back."""
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Latencies:
    """In seconds, one of each utterance; infinite where it was never heard."""

    first_s: list[float]
    final_s: list[float]

    @classmethod
    def of(cls, sessions: Iterable[Session]) -> Latencies:
        found = cls([], [])
        for session in sessions:
            segments = _segments(session.arrived)
            for utterance in session.track.utterances:
                mine = [segment for segment in segments if segment.belongs(utterance, session.track)]
                start_s, end_s = utterance.words[0].start_s, utterance.words[-1].end_s
                found.first_s.append(min((s.first_s for s in mine), default=math.inf) - start_s)
                found.final_s.append(max((s.final_s for s in mine), default=math.inf) - end_s)
        return found

    @property
    def unheard(self) -> int:
        return sum(map(math.isinf, self.final_s))

    def quantiles(self) -> tuple[float, float, float, float]:
        """p50 and p95 of the first partial, then of the final."""
        return (
            quantile(self.first_s, 0.5),
            quantile(self.first_s, 0.95),
            quantile(self.final_s, 0.5),
            quantile(self.final_s, 0.95),
        )

    def keeps(self) -> bool:
        """Whether it is as fast as required."""
        return all(found <= most for found, most in zip(self.quantiles(), FIRST_S + FINAL_S, strict=True))


@dataclass
class _Segment:
    start_s: float
    end_s: float
    first_s: float
    final_s: float = math.inf

    def belongs(self, utterance: Utterance, track: Track) -> bool:
        """Whether it overlaps this utterance more than any other one."""
        return max(track.utterances, key=self._overlap) is utterance and self._overlap(utterance) > 0

    def _overlap(self, utterance: Utterance) -> float:
        words = utterance.words
        return min(self.end_s, words[-1].end_s) - max(self.start_s, words[0].start_s)


def _segments(arrived: Sequence[Arrived]) -> list[_Segment]:
    """Those with a final text."""
    found: dict[int, _Segment] = {}
    for each in arrived:
        kind = each.event.WhichOneof("event")
        if kind not in ("interim", "segment_final"):
            continue
        segment = getattr(each.event, kind).segment
        if not segment.text:
            continue
        start_s, end_s = seconds(segment.start_time), seconds(segment.end_time)
        mine = found.setdefault(segment.segment_id, _Segment(start_s, end_s, each.at_s))
        mine.start_s, mine.end_s = start_s, end_s
        if kind == "segment_final":
            mine.final_s = each.at_s
    return [segment for segment in found.values() if math.isfinite(segment.final_s)]


def quantile(values: Sequence[float], q: float) -> float:
    """The nearest-rank quantile; NaN of nothing."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)] if values else math.nan


def seconds(duration: Any) -> float:
    """Of a Duration."""
    return float(duration.seconds + duration.nanos / 1e9)


@asynccontextmanager
async def stub(target: str) -> AsyncIterator[Any]:
    """A SpeechServiceStub through hop's channel, when it can be called."""
    logs.configure("bench", "warning")
    async with connect("speech", target) as channel:
        await channel.channel_ready()
        yield SpeechServiceStub(channel)


def config(**options: Any) -> pb.StreamingRecognizeRequest:
    """The first message of a session that sends PCM."""
    return pb.StreamingRecognizeRequest(
        config=pb.StreamingConfig(options=pb.RecognitionOptions(**options), audio_format=PCM)
    )


async def live(service: Any, track: Track, first: pb.StreamingRecognizeRequest) -> Session:
    """Speaks a track in real time."""
    session = Session(track)
    data = (track.samples.clip(-1, 1) * 32767).astype("<i2").tobytes()
    size = round(CHUNK_S * RATE_HZ) * 2
    call = service.StreamingRecognize()
    began = 0.0

    async def speak() -> None:
        for place in range(0, len(data), size):
            chunk = data[place : place + size]
            due = began + (place + len(chunk)) / 2 / RATE_HZ
            await asyncio.sleep(due - time.perf_counter())
            await call.write(pb.StreamingRecognizeRequest(audio=chunk))
            session.late_s = max(session.late_s, time.perf_counter() - due)
        await call.done_writing()

    speaking: asyncio.Task[None] | None = None
    try:
        await call.write(first)
        async for event in call:
            now = time.perf_counter()
            if speaking is None:
                began, speaking = now, asyncio.create_task(speak())
            session.arrived.append(Arrived(event, now - began))
        if speaking is not None:
            await speaking
    except Fault as fault:
        session.fault = fault
    finally:
        if speaking is not None:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
    return session


async def live_together(
    service: Any, tracks: Sequence[Track], first: pb.StreamingRecognizeRequest
) -> list[Session]:
    """Several at once, a little apart, so that their pauses are not those of one."""

    async def later(number: int, track: Track) -> Session:
        await asyncio.sleep(number * 0.7)
        return await live(service, track, first)

    return list(await asyncio.gather(*(later(number, track) for number, track in enumerate(tracks))))


async def at_once(
    service: Any, audio: Callable[[], Iterable[bytes]], first: pb.StreamingRecognizeRequest
) -> AsyncIterator[pb.StreamingRecognizeResponse]:
    """The events of a session that is fed as fast as it takes audio.

    While the server says that it has too many, asks again, as long as a person would wait.
    """
    until = time.perf_counter() + PATIENCE_S
    while True:
        call = service.StreamingRecognize()
        feeding: asyncio.Task[None] | None = None
        try:
            await call.write(first)
            async for event in call:
                # A refusal comes before any audio is sent.
                feeding = feeding or asyncio.create_task(_feed(call, audio()))
                yield event
            return
        except Overloaded:
            if feeding is not None or time.perf_counter() > until:
                raise
        finally:
            if feeding is not None:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
        await asyncio.sleep(AGAIN_S)


async def _feed(call: Any, audio: Iterable[bytes]) -> None:
    for chunk in audio:
        await call.write(pb.StreamingRecognizeRequest(audio=chunk))
    await call.done_writing()


def chunks(audio: bytes, rounds: int = 1, size: int = 64_000) -> Callable[[], Iterable[bytes]]:
    """The audio in messages, so many times over."""
    cut = [audio[place : place + size] for place in range(0, len(audio), size)]
    return lambda: itertools.chain.from_iterable(itertools.repeat(cut, rounds))


def final_text(events: Iterable[pb.StreamingRecognizeResponse]) -> str:
    """What a session committed."""
    return " ".join(
        event.segment_final.segment.text for event in events if event.HasField("segment_final")
    ).strip()
