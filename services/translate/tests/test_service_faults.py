"""What fails over the wire: texts, requests, deadlines and engines, and who goes on with it."""

from __future__ import annotations

import asyncio
from itertools import accumulate

import pytest
import pytest_asyncio
import translate_suite as parts
from translate_suite import (
    BOUND_S,
    ENGLISH,
    GERMAN,
    SPANISH,
    VERSION,
    engine,
    events_of,
    request,
    steps,
    stream_request,
    until,
)

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_hop.errors import BadRequest, NotFound, Overloaded, TooLate, Unavailable
from trunkline_translate.engine import EngineFailed, SentenceTooLong


@pytest_asyncio.fixture
async def suite(valkey):
    async with parts.opened(valkey.url) as suite:
        yield suite


def refusals():
    """By text: what its engine does, and what becomes of it."""
    return {
        "Everything fails here today.": (steps(EngineFailed("it is gone")), Unavailable, "NO_ENGINE", []),
        "Too much is going on today.": (steps(EngineFailed("full", counts=False)), Overloaded, "SHED", []),
        "This sentence goes on and on.": (
            steps(SentenceTooLong(900, 512)),
            BadRequest,
            "TEXT_TOO_LONG",
            ["texts[0]"],
        ),
        "Nobody says this in another language.": (
            lambda ask: [ask.text],
            Unavailable,
            "TRANSLATION_REJECTED",
            [],
        ),
        "There is nothing to say about it.": (steps(), Unavailable, "TRANSLATION_REJECTED", []),
        "The engine breaks here.": (steps(RuntimeError("/secret/path")), Unavailable, "NO_ENGINE", []),
        "It breaks off in the middle.": (steps("Se ", EngineFailed("it died")), Unavailable, "NO_ENGINE", []),
    }


def refusing():
    """An engine that does so."""
    scripts = {text: script for text, (script, *_) in refusals().items()}
    return engine(script=lambda ask: scripts.get(ask.text, parts.words)(ask))


async def test_a_text_that_fails_says_why_and_does_not_fail_the_others(suite):
    replica = await suite.start(refusing())
    refused = dict(list(refusals().items())[:5])
    mixed = [text for pair in zip(refused, ENGLISH, strict=True) for text in pair]
    translations = await replica.translate(*mixed)
    assert [each.translated.text for each in translations[1::2]] == SPANISH
    for translation, (text, (_, fault, reason, _)) in zip(translations[::2], refused.items(), strict=True):
        assert (translation.failure.code, translation.failure.reason) == (fault.code, reason), text
        assert translation.failure.message
        assert "secret" not in translation.failure.message
        assert text not in translation.failure.message


@pytest.mark.parametrize("text", refusals())
async def test_when_all_texts_fail_the_call_fails_as_the_first(suite, text):
    _, fault, reason, fields = refusals()[text]
    replica = await suite.start(refusing())
    with pytest.raises(fault) as failed:
        await replica.translate(text)
    assert failed.value.reason == reason
    assert "secret" not in failed.value.message
    assert [each.field for each in getattr(failed.value, "violations", ())] == fields
    if reason in ("NO_ENGINE", "SHED"):
        assert failed.value.retry_after.total_seconds() > 0
        assert list(failed.value.metadata) == ["openvino"]
    with pytest.raises(fault) as streamed:
        await events_of(replica.streamed(text))
    assert streamed.value.reason == reason
    names = [each.field for each in getattr(streamed.value, "violations", ())]
    assert names == [field.replace("texts[0]", "text") for field in fields]
    await replica.quiet()


async def test_of_two_failures_the_first_text_decides(suite):
    replica = await suite.start(refusing())
    gone, full = list(refusals())[:2]
    with pytest.raises(Overloaded):
        await replica.translate(full, gone)
    with pytest.raises(Unavailable, match="NO_ENGINE"):
        await replica.translate(gone, full)


