"""A translation service that knows a few sentences: the contract without a model.

It answers word by word, breaks off where it is told to, and has two engines: one that can be killed, and one behind
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from conditions import until

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_gateway.__main__ import build
from trunkline_gateway.settings import Settings
from trunkline_hop.errors import BadRequest, Fault
from trunkline_hop.server import running
from trunkline_hop.settings import ServiceSettings

OPENVINO = "models/scripted/versions/1"
VLLM = "engines/vllm/scripted"


class ScriptedTranslate:
    """trunkline.translate.v1.TranslateService."""

    descriptor = pb.DESCRIPTOR.services_by_name["TranslateService"]

    def __init__(self) -> None:
        self.target = ""
        self.known: dict[str, str] = {}
        """Translations of sentences; of all others it is the sentence in capitals."""
        self.fails: dict[str, Fault] = {}
        """What a text ends with."""
        self.held: dict[str, asyncio.Event] = {}
        """A text that is not answered before."""
        self.restarts: set[str] = set()
        """Sentences whose engine fails after the first word, once."""
        self.degradations: list[str] = []
        self.finish_reason = pb.FINISH_REASON_STOP
        self.vllm = True
        """Whether the better engine is up."""
        self.detects = ""
        self.dies_in = ""
        """Sentence of a conversation in which the better engine is waited for to be killed."""
        self.killed = asyncio.Event()
        self.asked: list[pb.StreamTranslateRequest] = []
        self.configs: list[pb.ConverseConfig] = []
        self.requests: list[pb.ConverseRequest] = []
        """Of conversations, after the config."""

    def provenance(self, fallback: bool = False) -> pb.Provenance:
        """Of what would translate now."""
        if self.vllm and not fallback:
            return pb.Provenance(engine="vllm", model_version=VLLM, degradations=self.degradations)
        lacks = ["fallback_engine", *self.degradations]
        return pb.Provenance(engine="openvino", model_version=OPENVINO, device="CPU", degradations=lacks)

    async def Translate(self, request, call):
        translations = []
        for text in request.texts:
            (sentence,) = [
                each["sentence"] for each in self.events(1, text, request.options) if "sentence" in each
            ]
            translated = pb.TranslatedText(text=sentence.text, sentences=[sentence])
            translations.append(pb.Translation(translated=translated))
        return pb.TranslateResponse(translations=translations)

    async def Converse(self, requests, call):
        """Every segment is a sentence."""
        config = (await anext(requests)).config
        self.configs.append(config)
        sequence = 1
        yield pb.ConverseResponse(sequence=sequence, started=pb.ConversationStarted(session_id="s1"))
        number = 0
        async for request in requests:
            self.requests.append(request)
            if not request.HasField("segment"):
                continue
            number += 1
            segment = request.segment
            async for event in self._sentence(number, segment, config.options):
                sequence += 1
                yield pb.ConverseResponse(sequence=sequence, text_ids=[segment.segment_id], **event)

    async def _sentence(self, number, segment, options) -> AsyncIterator[dict]:
        if segment.text in self.fails:
            failure = pb.Failure(code="UNAVAILABLE", reason="NO_ENGINE", message="no engine is up")
            yield {"sentence_failed": pb.SentenceFailed(sentence_id=number, failure=failure)}
            return
        if self.vllm and segment.text == self.dies_in:
            yield {"delta": pb.Delta(sentence_id=number, revision=1, text="something else")}
            async with asyncio.timeout(30):
                await self.killed.wait()
            self.restarts.add(segment.text)
        given = pb.TranslationOptions()
        given.CopyFrom(options)
        given.source_language_code = segment.language_code
        for event in self.events(number, segment.text, given):
            first = event.get("delta")
            if segment.text == self.dies_in and first is not None and first.revision == 1:
                continue
            yield event

    async def DetectLanguage(self, request, call):
        """What it translated last into, unless another one is said."""
        code = self.detects or self.configs[-1].options.target_language_code
        language = pb.DetectedLanguage(language_code=code, confidence=0.9)
        return pb.DetectLanguageResponse(detections=[pb.Detection(languages=[language])])

    async def StreamTranslate(self, request, call):
        self.asked.append(request)
        if request.options.target_language_code == "xx":
            raise BadRequest("nobody translates into xx", reason="LANGUAGE_UNSUPPORTED")
        if request.text in self.held:
            await self.held[request.text].wait()
        if request.text in self.fails:
            raise self.fails[request.text]
        for number, (separator, source) in enumerate(_sentences(request.text), 1):
            for event in self.events(number, source, request.options):
                response = pb.StreamTranslateResponse(separator=separator, **event)
                separator = ""
                yield response

    def events(self, number: int, source: str, options: pb.TranslationOptions) -> Iterator[dict]:
        """A sentence, word by word."""
        revision, fallback = 1, False
        text = self.known.get(source, source.upper())
        if source in self.restarts:
            yield {"delta": pb.Delta(sentence_id=number, revision=1, text="something else")}
            revision, fallback = 2, True
            self.restarts.discard(source)
        for place, word in enumerate(text.split(" ")):
            yield {
                "delta": pb.Delta(sentence_id=number, revision=revision, text=f"{' ' if place else ''}{word}")
            }
        yield {
            "sentence": pb.Sentence(
                sentence_id=number,
                source_text=source,
                text=text,
                source_language_code=options.source_language_code or "en",
                target_language_code=options.target_language_code,
                revision=revision,
                provenance=self.provenance(fallback),
                finish_reason=self.finish_reason,
                prompt_tokens=9,
                completion_tokens=4,
            )
        }

    async def ListLanguages(self, request, call):
        """Two pages, of one pair each."""
        source, target, following = ("en", "es", "2") if not request.page_token else ("es", "en", "")
        error = "" if self.vllm else "http://127.0.0.1:1 does not answer: start it"
        engines = [
            pb.PairEngine(engine="vllm", model_version=VLLM, ready=self.vllm, error=error),
            pb.PairEngine(engine="openvino", model_version=OPENVINO, ready=True),
        ]
        pair = pb.LanguagePair(source_language_code=source, target_language_code=target, engines=engines)
        return pb.ListLanguagesResponse(pairs=[pair], next_page_token=following)


@asynccontextmanager
async def translating(speech: str = "") -> AsyncIterator[ScriptedTranslate]:
    """The service behind the real gateway, whose address is its `target`, beside one of speech if there is one."""
    service = ScriptedTranslate()

    async def add(server, settings):
        server.add(service)

    async with AsyncExitStack() as stack:
        own = ServiceSettings(port=0, metrics_port=0, drain_grace_s=1.0)
        server = await stack.enter_async_context(running("translate", own, add))
        gateway = Settings(port=0, metrics_port=0, drain_grace_s=1.0, translate=server.target, speech=speech)
        door = await stack.enter_async_context(running("gateway", gateway, build))
        offered = ["trunkline.translate.v1.TranslateService"]
        offered += ["trunkline.speech.v1.SpeechService"] if speech else []
        await until(lambda: all(map(door.health.serving, offered)))
        service.target = door.target
        yield service


def _sentences(text: str) -> Iterator[tuple[str, str]]:
    """Separator and sentence; they end with a full stop or a line."""
    separator = ""
    for line in text.splitlines(keepends=True):
        for sentence in line.rstrip("\n").split(". "):
            yield separator, sentence.strip()
            separator = " "
        separator = "\n" if line.endswith("\n") else ""
