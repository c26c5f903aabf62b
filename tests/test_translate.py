"""Translation through the gateway: texts, streams and conversations, by the model that ships."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psycopg
import pytest
import pytest_asyncio
from conditions import BOUND_S, Details, failure, until, whole
from google.protobuf.duration_pb2 import Duration
from opentelemetry.trace import SpanKind
from redis.asyncio import Redis
from reflection_parts import call as call_without_stubs
from reflection_parts import through_reflection
from suite_parts import (
    DEGRADED_KEY,
    TRANSLATOR,
    VERSION_KEY,
    Client,
    Suite,
    into,
    opened,
    segment,
    session,
    spoken,
    talk,
)

from trunkline.translate.v1 import translate_pb2 as tr
from trunkline_local.embedded import PostgreSQL, Valkey
from trunkline_translate.engine import Priority
from trunkline_translate.genai_engine import OpenVinoEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE = "trunkline.translate.v1.TranslateService"
MALFORMED = b"\x0a\xff\xff\xff\xff\x0f"
STATION, TAXI = "Where is the station?", "I need a taxi."
VERSION = f"{TRANSLATOR}/versions/1"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def suite(
    valkey: Valkey, postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    """One for all of these, with speech in it: none of them changes anything."""
    with psycopg.connect(postgres.dsn_of("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE translate_suite")
    async with Redis.from_url(valkey.url) as redis:
        await redis.flushall()
    dsn = postgres.dsn_of("translate_suite")
    directory: Path = tmp_path_factory.mktemp("translate")
    async with opened(directory, valkey.url, dsn, speaking=True, translating=True) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(suite: Suite) -> AsyncIterator[Client]:
    async with Client(suite.target) as connected:
        yield connected


@asynccontextmanager
async def _talking(client: Client, *first: Any, metadata: Any = None) -> AsyncIterator[Any]:
    call = client.translate.Converse(metadata=metadata)
    try:
        async with asyncio.timeout(BOUND_S):
            for message in first:
                await call.write(message)
            yield call
    finally:
        call.cancel()


async def _rest(call: Any) -> list[Any]:
    """Every event to come."""
    events = []
    while (event := await call.read()) is not grpc.aio.EOF:
        events.append(event)
    return events


async def _all(client: Client, *messages: Any, metadata: Any = None) -> list[Any]:
    """Every event of a conversation that is told all this."""
    async with _talking(client, *messages, metadata=metadata) as call:
        await call.done_writing()
        return await _rest(call)


def _sentences(events: list[Any]) -> list[tr.Sentence]:
    return [event.sentence for event in events if event.HasField("sentence")]


async def _over(suite: Suite) -> None:
    """Returns when no conversation is left: not in the gateway, and not in translation."""
    await until(lambda: not any(suite.servers[name].sessions for name in ("gateway", "translate")))


async def test_texts_are_translated_and_say_what_translated_them(client: Client) -> None:
    request = tr.TranslateRequest(options=into("es"), texts=[f"{STATION}  {TAXI}", TAXI])
    call = client.translate.Translate(request, timeout=BOUND_S)
    first, second = (await call).translations
    assert [sentence.source_text for sentence in first.translated.sentences] == [STATION, TAXI]
    assert first.translated.text == "  ".join(sentence.text for sentence in first.translated.sentences)
    assert all(sentence.text for sentence in first.translated.sentences)
    (sentence,) = second.translated.sentences
    assert (sentence.source_language_code, sentence.target_language_code) == ("en", "es")
    assert (sentence.provenance.engine, sentence.provenance.model_version) == ("openvino", VERSION)
    assert len(sentence.provenance.digest) == 64
    assert sentence.provenance.device == "CPU"
    assert sentence.completion_tokens > 0
    trailers = dict(await call.trailing_metadata())
    assert trailers[VERSION_KEY] == VERSION
    assert DEGRADED_KEY not in trailers


async def test_a_text_that_cannot_be_translated_is_in_nobodys_way(client: Client) -> None:
    request = tr.TranslateRequest(
        options=into("es", source=""), texts=[STATION, "Wo ist der Bahnhof?", "12345"]
    )
    first, second, third = (await client.translate.Translate(request, timeout=BOUND_S)).translations
    assert first.translated.sentences[0].source_language_code == "en"
    assert second.translated.sentences[0].source_language_code == "de"
    assert (third.failure.code, third.failure.reason) == ("INVALID_ARGUMENT", "LANGUAGE_UNDETECTED")


async def test_a_stream_grows_into_what_is_translated_at_once(client: Client) -> None:
    text = f"{STATION}\n\n{TAXI}"
    call = client.translate.StreamTranslate(
        tr.StreamTranslateRequest(options=into("es"), text=text), timeout=BOUND_S
    )
    events = await whole(call)
    trailers = dict(await call.trailing_metadata())
    assert trailers[VERSION_KEY] == VERSION
    sentences = _sentences(events)
    assert [sentence.source_text for sentence in sentences] == [STATION, TAXI]
    for sentence in sentences:
        pieces = [event.delta.text for event in events if event.delta.sentence_id == sentence.sentence_id]
        assert "".join(pieces) == sentence.text
    separators = [event.separator for event in events if event.separator]
    assert separators == ["\n\n"]
    request = tr.TranslateRequest(options=into("es"), texts=[text])
    (at_once,) = (await client.translate.Translate(request, timeout=BOUND_S)).translations
    assert at_once.translated.text == "\n\n".join(sentence.text for sentence in sentences)


async def test_a_version_can_be_asked_for_by_name_and_one_that_is_not_there_is_named(client: Client) -> None:
    for model in (VERSION, TRANSLATOR, "engines/openvino"):
        request = tr.TranslateRequest(options=into("fr", model=model), texts=[TAXI])
        (answer,) = (await client.translate.Translate(request, timeout=BOUND_S)).translations
        assert answer.translated.sentences[0].provenance.model_version == VERSION
    for model, reason in (
        ("engines/vllm", "MODEL_UNKNOWN"),
        (f"{TRANSLATOR}/versions/99", "VERSION_UNKNOWN"),
    ):
        request = tr.TranslateRequest(options=into("fr", model=model), texts=[TAXI])
        error = await failure(client.translate.Translate(request, timeout=BOUND_S))
        details = Details(error)
        assert (error.code(), details.reason) == (grpc.StatusCode.NOT_FOUND, reason)
        assert details.ResourceInfo.resource_name == model


async def test_languages_that_nobody_here_knows_are_refused_with_those_that_there_are(client: Client) -> None:
    request = tr.TranslateRequest(options=into("fi"), texts=[TAXI])
    error = await failure(client.translate.Translate(request, timeout=BOUND_S))
    details = Details(error)
    assert (error.code(), details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LANGUAGE_UNSUPPORTED")
    assert "en-es" in details.ErrorInfo.metadata["pairs"].split(",")


async def test_what_there_is_is_listed_page_by_page(client: Client) -> None:
    request = tr.ListLanguagesRequest(page_size=5)
    pairs = []
    while True:
        page = await client.translate.ListLanguages(request, timeout=BOUND_S)
        pairs += page.pairs
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    codes = [(pair.source_language_code, pair.target_language_code) for pair in pairs]
    languages = ("de", "en", "es", "fr")
    assert codes == [(one, other) for one in languages for other in languages if one != other]
    for pair in pairs:
        (engine,) = pair.engines
        assert (engine.engine, engine.model_version, engine.ready) == ("openvino", VERSION, True)


async def test_languages_are_told_apart(client: Client) -> None:
    texts = ["Where is the station, please?", "¿Dónde está la estación?", "Wo ist der Bahnhof, bitte?", "12"]
    request = tr.DetectLanguageRequest(texts=texts)
    found = (await client.translate.DetectLanguage(request, timeout=BOUND_S)).detections
    assert [each.languages[0].language_code if each.languages else "" for each in found] == [
        "en",
        "es",
        "de",
        "",
    ]
    assert all(0 < language.confidence <= 1 for each in found for language in each.languages)


async def test_a_conversation_answers_each_sentence_when_it_is_complete(suite: Suite, client: Client) -> None:
    async with _talking(client, talk(), segment(1, STATION)) as call:
        events = [await call.read()]
        assert events[0].started.resume_token
        while not events[-1].HasField("sentence"):
            events.append(await call.read())  # nothing waits for the end of the requests
        await call.write(segment(2, "I need", end=False))
        await call.write(segment(3, "a taxi."))
        await call.done_writing()
        events += await _rest(call)
        assert await call.code() is grpc.StatusCode.OK
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    first, second = (event for event in events if event.HasField("sentence"))
    assert (first.sentence.source_text, list(first.text_ids)) == (STATION, ["segment-1"])
    assert (second.sentence.source_text, list(second.text_ids)) == (TAXI, ["segment-2", "segment-3"])
    assert (first.sentence.context_used, second.sentence.context_used) == (False, True)
    assert {first.sentence.provenance.model_version, second.sentence.provenance.model_version} == {VERSION}
    for said in (first.sentence, second.sentence):
        pieces = [event.delta.text for event in events if event.delta.sentence_id == said.sentence_id]
        assert "".join(pieces) == said.text
    await _over(suite)


async def test_a_text_may_be_cut_anywhere(client: Client) -> None:
    text = f"{STATION} {TAXI}"
    pieces = [
        tr.ConverseRequest(piece=tr.TextPiece(piece_id=str(place), text=text[place : place + 3]))
        for place in range(0, len(text), 3)
    ]
    again = pieces[2]  # what was sent already is ignored
    events = await _all(client, talk("de"), *pieces[:5], again, *pieces[5:])
    assert [sentence.source_text for sentence in _sentences(events)] == [STATION, TAXI]


async def test_what_is_said_is_translated_from_speech_to_text_to_another_language(client: Client) -> None:
    call = client.speech.StreamingRecognize(iter([session(), *spoken()]), timeout=BOUND_S)
    heard = [event.segment_final.segment async for event in call if event.HasField("segment_final")]
    assert heard
    segments = [
        tr.ConverseRequest(
            segment=tr.TranscriptSegment(
                segment_id=str(each.segment_id), text=each.text, language_code=each.language_code
            )
        )
        for each in heard
    ]
    events = await _all(client, talk("de", source=""), *segments)
    sentences = _sentences(events)
    assert " ".join(sentence.source_text for sentence in sentences) == " ".join(each.text for each in heard)
    assert {sentence.source_language_code for sentence in sentences} == {"en"}
    assert all(sentence.text for sentence in sentences)


async def test_a_client_that_goes_away_is_gone_for_translation_too(suite: Suite, client: Client) -> None:
    for count in range(4):
        async with _talking(client, talk(), segment(1, STATION), segment(2, TAXI)) as call:
            for _ in range(count):
                await call.read()
            call.cancel()
        await _over(suite)
    streams = client.translate.StreamTranslate(
        tr.StreamTranslateRequest(options=into("es"), text=f"{STATION} {TAXI} " * 20)
    )
    async with asyncio.timeout(BOUND_S):
        await streams.read()
    streams.cancel()
    await until(lambda: not any(suite.servers[name].admission.running for name in ("gateway", "translate")))


async def test_a_gateway_that_stops_sends_the_conversation_elsewhere(suite: Suite, client: Client) -> None:
    undisturbed = _sentences(await _all(client, talk(), segment(1, STATION), segment(2, TAXI)))
    leaving = await suite.start_gateway("leaving")
    await until(lambda: leaving.health.serving(SERVICE))
    async with Client(leaving.target) as other, _talking(other, talk(), segment(1, STATION)) as call:
        events = [await call.read()]
        while not events[-1].HasField("sentence"):
            events.append(await call.read())
        stopping = asyncio.create_task(suite.stop("leaving"))
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await _rest(call)
        details = Details(ended.value)
        assert (ended.value.code(), details.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        await stopping
    suite.servers.pop("leaving")
    token = events[0].started.resume_token
    resume = tr.ConverseResume(resume_token=token, last_sequence=events[-1].sequence)
    # The first one is sent again: it is known by its id.
    rest = await _all(client, tr.ConverseRequest(resume=resume), segment(1, STATION), segment(2, TAXI))
    assert rest[0].started.resumed
    told = [*_sentences(events), *_sentences(rest)]
    assert [(each.source_text, each.text) for each in told] == [
        (each.source_text, each.text) for each in undisturbed
    ]
    await _over(suite)


async def test_a_conversation_that_nobody_knows_is_not_found(client: Client) -> None:
    resume = tr.ConverseResume(resume_token="nobody gave it")
    call = client.translate.Converse(iter([tr.ConverseRequest(resume=resume)]))
    error = await failure(call)
    assert (error.code(), Details(error).reason) == (grpc.StatusCode.NOT_FOUND, "SESSION_UNKNOWN")


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ("interactive", Priority.INTERACTIVE),
        ("default", Priority.DEFAULT),
        ("batch", Priority.BATCH),
    ],
)
async def test_what_minds_waiting_is_told_to_the_engine(
    client: Client, monkeypatch: pytest.MonkeyPatch, sent: str, wanted: Priority
) -> None:
    asked: list[Priority] = []
    own = OpenVinoEngine.translate

    def told(self: OpenVinoEngine, ask: Any, model: str = "") -> Any:
        asked.append(ask.priority)
        return own(self, ask, model)

    monkeypatch.setattr(OpenVinoEngine, "translate", told)
    request = tr.TranslateRequest(options=into("es"), texts=[TAXI])
    metadata = (("x-trunkline-priority", sent),)
    await client.translate.Translate(request, timeout=BOUND_S, metadata=metadata)
    assert asked == [wanted]


async def test_a_deadline_ends_a_call_and_a_sentences_own_ends_the_sentence_only(
    suite: Suite, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OpenVinoEngine.translate
    closed: list[str] = []

    async def stuck(self: OpenVinoEngine, ask: Any, model: str = "") -> Any:
        if ask.text == TAXI:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                closed.append(ask.text)
        async for piece in own(self, ask, model):
            yield piece

    monkeypatch.setattr(OpenVinoEngine, "translate", stuck)
    request = tr.TranslateRequest(options=into("es"), texts=[TAXI])
    error = await failure(client.translate.Translate(request, timeout=0.5))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: closed == [TAXI])  # nothing goes on that nobody waits for
    config = talk(sentence_timeout=Duration(seconds=1))
    events = await _all(client, config, segment(1, TAXI), segment(2, STATION))
    (failed,) = [event.sentence_failed for event in events if event.HasField("sentence_failed")]
    assert (failed.source_text, failed.failure.code) == (TAXI, "DEADLINE_EXCEEDED")
    assert [sentence.source_text for sentence in _sentences(events)] == [STATION]
    await _over(suite)


async def test_a_text_is_one_trace_down_to_the_engine(suite: Suite, client: Client) -> None:
    trace = "9bf92f3577b34da6a3ce929d0e0e4736"
    request = tr.TranslateRequest(options=into("es"), texts=[TAXI])
    metadata = (("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),)
    await client.translate.Translate(request, timeout=BOUND_S, metadata=metadata)

    def spans() -> list[Any]:
        return [span for span in suite.spans() if f"{span.context.trace_id:032x}" == trace]

    await until(lambda: sum(span.kind is SpanKind.SERVER for span in spans()) == 2)
    services = [span.resource.attributes["service.name"] for span in spans() if span.kind is SpanKind.SERVER]
    assert services == ["gateway", "translate"]


async def test_a_conversation_is_one_trace_down_to_the_store(suite: Suite, client: Client) -> None:
    trace = "abf92f3577b34da6a3ce929d0e0e4736"
    await _all(
        client, talk(), segment(1, TAXI), metadata=(("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),)
    )

    def names() -> list[str]:
        return [span.name for span in suite.spans() if f"{span.context.trace_id:032x}" == trace]

    await until(lambda: names().count(f"{SERVICE}/Converse") == 3)
    assert "redis.save" in names()


async def test_texts_are_translated_without_stubs(suite: Suite) -> None:
    request = {"options": {"sourceLanguageCode": "en", "targetLanguageCode": "es"}, "texts": [TAXI]}
    answer = await call_without_stubs(suite.target, f"{SERVICE}/Translate", request)
    assert answer == await through_reflection(suite.target, f"{SERVICE}/Translate", request)
    assert answer["translations"][0]["translated"]["sentences"][0]["provenance"]["modelVersion"] == VERSION


@pytest.mark.parametrize("method", tr.DESCRIPTOR.services_by_name["TranslateService"].methods_by_name)
@pytest.mark.parametrize("sent", [MALFORMED, b""], ids=["malformed", "empty"])
async def test_nonsense_is_refused_by_every_method(client: Client, method: str, sent: bytes) -> None:
    kinds = {"Converse": "stream_stream", "StreamTranslate": "unary_stream"}
    call = getattr(client.channel, kinds.get(method, "unary_unary"))(f"/{SERVICE}/{method}")
    given = [sent] if method == "Converse" else sent
    if method == "ListLanguages" and not sent:
        assert await call(given, timeout=BOUND_S)  # nothing is required of it
        return
    error = await failure(call(given, timeout=BOUND_S))
    details = Details(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details.reason == ("MALFORMED_REQUEST" if sent else "FIELD_INVALID")
    assert sent or details.violations


async def test_a_text_over_the_message_limit_is_refused_and_the_connection_lives(client: Client) -> None:
    request = tr.TranslateRequest(options=into("es"), texts=["a" * (16 * 1024 * 1024)])
    error = await failure(client.translate.Translate(request, timeout=BOUND_S))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await client.translate.ListLanguages(tr.ListLanguagesRequest(), timeout=BOUND_S)