@pytest.mark.parametrize(
    ("wrong", "reason", "field", "told"),
    [
        (pb.TranslateRequest(texts=["Hello"]), "FIELD_INVALID", "options", ""),
        (request(), "FIELD_INVALID", "texts", ""),
        (request(*["Hello"] * 257), "FIELD_INVALID", "texts", "256"),
        (request("a" * 20_001), "FIELD_INVALID", "texts[0]", "20000"),
        (request("Hello", target_language_code=""), "FIELD_INVALID", "options.target_language_code", ""),
        (
            request("Hello", target_language_code="Spanish"),
            "FIELD_INVALID",
            "options.target_language_code",
            "",
        ),
        (
            request("Hello", target_language_code="en-GB"),
            "FIELD_INVALID",
            "options.target_language_code",
            "another language",
        ),
        (request("Hello", model="gpt"), "FIELD_INVALID", "options.model", "models/{model}"),
        (request("Hello", formality=7), "FIELD_INVALID", "options.formality", ""),
        (request("Hello", on_failure=7), "FIELD_INVALID", "options.on_failure", ""),
        (request("Hello", max_output_tokens=-1), "FIELD_INVALID", "options.max_output_tokens", ""),
        (
            request("Hello", do_not_translate=["a" * 101]),
            "FIELD_INVALID",
            "options.do_not_translate[0]",
            "100",
        ),
        (
            request("Hello", glossary=[pb.GlossaryEntry(source="a")]),
            "FIELD_INVALID",
            "options.glossary[0].target",
            "",
        ),
        (
            request("Hello", target_language_code="fr"),
            "LANGUAGE_UNSUPPORTED",
            "options.target_language_code",
            "en-es",
        ),
        (
            request("2027", source_language_code=""),
            "LANGUAGE_UNDETECTED",
            "options.source_language_code",
            "language",
        ),
    ],
)
async def test_a_wrong_request_is_refused_with_field_and_remedy(suite, wrong, reason, field, told):
    replica = await suite.start(engine())
    with pytest.raises(BadRequest) as refused:
        await replica.stub.Translate(wrong, timeout=BOUND_S)
    assert refused.value.reason == reason, refused.value
    violations = {each.field: each.description for each in refused.value.violations}
    assert list(violations) == [field]
    assert told in violations[field]
    assert not replica.engines[0].asks


async def test_a_wrong_stream_is_refused_as_a_wrong_call_is(suite):
    replica = await suite.start(engine())
    for text, options, field in (
        ("", {}, "text"),
        ("a" * 20_001, {}, "text"),
        ("Hello", {"target_language_code": "en"}, "options.target_language_code"),
        ("Hello", {"target_language_code": "fr"}, "options.target_language_code"),
    ):
        with pytest.raises(BadRequest) as refused:
            await events_of(replica.streamed(text, **options))
        assert [each.field for each in refused.value.violations] == [field]


async def test_an_engine_that_hangs_costs_no_more_than_the_deadline(suite):
    replica = await suite.start(engine(script=steps(asyncio.Event())))
    with pytest.raises(TooLate):
        await replica.translate(ENGLISH[0], timeout=0.3)
    with pytest.raises(TooLate):
        await events_of(replica.stub.StreamTranslate(stream_request(ENGLISH[0]), timeout=0.3))
    await replica.quiet()


async def test_behind_an_engine_that_hangs_the_next_one_answers_within_the_deadline(suite):
    # It may hang for two minutes: it is the call's own deadline of which a share is left to the next one.
    replica = await suite.start(engine("vllm", steps("Buenos ", asyncio.Event())), engine())
    for deadline_s in accumulate([0.3] * 7, lambda longer, _: longer * 2):
        try:
            sentence = await replica.sentence(ENGLISH[0], timeout=deadline_s)
            break
        except TooLate:
            # The machine was too busy even for an engine that answers at once.
            await replica.quiet()
    assert sentence.text == SPANISH[0]
    assert sentence.provenance.engine == "openvino"
    assert list(sentence.provenance.degradations) == ["fallback_engine"]
    await until(lambda: not replica.engines[0].live)
    assert replica.engines[0].stopped


async def test_when_an_engine_fails_midway_the_next_begins_anew_under_the_next_revision(suite):
    told = asyncio.Event()
    broken = engine("vllm", steps("Buenas tardes ", told, EngineFailed("it died")))
    replica = await suite.start(broken, engine())
    call = replica.streamed(f"{ENGLISH[0]} {ENGLISH[1]}")
    async with asyncio.timeout(BOUND_S):
        events = [await call.read()]
        told.set()
        events += [event async for event in call]
    assert events[0].delta == pb.Delta(sentence_id=1, revision=1, text="Buenas tardes")
    complete = {event.sentence.sentence_id: event.sentence for event in events if event.HasField("sentence")}
    assert [sentence.text for sentence in complete.values()] == SPANISH[:2]
    assert parts.shown(events) == {number: sentence.text for number, sentence in complete.items()}
    assert complete[1].revision == 2
    assert complete[1].provenance.model_version == VERSION
    assert list(complete[1].provenance.degradations) == ["fallback_engine"]


