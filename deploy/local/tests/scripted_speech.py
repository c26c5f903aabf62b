"""A speech service that knows what is said, and when: the contract without an ear.

It keeps what it heard by the session's clock, so that a test can see whether all of it came; it breaks streams
where it is told to, and keeps a session as the contract says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from google.protobuf.duration_pb2 import Duration

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_gateway.__main__ import build
from trunkline_gateway.settings import Settings
from trunkline_hop.errors import BadRequest, Fault, NotFound, Unavailable
from trunkline_hop.server import running
from trunkline_hop.settings import ServiceSettings

RATE_HZ = 16_000
MODEL = "models/scripted/versions/1"
TOKEN = "as secret as can be"
BEGINNING = 2 * RATE_HZ * 4 // 5
"""Bytes of LINEAR16 by which a recording is known."""
SILENCE = RATE_HZ // 2
"""Audio after a segment that makes it final."""


@dataclass(frozen=True)
class Said:
    """A segment of the script, its words spread evenly over its time."""

    text: str
    start_s: float
    end_s: float
    speaker: int = 0

    def words(self) -> list[tuple[str, int, int]]:
        texts = self.text.split()
        begin, length = self.start_s * RATE_HZ, (self.end_s - self.start_s) * RATE_HZ
        places = [round(begin + length * number / len(texts)) for number in range(len(texts) + 1)]
        return [(text, *times) for text, times in zip(texts, pairwise(places), strict=True)]


@dataclass
class Kept:
    """What a session store would."""

    config: pb.StreamingConfig
    script: Sequence[Said]
    token: str
    audio: bytearray = field(default_factory=bytearray)
    """What was heard, by the session's clock."""
    sequence: int = 0
    finals: list[pb.StreamingRecognizeResponse] = field(default_factory=list)
    needed_from: int = 0


