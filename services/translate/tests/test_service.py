"""Texts over the wire, at once and in pieces: what results say, and what there is to translate with."""

from __future__ import annotations

import asyncio

import grpc.aio
import pytest
import pytest_asyncio
import translate_suite as parts
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2
from translate_suite import (
    BOUND_S,
    DIGEST,
    EN_ES,
    ENGLISH,
    GERMAN,
    SPANISH,
    VERSION,
    engine,
    events_of,
    held,
    request,
    steps,
    trailers,
    until,
)

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_hop.errors import BadRequest
from trunkline_translate.engine import EngineFailed
from trunkline_translate.language import Direction


@pytest_asyncio.fixture
async def suite(valkey):
    async with parts.opened(valkey.url) as suite:
        yield suite


async def test_a_text_is_translated_sentence_by_sentence_and_every_result_says_what_made_it(suite):
    replica = await suite.start(engine())
    text = f"  {ENGLISH[0]}  {ENGLISH[1]}\n\n{ENGLISH[2]} "
    (translation,) = await replica.translate(text)
    assert translation.translated.text == f"  {SPANISH[0]}  {SPANISH[1]}\n\n{SPANISH[2]} "
    assert list(translation.translated.sentences) == [
        pb.Sentence(
            sentence_id=number,
            source_text=source,
            text=target,
            source_language_code="en",
            target_language_code="es",
            revision=1,
            provenance=pb.Provenance(engine="openvino", model_version=VERSION, digest=DIGEST, device="CPU"),
            finish_reason=pb.FINISH_REASON_STOP,
            prompt_tokens=len(source.split()),
            completion_tokens=len(target.split()),
            context_used=number > 1,
        )
        for number, source, target in zip((1, 2, 3), ENGLISH, SPANISH, strict=False)
    ]


async def test_trailers_say_what_made_the_answer_and_what_it_lacks_each_once(suite):
    failing = engine("vllm", steps(EngineFailed("it is gone")))
    replica = await suite.start(failing, engine())
    call = replica.stub.Translate(request(ENGLISH[0], ENGLISH[1]), timeout=BOUND_S)
    await call
    told = await trailers(call)
    assert told["x-trunkline-model-version"] == [VERSION]
    assert told["x-trunkline-degraded"] == ["fallback_engine"]
    stream = replica.streamed(ENGLISH[2])
    await events_of(stream)
    told = await trailers(stream)
    assert told["x-trunkline-model-version"] == [VERSION]
    assert told["x-trunkline-degraded"] == ["fallback_engine"]


async def test_sentences_see_those_before_them_and_other_texts_do_not(suite):
    replica = await suite.start(engine())
    await replica.translate(" ".join(ENGLISH), ENGLISH[4])
    seen = {(ask.text, tuple(each.source for each in ask.context)) for ask in replica.engines[0].asks}
    assert seen == {
        *((ENGLISH[place], tuple(ENGLISH[max(0, place - 3) : place])) for place in range(5)),
        (ENGLISH[4], ()),
    }


async def test_an_answer_that_only_context_spoils_is_given_without_context_and_says_so(suite):
    spoilt = engine(script=lambda ask: [ENGLISH[0]] if ask.context else parts.words(ask))
    replica = await suite.start(spoilt)
    (translation,) = await replica.translate(f"{ENGLISH[0]} {ENGLISH[1]}")
    second = translation.translated.sentences[1]
    assert second.text == SPANISH[1]
    assert not second.context_used
    assert list(second.provenance.degradations) == ["context_dropped"]
    assert second.revision == 2


async def test_what_has_no_words_is_not_translated_and_nobody_is_asked(suite):
    replica = await suite.start(engine())
    sentence = await replica.sentence("…!")
    assert (sentence.text, sentence.provenance.engine) == ("…!", "none")
    (blank,) = await replica.translate(" \n ")
    assert (blank.translated.text, list(blank.translated.sentences)) == (" \n ", [])
    assert not replica.engines[0].asks


@pytest.mark.parametrize(
    "text", [" ".join(ENGLISH), f"\n\t{ENGLISH[0]}\n\n{ENGLISH[1]}   {ENGLISH[2]} \n", ENGLISH[3]]
)
async def test_what_is_streamed_is_what_is_translated_at_once(suite, text):
    replica = await suite.start(engine())
    (whole,) = await replica.translate(text)
    events = await events_of(replica.streamed(text))
    sentences = [event.sentence for event in events if event.HasField("sentence")]
    assert sentences == list(whole.translated.sentences)
    assert parts.shown(events) == {sentence.sentence_id: sentence.text for sentence in sentences}
    drawn, deltas = "", 0
    for event in events:
        drawn += event.separator + event.delta.text
        deltas += event.HasField("delta")
    behind = text[len(text.rstrip()) :]
    assert drawn + behind == whole.translated.text
    assert deltas >= len(sentences)


