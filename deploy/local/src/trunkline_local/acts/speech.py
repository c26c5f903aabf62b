"""Speech through the gateway: text that grows while somebody speaks, and a session that outlives its server.

The recordings are those that ship with the recogniser's recipe: sentences that it was not trained on, in voices it
never heard, with a manifest of what is said and when.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import grpc.aio
import jiwer
from rich.markup import escape

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline.speech.v1.speech_pb2_grpc import SpeechServiceStub
from trunkline_hop.errors import Fault
from trunkline_local.acts.hearing import play
from trunkline_local.demo import ActFailed, Stage
from trunkline_local.door import fault_of, open_channel
from trunkline_local.state import ProcessState
from trunkline_local.transcribe_audio import LIVE_PIECE_S
from trunkline_local.transcribe_session import SessionLost, seconds
from trunkline_phrases import Language, spoken
from trunkline_whisper_micro.samples import Sample, load

SERVICE = "speech"
LIVE: tuple[Language, ...] = ("en", "es")
"""Languages of the live sessions, which go on at once."""
CONVERSATION: Language = "en"
SPEED = 4.0
"""The conversation is played so many times as fast as it was spoken."""
KILLED_IN = 3
"""Segment in the middle of which the server is killed."""
LONGEST_FINAL_S = 5.0
"""After the end of speech. A quiet machine takes a tenth of it."""
MOST_WRONG = 0.2
"""Word error rate over everything."""
TIMEOUT_S = 10.0
SESSION_TIMEOUT_S = 60.0


class SpeechAct:
    """The act."""

    title = "speech: text while somebody speaks, and a session that outlives its server"
    order = 30

    async def play(self, stage: Stage) -> None:
        """Recognises, listens live, kills.

        Raises:
            ActFailed: too many words are wrong, text came too late, words were lost or said twice.
        """
        state = stage.data.read()
        if state is not None and all(process.name != SERVICE for process in state.processes):
            for sentence in state.left_out:
                stage.console.print(escape(sentence), style="yellow")
            return
        async with open_channel(stage.gateway) as channel:
            await _Play(stage, channel).run()


@dataclass(slots=True)
class _Transcript:
    """What a session was told, and when."""

    sample: Sample
    finals: list[pb.Segment] = field(default_factory=list)
    partials: list[float] = field(default_factory=list)
    """When text came that was not final, by the clock of the loop."""
    final_at: float = 0.0
    dropped_s: float = 0.0
    resumed: int = 0

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.finals)


class _Play:
    def __init__(self, stage: Stage, channel: grpc.aio.Channel) -> None:
        self._stage = stage
        self._print = stage.console.print
        self._stub = SpeechServiceStub(channel)
        self._loop = asyncio.get_running_loop()
        self._said: list[str] = []
        self._heard: list[str] = []
        samples = load()
        self._sentences = [sample for sample in samples if len(sample.sentences) == 1]
        self._conversation = next(
            sample for sample in samples if len(sample.sentences) > 1 and sample.language == CONVERSATION
        )

    async def run(self) -> None:
        live = [next(each for each in self._sentences if each.language == name) for name in LIVE]
        try:
            await self._at_once([each for each in self._sentences if each not in live])
            await self._live(live)
            await self._outlive()
        except grpc.aio.AioRpcError as error:
            raise ActFailed(str(fault_of(error))) from error
        except (Fault, SessionLost, TimeoutError) as failed:
            raise ActFailed(f"a session failed: {failed!r}") from failed
        wrong = jiwer.wer(self._said, self._heard)
        words = sum(len(text.split()) for text in self._said)
        self._print(f"of {words} words that were said, {wrong:.1%} were not heard as they were")
        if wrong > MOST_WRONG:
            raise ActFailed(f"a word error rate of {wrong:.1%} is more than {MOST_WRONG:.0%}")

    async def _at_once(self, samples: Sequence[Sample]) -> None:
        """Recordings, each in one message as it is."""
        began = time.monotonic()
        wrong, made_by = [], ""
        for sample in samples:
            request = pb.RecognizeRequest(
                options=pb.RecognitionOptions(language_code=sample.language), audio=sample.path.read_bytes()
            )
            answer: pb.RecognizeResponse = await self._stub.Recognize(request, timeout=TIMEOUT_S)
            if not self._note(sample, answer.text):
                wrong.append((sample.text, answer.text))
            made_by = f"{answer.provenance.model_version} on {answer.provenance.device}"
        took_s = time.monotonic() - began
        audio_s = sum(sample.duration_s for sample in samples)
        self._print(
            f"{len(samples)} recordings, {audio_s:.0f} s of speech, recognised in {took_s:.1f} s by {made_by}: "
            f"{len(samples) - len(wrong)} word for word"
        )
        for text, heard in wrong:
            self._print(f"  [dim]{escape(text)}[/] → {escape(heard) or '[dim]nothing[/]'}")

    async def _live(self, samples: Sequence[Sample]) -> None:
        """Two who speak at once, each in a session whose language nobody told."""
        self._print("live, two at once; what may still change is dim:")
        began = self._loop.time()
        transcripts = await asyncio.gather(*(self._session(sample, 1.0, began) for sample in samples))
        for transcript in transcripts:
            sample = transcript.sample
            self._note(sample, transcript.text)
            ended = began + sample.sentences[-1].words[-1].end_s
            early = sum(at < ended for at in transcript.partials)
            if not early:
                raise ActFailed(f"{sample.file}: nothing was shown while it was spoken")
            late_s = transcript.final_at - ended
            self._print(
                f"  {sample.language}: {early} partial results while it was spoken; final {late_s:.2f} s after the "
                f"last word"
            )
            if late_s > LONGEST_FINAL_S:
                raise ActFailed(f"{sample.file}: final {late_s:.2f} s after the last word")

    async def _outlive(self) -> None:
        """A conversation in the middle of which the server is killed."""
        sample = self._conversation
        self._print(f"a conversation of {sample.duration_s:.0f} s, played {SPEED:g} times as fast:")
        transcript = await self._session(sample, SPEED, self._loop.time(), kill=True)
        self._note(sample, transcript.text)
        if not transcript.resumed:
            raise ActFailed("the session was not resumed")
        if transcript.dropped_s:
            raise ActFailed(f"{transcript.dropped_s:.2f} s of audio were not heard")
        check_whole(sample, transcript.finals)
        self._print(f"all {len(sample.sentences)} sentences are there, none twice")

    async def _session(self, sample: Sample, speed: float, began: float, kill: bool = False) -> _Transcript:
        transcript = _Transcript(sample)
        killed: list[tuple[ProcessState, float]] = []

        def heard(event: pb.StreamingRecognizeResponse) -> None:
            at = f"{self._loop.time() - began:5.1f} s  {sample.language}"
            match event.WhichOneof("event"):
                case "started" if event.started.resumed:
                    transcript.resumed += 1
                    before, when = killed[-1]
                    self._print(
                        f"taken up again by pid {self._stage.process(before.name).pid} from "
                        f"{seconds(event.started.audio_start):.1f} s of the audio on, "
                        f"{time.monotonic() - when:.1f} s after the kill"
                    )
                case "interim":
                    text, stable = event.interim.segment.text, event.interim.stable_length
                    if text:
                        transcript.partials.append(self._loop.time())
                    if text and not kill:
                        self._print(f"{at}  {escape(text[:stable])}[dim]{escape(text[stable:])}[/]")
                    if text and kill and not killed and event.interim.segment.segment_id == KILLED_IN:
                        killed.append((self._stage.kill(SERVICE), time.monotonic()))
                        self._print(f"{at}  {escape(text[:stable])}[dim]{escape(text[stable:])}[/]")
                        self._print(f"kill -9 {killed[0][0].pid} ({SERVICE}) in the middle of a sentence")
                case "segment_final":
                    segment = event.segment_final.segment
                    transcript.finals.append(segment)
                    transcript.final_at = self._loop.time()
                    self._print(f"{at}  [bold]{escape(segment.text)}[/]")
                case "audio_dropped":
                    transcript.dropped_s += seconds(event.audio_dropped.duration)

        async with asyncio.timeout(SESSION_TIMEOUT_S):
            await play(self._stub, sample, heard, speed, sample.language if kill else "")
        return transcript

    def _note(self, sample: Sample, heard: str) -> bool:
        """Counts what was heard; whether it is word for word what was said."""
        self._said.append(spoken(sample.text, sample.language))
        self._heard.append(spoken(heard, sample.language))
        return self._said[-1] == self._heard[-1]


def check_whole(sample: Sample, segments: Sequence[pb.Segment]) -> None:
    """Passes when no sentence is lost and none is said twice.

    Raises:
        ActFailed: one is.
    """
    numbers = [segment.segment_id for segment in segments]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ActFailed(f"segments must come one after the other, each once, not {numbers}")
    heard = [(seconds(segment.start_time), seconds(segment.end_time)) for segment in segments]
    for (_, end_s), (start_s, _) in pairwise(heard):
        if start_s < end_s - LIVE_PIECE_S:
            raise ActFailed(f"audio from {start_s:.2f} to {end_s:.2f} s was heard twice")
    for sentence in sample.sentences:
        first_s, last_s = sentence.words[0].start_s, sentence.words[-1].end_s
        if not any(start_s < last_s and end_s > first_s for start_s, end_s in heard):
            raise ActFailed(f"lost: {sentence.text!r}, said at {first_s:.1f} s")
