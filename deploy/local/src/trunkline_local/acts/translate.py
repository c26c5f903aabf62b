"""Translation through the gateway: speech to text to another language, while its engine is killed.

Two conversations that ship with the recogniser's recipe are heard, and what is heard is translated as it comes. The
better engine is a process of the demo's own, behind OpenAI's interface (`demo_engine`); the one behind it is the model
inside the service.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import grpc.aio
from rich.markup import escape

from trunkline.speech.v1 import speech_pb2 as sp
from trunkline.speech.v1.speech_pb2_grpc import SpeechServiceStub
from trunkline.translate.v1 import translate_pb2 as pb
from trunkline.translate.v1.translate_pb2_grpc import TranslateServiceStub
from trunkline_hop.errors import Fault
from trunkline_local.acts.hearing import play
from trunkline_local.catalog import bundles
from trunkline_local.demo import POLL_S, ActFailed, Stage
from trunkline_local.door import fault_of, open_channel
from trunkline_local.processes import Command, Process
from trunkline_local.services import environment
from trunkline_local.transcribe_session import SessionLost
from trunkline_phrases import Language
from trunkline_whisper_micro.samples import Sample, load

SERVICES = ("speech", "translate")
BETTER, BEHIND = "vllm", "openvino"
"""Engines: the one that is killed, and the one that goes on."""
PAUSE_MS = 60
"""Of the better engine, after every token: a kill has to come in the middle of a sentence."""
SPEED = 8.0
"""Conversations are played so many times as fast as they were spoken."""
KILLED_IN = 3
"""Sentence in the middle of which the engine is killed."""
UP_TIMEOUT_S = 30.0
"""The model is loaded, and the chain looks at its engines every few seconds."""
TIMEOUT_S = 10.0
CONVERSATION_TIMEOUT_S = 60.0


class Engine(Protocol):
    """The better engine, as an act needs it."""

    @property
    def pid(self) -> int | None: ...

    def start(self) -> None: ...

    async def kill(self) -> None: ...


class DemoEngine:
    """The demo's engine as a process: the model that ships, on the port that the suite was told.

    Raises:
        ActFailed: no model ships, or the suite knows no port.
    """

    def __init__(self, stage: Stage) -> None:
        models = [bundle.artifact for bundle in bundles() if bundle.task == "translate"]
        if not models or not stage.engine_port:
            raise ActFailed("there is no model, or no port, for a translation engine")
        argv = [sys.executable, "-m", "trunkline_local.demo_engine", "--model", str(models[0])]
        argv += ["--port", str(stage.engine_port), "--pause-ms", str(PAUSE_MS)]
        self._process = Process("engine", stage.data.log("engine"))
        self._command = Command(argv, environment({}))

    @property
    def pid(self) -> int | None:
        """While it runs."""
        return self._process.pid

    def start(self) -> None:
        """Begins to load the model."""
        self._process.start(self._command)

    async def kill(self) -> None:
        """kill -9."""
        await self._process.kill()


class TranslateAct:
    """The act.

    Args:
        engine: makes the better engine.
    """

    title = "translate: what somebody says in another language, and an engine killed"
    order = 40

    def __init__(self, engine: Callable[[Stage], Engine] = DemoEngine) -> None:
        self._engine = engine

    async def play(self, stage: Stage) -> None:
        """Translates two conversations, kills the engine in the middle of the second, and has it come back.

        Raises:
            ActFailed: a sentence was lost, doubled or translated by somebody else than the display says.
        """
        state = stage.data.read()
        if state is not None and not set(SERVICES) <= {process.name for process in state.processes}:
            for sentence in state.left_out:
                stage.console.print(escape(sentence), style="yellow")
            return
        engine = self._engine(stage)
        try:
            async with open_channel(stage.gateway) as channel:
                await _Play(stage, channel, engine).run()
        except grpc.aio.AioRpcError as error:
            raise ActFailed(str(fault_of(error))) from error
        except (Fault, SessionLost, TimeoutError) as failed:
            raise ActFailed(f"a conversation failed: {failed!r}") from failed
        finally:
            await engine.kill()


@dataclass(slots=True)
class _Conversation:
    """What was heard, and what came of it."""

    sample: Sample
    target: Language
    heard: list[sp.Segment] = field(default_factory=list)
    sentences: list[pb.Sentence] = field(default_factory=list)
    drafts: dict[tuple[int, int], str] = field(default_factory=dict)
    """Text so far by sentence and revision."""

    @property
    def text(self) -> str:
        """The translation."""
        return " ".join(sentence.text for sentence in self.sentences)


class _Play:
    def __init__(self, stage: Stage, channel: grpc.aio.Channel, engine: Engine) -> None:
        self._print = stage.console.print
        self._speech = SpeechServiceStub(channel)
        self._translate: Any = TranslateServiceStub(channel)
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._killed_at: float | None = None

    async def run(self) -> None:
        first, second = (_conversation(language) for language in ("es", "en"))
        self._engine.start()
        self._print(
            f"an engine of its own is started, pid {self._engine.pid}; until it is up, the model inside goes on:"
        )
        await self._converse(_Conversation(first, "en"))
        await self._up("is up")
        self._print(f"the same the other way round; it is killed in the middle of sentence {KILLED_IN}:")
        talk = _Conversation(second, "es")
        await self._converse(talk, kill=True)
        check_killed(talk.sentences)
        await self._up("was started again and is up")
        await self._back(talk)

    async def _converse(self, talk: _Conversation, kill: bool = False) -> None:
        """Hears a conversation and translates what is heard, both at once."""
        said: asyncio.Queue[pb.ConverseRequest | None] = asyncio.Queue()
        options = pb.TranslationOptions(target_language_code=talk.target)
        said.put_nowait(pb.ConverseRequest(config=pb.ConverseConfig(options=options)))
        self._began = self._loop.time()
        try:
            async with asyncio.timeout(CONVERSATION_TIMEOUT_S), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._translated(talk, said, kill))
                try:
                    await play(self._speech, talk.sample, partial(self._hear, talk, said), SPEED)
                finally:
                    said.put_nowait(None)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group  # the others only followed from it
        check_whole(talk.heard, talk.sentences, talk.drafts)
        detected = await self._translate.DetectLanguage(
            pb.DetectLanguageRequest(texts=[talk.text]), timeout=TIMEOUT_S
        )
        found = detected.detections[0].languages[0].language_code if detected.detections[0].languages else ""
        if found != talk.target:
            raise ActFailed(f"the translation into {talk.target} is taken for {found or 'no language'}")

    def _hear(
        self,
        talk: _Conversation,
        said: asyncio.Queue[pb.ConverseRequest | None],
        event: sp.StreamingRecognizeResponse,
    ) -> None:
        """A segment goes on as soon as it is final; where the speaker makes an end, a sentence ends too."""
        match event.WhichOneof("event"):
            case "segment_final":
                heard = event.segment_final.segment
                talk.heard.append(heard)
                self._show(talk.sample.language, f"[dim]{escape(heard.text)}[/]")
                segment = pb.TranscriptSegment(
                    segment_id=str(heard.segment_id), text=heard.text, language_code=heard.language_code
                )
                said.put_nowait(pb.ConverseRequest(segment=segment))
            case "end_of_utterance":
                said.put_nowait(pb.ConverseRequest(flush=pb.Flush()))

    async def _translated(
        self, talk: _Conversation, said: asyncio.Queue[pb.ConverseRequest | None], kill: bool
    ) -> None:
        async def requests() -> AsyncIterator[pb.ConverseRequest]:
            while (request := await said.get()) is not None:
                yield request

        call = self._translate.Converse(requests())
        try:
            async for event in call:
                match event.WhichOneof("event"):
                    case "delta":
                        await self._grow(talk, event.delta, kill)
                    case "sentence":
                        talk.sentences.append(event.sentence)
                        self._show(
                            talk.target, f"[bold]{escape(event.sentence.text)}[/]  {made_by(event.sentence)}"
                        )
                    case "sentence_failed":
                        failed = event.sentence_failed
                        raise ActFailed(
                            f"{failed.source_text!r} was not translated: {failed.failure.message}"
                        )
        finally:
            call.cancel()

    async def _grow(self, talk: _Conversation, delta: pb.Delta, kill: bool) -> None:
        key = (delta.sentence_id, delta.revision)
        began_anew = delta.revision > 1 and key not in talk.drafts
        talk.drafts[key] = talk.drafts.get(key, "") + delta.text
        if not kill or delta.sentence_id != KILLED_IN:
            return
        if began_anew:
            after = f", {time.monotonic() - self._killed_at:.2f} s after the kill" if self._killed_at else ""
            self._print(f"revision {delta.revision} begins the sentence anew{after}")
        self._show(talk.target, escape(talk.drafts[key]))
        if self._killed_at is None and delta.revision == 1:
            pid = self._engine.pid
            await self._engine.kill()
            self._killed_at = time.monotonic()
            self._print(f"kill -9 {pid} (the engine) in the middle of a sentence; started again at once")
            self._engine.start()

    async def _up(self, how: str) -> None:
        """Returns when the better engine is the first that would be asked."""
        asked = time.monotonic()
        error = ""
        while time.monotonic() < asked + UP_TIMEOUT_S:
            answer = await self._translate.ListLanguages(pb.ListLanguagesRequest(), timeout=TIMEOUT_S)
            engines = [engine for pair in answer.pairs for engine in pair.engines if engine.engine == BETTER]
            if engines and all(engine.ready for engine in engines):
                waited = (
                    f" after {time.monotonic() - asked:.1f} s more" if time.monotonic() > asked + 1 else ""
                )
                self._print(f"the engine {how}{waited}: {engines[0].model_version} comes first")
                return
            error = engines[0].error if engines else f"there is no {BETTER}"
            await asyncio.sleep(POLL_S)
        raise ActFailed(f"the engine is not up after {UP_TIMEOUT_S:g} s: {error}")

    async def _back(self, talk: _Conversation) -> None:
        """The sentence that had to begin anew is translated by the better engine once more."""
        sentence = talk.sentences[KILLED_IN - 1]
        options = pb.TranslationOptions(
            source_language_code=talk.sample.language, target_language_code=talk.target
        )
        request = pb.TranslateRequest(options=options, texts=[sentence.source_text])
        asked = time.monotonic()
        while True:
            (answer,) = (await self._translate.Translate(request, timeout=TIMEOUT_S)).translations
            (again,) = answer.translated.sentences
            if again.provenance.engine == BETTER:
                break
            # An engine that is just up may be too slow for its first sentence.
            if time.monotonic() > asked + UP_TIMEOUT_S:
                raise ActFailed(f"{BETTER} is up again, and {again.provenance.engine} translates")
            await asyncio.sleep(POLL_S)
        self._show(talk.target, f"[bold]{escape(again.text)}[/]  {made_by(again)}")
        if "fallback_engine" in again.provenance.degradations:
            raise ActFailed(f"{BETTER} comes first, and its translation is labelled a fallback")

    def _show(self, language: str, line: str) -> None:
        self._print(f"{self._loop.time() - self._began:5.1f} s  {language}  {line}")


def check_whole(
    heard: list[sp.Segment], sentences: list[pb.Sentence], drafts: dict[tuple[int, int], str]
) -> None:
    """Passes when everything that was heard was translated, once, and the pieces make up the translation.

    Raises:
        ActFailed: they are not.
    """
    numbers = [sentence.sentence_id for sentence in sentences]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ActFailed(f"sentences must come one after the other, each once, not {numbers}")
    said = " ".join(segment.text for segment in heard)
    translated = " ".join(sentence.source_text for sentence in sentences)
    if not said or said != translated:
        raise ActFailed(f"what was heard, {said!r}, is not what was translated, {translated!r}")
    for sentence in sentences:
        pieces = drafts.get((sentence.sentence_id, sentence.revision), "")
        if pieces != sentence.text or not pieces:
            raise ActFailed(f"the pieces of {sentence.text!r} are {pieces!r}")


def check_killed(sentences: list[pb.Sentence]) -> None:
    """Passes when the better engine translated up to the kill, and the other one the sentence it came in.

    Raises:
        ActFailed: it was not so.
    """
    for sentence in sentences[: KILLED_IN - 1]:
        if sentence.provenance.engine != BETTER or "fallback_engine" in sentence.provenance.degradations:
            raise ActFailed(f"{BETTER} was up, and {sentence.provenance.engine} translated")
    if len(sentences) < KILLED_IN:
        raise ActFailed(f"there are {len(sentences)} sentences: nothing was killed")
    killed = sentences[KILLED_IN - 1]
    if killed.revision < 2:
        raise ActFailed("the sentence did not begin anew")
    if killed.provenance.engine != BEHIND or "fallback_engine" not in killed.provenance.degradations:
        raise ActFailed(
            f"{killed.provenance.engine} translated the sentence whose engine was killed, unlabelled"
        )


def made_by(sentence: pb.Sentence) -> str:
    """Who translated it, for people."""
    provenance = sentence.provenance
    lacks = [name for name in provenance.degradations if name != "fallback_engine"]
    fallback = " (fallback)" if "fallback_engine" in provenance.degradations else ""
    return f"[dim]{provenance.engine}{fallback}{''.join(f', {name}' for name in lacks)}[/]"


def _conversation(language: Language) -> Sample:
    return next(sample for sample in load() if len(sample.sentences) > 1 and sample.language == language)