async def test_who_wants_no_other_beginning_gets_a_failure(suite):
    broken = engine("vllm", steps("Buenas tardes ", EngineFailed("it died")))
    replica = await suite.start(broken, engine())
    call = replica.streamed(ENGLISH[0], on_failure=pb.ON_FAILURE_FAIL)
    events = []
    with pytest.raises(Unavailable) as failed:
        async for event in call:
            events.append(event)
    assert failed.value.reason == "ENGINE_FAILED"
    assert failed.value.metadata == {"vllm": "it died"}
    assert "".join(event.delta.text for event in events) == "Buenas tardes"
    assert not replica.engines[1].asks


async def test_who_wants_no_other_beginning_still_gets_the_next_engine_where_none_was_begun(suite):
    replica = await suite.start(engine("vllm", steps(EngineFailed("it died"))), engine())
    sentence = await replica.sentence(ENGLISH[0], on_failure=pb.ON_FAILURE_FAIL)
    assert (sentence.text, sentence.revision) == (SPANISH[0], 1)


@pytest.mark.parametrize(
    "answer",
    [
        ENGLISH[3],
        "",
        "Here is the translation: " + SPANISH[3],
        GERMAN[3],
        "<|end|>",
        "我的兄弟住在海边的一座小房子里。",
    ],
)
async def test_an_answer_that_is_no_translation_is_left_to_the_next_engine(suite, answer):
    replica = await suite.start(engine("triton", steps(*([answer] if answer else []))), engine())
    sentence = await replica.sentence(ENGLISH[3])
    assert sentence.text == SPANISH[3]
    assert (sentence.provenance.engine, list(sentence.provenance.degradations)) == (
        "openvino",
        ["fallback_engine"],
    )


async def test_an_answer_with_which_something_may_be_wrong_is_given_marked_where_nobody_has_a_better_one(
    suite,
):
    long = steps(" ".join(SPANISH))
    replica = await suite.start(engine("triton", long), engine("vllm", long))
    sentence = await replica.sentence(ENGLISH[1])
    assert sentence.provenance.engine == "triton"
    assert list(sentence.provenance.degradations) == ["check_failed"]


async def test_an_engine_that_is_named_translates_or_the_call_fails(suite):
    replica = await suite.start(engine(), engine("vllm"), engine("apertium", steps(EngineFailed("it died"))))
    sentence = await replica.sentence(ENGLISH[0], model="engines/vllm")
    assert sentence.provenance == pb.Provenance(engine="vllm", model_version="engines/vllm/phrases")
    assert (await replica.sentence(ENGLISH[0], model="models/phrases")).provenance.engine == "openvino"
    assert replica.engines[0].models == ["models/phrases"]
    with pytest.raises(Unavailable) as failed:
        await replica.translate(ENGLISH[0], model="engines/apertium")
    assert failed.value.reason == "ENGINE_FAILED"
    assert failed.value.metadata == {"apertium": "it died"}
    with pytest.raises(NotFound) as missing:
        await replica.translate(ENGLISH[0], model="engines/triton")
    assert (missing.value.reason, missing.value.resource_name) == ("MODEL_UNKNOWN", "engines/triton")


async def test_the_chain_goes_down_to_who_is_up_and_up_again(suite):
    best = engine("vllm", down="it does not answer")
    replica = await suite.start(best, engine(), probe_s=0.02)
    sentence = await replica.sentence(ENGLISH[0])
    assert (sentence.provenance.engine, list(sentence.provenance.degradations)) == (
        "openvino",
        ["fallback_engine"],
    )
    assert not best.asks
    best.down = ""
    async with asyncio.timeout(BOUND_S):
        while (sentence := await replica.sentence(ENGLISH[0])).provenance.engine != "vllm":
            await parts.tick()
    assert not sentence.provenance.degradations


async def test_without_an_engine_the_process_is_not_ready_and_says_when_to_come_back(suite):
    replica = await suite.start(engine(down="it does not answer"), ready=False)
    assert not replica.server.ready()
    with pytest.raises(Unavailable) as none:
        await replica.translate(ENGLISH[0])
    assert none.value.reason == "NO_ENGINE"
    assert none.value.metadata == {"openvino": "it does not answer"}
    assert none.value.retry_after.total_seconds() > 0