async def test_a_stream_that_is_cancelled_stops_the_engine_and_leaves_nothing(suite):
    never = asyncio.Event()
    replica = await suite.start(engine(script=held(never)))
    assert (await asyncio.wait_for(_first_of(replica), BOUND_S)).HasField("delta")
    await replica.quiet()
    before = parts.tasks()
    for cancelled in range(2, 7):
        await asyncio.wait_for(_first_of(replica), BOUND_S)
        await replica.quiet()
        assert replica.engines[0].stopped == cancelled
    await until(lambda: not parts.tasks() - before)
    replica.engines[0].script = parts.words
    assert (await replica.sentence(ENGLISH[0])).text == SPANISH[0]


async def _first_of(replica):
    """The first event of a stream that is cancelled then."""
    call = replica.streamed(" ".join(ENGLISH))
    first = await call.read()
    assert replica.engines[0].live == 1
    call.cancel()
    return first


async def test_a_call_that_is_cancelled_stops_all_its_texts(suite):
    replica = await suite.start(engine(script=held(asyncio.Event())))
    call = replica.stub.Translate(request(*ENGLISH), timeout=BOUND_S)
    waiting = asyncio.create_task(_answer(call))
    await until(lambda: replica.engines[0].live == len(ENGLISH))
    call.cancel()
    await asyncio.wait([waiting])
    await replica.quiet()
    assert replica.engines[0].stopped == len(ENGLISH)


async def _answer(call):
    return await call


async def test_many_texts_at_once_come_back_in_their_order(suite):
    replica = await suite.start(engine())
    texts = [ENGLISH[number % 5] for number in range(256)]
    translations = await replica.translate(*texts)
    assert [each.translated.text for each in translations] == [SPANISH[number % 5] for number in range(256)]


async def test_what_can_be_translated_is_listed_with_who_does_and_why_others_do_not(suite):
    away = engine("vllm", directions=(EN_ES, Direction("en", "fr")), down="it does not answer")
    replica = await suite.start(away, engine())
    listed = (await replica.stub.ListLanguages(pb.ListLanguagesRequest())).pairs
    pairs = [(pair.source_language_code, pair.target_language_code) for pair in listed]
    assert pairs == sorted({(each.source, each.target) for each in (*parts.EVERY, Direction("en", "fr"))})
    ready = pb.PairEngine(engine="openvino", model_version=VERSION, ready=True)
    lost = pb.PairEngine(
        engine="vllm", model_version="engines/vllm/phrases", ready=False, error="it does not answer"
    )
    engines = dict(zip(pairs, (list(pair.engines) for pair in listed), strict=True))
    assert engines[("en", "es")] == [lost, ready]
    assert engines[("en", "fr")] == [lost]
    assert engines[("de", "en")] == [ready]


async def test_the_list_comes_in_pages(suite):
    replica = await suite.start(engine())
    everything = (await replica.stub.ListLanguages(pb.ListLanguagesRequest())).pairs
    assert len(everything) == 6
    paged, token = [], ""
    while True:
        page = await replica.stub.ListLanguages(pb.ListLanguagesRequest(page_size=4, page_token=token))
        paged += page.pairs
        if not (token := page.next_page_token):
            break
        assert len(page.pairs) == 4
    assert paged == list(everything)
    for wrong, field in (({"page_token": "nonsense"}, "page_token"), ({"page_size": -1}, "page_size")):
        with pytest.raises(BadRequest) as refused:
            await replica.stub.ListLanguages(pb.ListLanguagesRequest(**wrong))
        assert [each.field for each in refused.value.violations] == [field]


async def test_languages_are_told_apart_and_nothing_is_made_of_nothing(suite):
    replica = await suite.start(engine())
    texts = [
        ENGLISH[3],
        SPANISH[3],
        GERMAN[3],
        "Ma sœur habite une petite maison au bord de la mer.",
        "2027",
        "",
    ]
    reply = await replica.stub.DetectLanguage(pb.DetectLanguageRequest(texts=texts))
    first = [each.languages[0].language_code if each.languages else "" for each in reply.detections]
    assert first == ["en", "es", "de", "fr", "", ""]
    for detection in reply.detections[:4]:
        shares = [language.confidence for language in detection.languages]
        assert len(shares) <= 3
        assert shares == sorted(shares, reverse=True)
        assert 0.5 < shares[0] <= 1.0
    with pytest.raises(BadRequest) as refused:
        await replica.stub.DetectLanguage(pb.DetectLanguageRequest())
    assert [each.field for each in refused.value.violations] == ["texts"]


async def test_reflection_describes_the_service(suite):
    replica = await suite.start(engine())
    service = pb.DESCRIPTOR.services_by_name["TranslateService"]
    async with grpc.aio.insecure_channel(replica.server.target) as channel, asyncio.timeout(BOUND_S):
        call = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = {each.name for each in (await call.read()).list_services_response.service}
        assert service.full_name in listed
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service.full_name))
        files = (await call.read()).file_descriptor_response.file_descriptor_proto
        call.cancel()
    described = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]
    methods = {
        method.name
        for file in described
        for one in file.service
        if one.name == service.name
        for method in one.method
    }
    assert methods == {method.name for method in service.methods}
