"""How to translate, over the wire: every option does what it says, or the result says that it does not."""

from __future__ import annotations

import pytest
import pytest_asyncio
import translate_suite as parts
from translate_suite import (
    BOUND_S,
    EN_ES,
    ENGLISH,
    GERMAN,
    SPANISH,
    engine,
    events_of,
    request,
    stream_request,
)

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_translate.engine import Done, FinishReason, Formality, Priority

LUNCH = pb.GlossaryEntry(source="lunch break", target="pausa del mediodía")


@pytest_asyncio.fixture
async def suite(valkey):
    async with parts.opened(valkey.url) as suite:
        yield suite


async def test_a_translation_that_gets_too_long_is_cut_and_says_so(suite):
    replica = await suite.start(engine())
    cut = await replica.sentence(ENGLISH[3], max_output_tokens=4)
    assert cut.text == "Mi hermano vive en"
    assert (cut.finish_reason, cut.completion_tokens) == (pb.FINISH_REASON_LENGTH, 4)
    assert replica.engines[0].asks[0].max_tokens == 4
    whole = await replica.sentence(ENGLISH[3])
    assert (whole.text, whole.finish_reason) == (SPANISH[3], pb.FINISH_REASON_STOP)


async def test_terms_and_phrases_come_through_letter_by_letter(suite):
    replica = await suite.start(engine())
    options = {"glossary": [LUNCH], "do_not_translate": ["Trunk & Line"]}
    text = "Please open Trunk & Line before Lunch Break tomorrow."
    sentence = await replica.sentence(text, **options)
    assert sentence.text == "Abra Trunk & Line antes de pausa del mediodía mañana, por favor."
    assert sentence.source_text == text
    assert not sentence.provenance.degradations
    (ask,) = replica.engines[0].asks
    assert ask.text == "Please open \ue000 before \ue001 tomorrow."
    events = await events_of(replica.streamed(text, **options))
    assert parts.shown(events) == {1: sentence.text}


@pytest.mark.parametrize(
    ("lost", "degradation"), [("\ue000", "phrase_not_kept"), ("\ue001", "glossary_missed")]
)
async def test_a_phrase_that_every_engine_loses_is_said_to_be(suite, lost, degradation):
    losing = engine(script=lambda ask: [parts.known(ask).replace(lost, "algo")])
    replica = await suite.start(losing)
    sentence = await replica.sentence(
        "Please open Trunk & Line before lunch break tomorrow.",
        glossary=[LUNCH],
        do_not_translate=["Trunk & Line"],
    )
    assert "algo" in sentence.text
    assert list(sentence.provenance.degradations) == [degradation]


async def test_how_the_listener_is_addressed_reaches_the_engine_and_one_that_cannot_says_so(suite):
    def plainly(ask):
        said = tuple(step for step in parts.words(ask) if isinstance(step, str))
        ignored = ("formality_ignored",) if ask.formality else ()
        return [*said, Done(FinishReason.STOP, degradations=ignored)]

    replica = await suite.start(engine(script=plainly))
    for given, meant in (
        (pb.FORMALITY_FORMAL, Formality.FORMAL),
        (pb.FORMALITY_INFORMAL, Formality.INFORMAL),
        (pb.FORMALITY_UNSPECIFIED, None),
    ):
        sentence = await replica.sentence(ENGLISH[0], formality=given)
        assert replica.engines[0].asks[-1].formality is meant
        assert list(sentence.provenance.degradations) == (["formality_ignored"] if meant else [])


async def test_the_language_of_each_text_is_told_where_it_is_not_given(suite):
    replica = await suite.start(engine())
    translations = await replica.translate(
        f"{ENGLISH[3]} {ENGLISH[4]}", f"{SPANISH[3]} {SPANISH[4]}", GERMAN[3],
        source_language_code="", target_language_code="de-AT",
    )  # fmt: skip
    german = f"{GERMAN[3]} {GERMAN[4]}"
    assert [each.translated.text for each in translations] == [german, german, GERMAN[3]]
    found = [
        [
            (sentence.source_language_code, sentence.target_language_code)
            for sentence in each.translated.sentences
        ]
        for each in translations
    ]
    assert found == [[("en", "de")] * 2, [("es", "de")] * 2, [("de", "de")]]
    (unchanged,) = translations[2].translated.sentences
    assert unchanged.provenance.engine == "none"
    assert list(unchanged.provenance.degradations) == ["already_target_language"]


async def test_a_region_makes_no_difference(suite):
    replica = await suite.start(engine())
    sentence = await replica.sentence(ENGLISH[0], source_language_code="en-GB", target_language_code="es-MX")
    assert replica.engines[0].asks[0].direction == EN_ES
    assert (sentence.source_language_code, sentence.target_language_code) == ("en", "es")


@pytest.mark.parametrize("name", ["interactive", "default", "batch"])
async def test_the_priority_of_a_call_reaches_the_engine(suite, name):
    replica = await suite.start(engine())
    metadata = (("x-trunkline-priority", name),)
    await replica.stub.Translate(request(ENGLISH[0]), timeout=BOUND_S, metadata=metadata)
    await events_of(
        replica.stub.StreamTranslate(stream_request(ENGLISH[1]), timeout=BOUND_S, metadata=metadata)
    )
    call = replica.stub.Converse(metadata=metadata)
    await parts.sent(call, [parts.config(), parts.piece(ENGLISH[2])])
    await events_of(call)
    assert [ask.priority for ask in replica.engines[0].asks] == [Priority[name.upper()]] * 3


async def test_without_a_word_on_it_who_watches_goes_before_who_does_not(suite):
    replica = await suite.start(engine())
    await replica.translate(ENGLISH[0])
    await events_of(replica.streamed(ENGLISH[1]))
    await parts.said(replica, parts.piece(ENGLISH[2]))
    expected = [Priority.DEFAULT, Priority.INTERACTIVE, Priority.INTERACTIVE]
    assert [ask.priority for ask in replica.engines[0].asks] == expected