class ScriptedSpeech:
    """trunkline.speech.v1.SpeechService."""

    descriptor = pb.DESCRIPTOR.services_by_name["SpeechService"]

    def __init__(self) -> None:
        self.target = ""
        self.script: Sequence[Said] = ()
        """What is said in everything that is not known."""
        self.known: dict[bytes, Sequence[Said]] = {}
        """What is said in a recording, by how it begins."""
        self.killed = asyncio.Event()
        """Set: every stream breaks at the next audio, and the event is cleared."""
        self.breaks: list[int] = []
        """Samples after which a stream breaks, each once."""
        self.drains: list[int] = []
        """Samples after which the server is about to go, each once."""
        self.loses: set[int] = set()
        """Finals that are kept, but never sent, because the stream breaks just then."""
        self.refuses: list[Fault] = []
        """What the next streams end with before they begin."""
        self.longest: float = float("inf")
        """Bytes of the longest recording that Recognize takes."""
        self.forgets = False
        """Nothing can be resumed."""
        self.recognised: list[pb.RecognizeRequest] = []
        self.configs: list[pb.StreamingConfig] = []
        self.resumed = 0
        self._kept: list[Kept] = []

    @property
    def audio(self) -> bytes:
        """What the last session heard."""
        return bytes(self._kept[-1].audio)

    async def Recognize(self, request, call):
        self.recognised.append(request)
        if request.options.language_code == "xx":
            raise BadRequest.field("options.language_code", "nobody speaks xx")
        if len(request.audio) > self.longest:
            raise BadRequest("too long for one message", reason="AUDIO_TOO_LONG")
        script = self.known.get(request.audio, self.script)
        segments = [
            _segment(number, said, request.options, len(said.words()), revision=1)
            for number, said in enumerate(script, 1)
        ]
        return pb.RecognizeResponse(
            segments=segments,
            text=" ".join(said.text for said in script),
            language_code="en",
            provenance=_provenance(),
        )

    async def ListModels(self, request, call):
        return pb.ListModelsResponse()

    async def StreamingRecognize(self, requests, call):
        first = await anext(requests)
        if self.refuses:
            raise self.refuses.pop(0)
        found = [kept for kept in self._kept if kept.token == first.resume.resume_token]
        if first.HasField("config"):
            self.configs.append(first.config)
            kept = Kept(first.config, self.script, f"{TOKEN} {len(self._kept)}")
            self._kept.append(kept)
        elif not found or self.forgets:
            raise NotFound("SESSION_UNKNOWN", "no such session", resource_type="session", resource_name="")
        else:
            self.resumed += 1
            kept = found[0]
        last = first.resume.last_sequence
        kept.sequence = max(kept.sequence, last)
        place = kept.needed_from
        yield self._event(
            kept,
            place,
            started=pb.SessionStarted(
                session_id="s1",
                resume_token=kept.token,
                resumed=first.HasField("resume"),
                audio_start=duration(place),
            ),
        )
        yield self._event(kept, place, configured=pb.Configured(options=kept.config.options))
        for final in kept.finals:
            if final.sequence > last:
                yield final
        shown: set[tuple[int, int]] = set()
        async for request in requests:
            kept.audio[2 * place :] = request.audio
            place += len(request.audio) // 2
            kept.script = self.known.get(bytes(kept.audio[:BEGINNING]), kept.script)
            for event in self._events(kept, place, shown):
                yield event
            if self.killed.is_set():
                self.killed.clear()
                raise Unavailable("UNREACHABLE", "the replica was killed")
            if any(place >= at for at in self.breaks):
                self.breaks = [at for at in self.breaks if place < at]
                raise Unavailable("UNREACHABLE", "the replica was killed")
            if any(place >= at for at in self.drains):
                self.drains = [at for at in self.drains if place < at]
                draining = pb.Draining(resume_token=kept.token, audio_start=duration(kept.needed_from))
                yield self._event(kept, place, draining=draining)
                return
        for event in self._events(kept, place, shown, ended=True):
            yield event

    def _events(
        self, kept: Kept, place: int, shown: set[tuple[int, int]], ended: bool = False
    ) -> Iterator[pb.StreamingRecognizeResponse]:
        """What is said of audio up to a place, but for what was said already."""
        while (number := len(kept.finals) + 1) <= len(kept.script):
            said = kept.script[number - 1]
            words = said.words()
            heard = sum(end <= place for _, _, end in words)
            if place > words[0][1] and (number, 0) not in shown:
                shown.add((number, 0))
                yield self._event(kept, place, speech_started=pb.SpeechStarted(time=duration(words[0][1])))
            if heard and (number, heard) not in shown and not kept.config.final_only:
                shown.add((number, heard))
                segment = _segment(number, said, kept.config.options, heard, revision=heard)
                stable = len(" ".join(text for text, _, _ in words[: heard - 1]))
                yield self._event(kept, place, interim=pb.Interim(segment=segment, stable_length=stable))
            if place < words[-1][2] + SILENCE and not ended:
                return
            segment = _segment(number, said, kept.config.options, len(words), revision=len(words) + 1)
            kept.needed_from = min(place, words[-1][2])
            final = self._event(kept, place, segment_final=pb.SegmentFinal(segment=segment))
            kept.finals.append(final)
            if number in self.loses:
                self.loses.discard(number)
                raise Unavailable("UNREACHABLE", "the replica was killed")
            yield final
            over = pb.EndOfUtterance(
                time=duration(words[-1][2]), first_segment_id=number, last_segment_id=number
            )
            yield self._event(kept, place, end_of_utterance=over)

    def _event(self, kept: Kept, place: int, **event) -> pb.StreamingRecognizeResponse:
        kept.sequence += 1
        return pb.StreamingRecognizeResponse(
            sequence=kept.sequence,
            provenance=_provenance(),
            audio_time=duration(place),
            audio_needed_from=duration(kept.needed_from),
            **event,
        )


@asynccontextmanager
async def serving() -> AsyncIterator[ScriptedSpeech]:
    """The service behind the real gateway, whose address is its `target`."""
    service = ScriptedSpeech()

    async def add(server, settings):
        server.add(service)

    async with AsyncExitStack() as stack:
        own = ServiceSettings(port=0, metrics_port=0, drain_grace_s=1.0)
        server = await stack.enter_async_context(running("speech", own, add))
        gateway = Settings(port=0, metrics_port=0, drain_grace_s=1.0, speech=server.target)
        service.target = (await stack.enter_async_context(running("gateway", gateway, build))).target
        yield service


def duration(samples: int) -> Duration:
    """Of samples at 16 kHz, exactly."""
    seconds, rest = divmod(samples, RATE_HZ)
    return Duration(seconds=seconds, nanos=rest * 1_000_000_000 // RATE_HZ)


def _segment(
    number: int, said: Said, options: pb.RecognitionOptions, heard: int, revision: int
) -> pb.Segment:
    words = said.words()[:heard]
    speaker = said.speaker if options.max_speakers else 0
    return pb.Segment(
        segment_id=number,
        revision=revision,
        text=" ".join(text for text, _, _ in words),
        words=[
            pb.Word(text=text, start_time=duration(start), end_time=duration(end), speaker_tag=speaker)
            for text, start, end in words
        ]
        if options.word_times
        else [],
        language_code=options.language_code or "en",
        start_time=duration(words[0][1]),
        end_time=duration(words[-1][2]),
        speaker_tag=speaker,
    )


def _provenance() -> pb.Provenance:
    return pb.Provenance(model_version=MODEL, engine="openvino", device="CPU")
