"""Conversations over the wire: text as it comes, sentence by sentence."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import pytest_asyncio
import translate_suite as parts
from google.protobuf.duration_pb2 import Duration
from translate_suite import (
    BOUND_S,
    DIGEST,
    ENGLISH,
    GERMAN,
    SPANISH,
    VERSION,
    change,
    config,
    engine,
    events_of,
    flush,
    held,
    kinds,
    piece,
    remembering,
    said,
    segment,
    sentences,
    sources,
    speaking,
    steps,
    texts,
    until,
)

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_hop.errors import BadRequest, NotFound, Overloaded
from trunkline_translate.engine import EngineFailed

TEXT = " ".join(ENGLISH)


@pytest_asyncio.fixture
async def suite(valkey):
    async with parts.opened(valkey.url) as suite:
        yield suite


def cut(text, size):
    """Pieces of a text, with ids."""
    return [piece(text[start : start + size], f"p{start}") for start in range(0, len(text), size)]


async def test_a_conversation_says_how_to_resume_it_and_translates_what_comes(suite):
    replica = await suite.start(engine())
    before = datetime.now(UTC)
    events = await said(replica, piece(f"{ENGLISH[0]} {ENGLISH[1]}", "a"))
    started = events[0].started
    assert started.session_id
    assert len(started.resume_token) >= 32
    assert not started.resumed
    assert started.expire_time.ToDatetime(UTC) > before
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert parts.shown(events) == {1: SPANISH[0], 2: SPANISH[1]}
    answers = [event for event in events if event.HasField("sentence")]
    assert [list(answer.text_ids) for answer in answers] == [["a"], ["a"]]
    assert answers[1].sentence == pb.Sentence(
        sentence_id=2,
        source_text=ENGLISH[1],
        text=SPANISH[1],
        source_language_code="en",
        target_language_code="es",
        revision=1,
        provenance=pb.Provenance(engine="openvino", model_version=VERSION, digest=DIGEST, device="CPU"),
        finish_reason=pb.FINISH_REASON_STOP,
        prompt_tokens=len(ENGLISH[1].split()),
        completion_tokens=len(SPANISH[1].split()),
        context_used=True,
    )
    await replica.quiet()


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
async def test_however_a_text_is_cut_the_sentences_are_the_same(suite, size):
    replica = await suite.start(engine(script=remembering))
    whole = await said(replica, piece(TEXT))
    assert sources(whole) == ENGLISH
    events = await said(replica, *cut(TEXT, size))
    assert sentences(events) == sentences(whole)
    of = {event.sentence.sentence_id: event.text_ids for event in events if event.HasField("sentence")}
    for number, ids in of.items():
        start = TEXT.index(ENGLISH[number - 1])
        end = start + len(ENGLISH[number - 1])
        places = [place for place in range(0, len(TEXT), size) if place < end and place + size > start]
        # A piece of white space belongs to the sentence behind it.
        places = [start - 1] * (size == 1 and number > 1) + places
        assert [int(each.removeprefix("p")) for each in ids] == places


async def test_a_sentence_is_answered_when_it_is_complete_and_not_when_the_stream_ends(suite):
    replica = await suite.start(engine())
    async with replica.stream(config()) as call, asyncio.timeout(BOUND_S):
        for sentence, translation in zip(ENGLISH, SPANISH, strict=True):
            # A full stop alone may be one of a number: what follows shows that it ends a sentence.
            await call.write(piece(f"{sentence} "))
            await call.write(flush())
            while not (event := await call.read()).HasField("sentence"):
                pass
            assert (event.sentence.source_text, event.sentence.text) == (sentence, translation)
    await replica.quiet()


async def test_what_waits_is_a_sentence_at_a_flush_and_at_the_end(suite):
    replica = await suite.start(engine(script=steps("Algo")))
    events = await said(replica, piece("good "), piece("morning"), flush(), flush(), piece(" my friends"))
    assert sources(events) == ["good morning", "my friends"]
    assert kinds(events)[-1] == "sentence"


async def test_what_waits_is_a_sentence_after_a_pause(suite):
    replica = await suite.start(engine(script=steps("Algo")))
    async with replica.stream(config(pause=parts.seconds(0.1))) as call, asyncio.timeout(BOUND_S):
        await call.write(piece("good morning"))
        while not (event := await call.read()).HasField("sentence"):
            pass
        assert event.sentence.source_text == "good morning"
        await call.done_writing()
        assert not [event async for event in call]


async def test_a_sentence_that_gets_too_long_is_cut(suite):
    replica = await suite.start(engine(script=steps("Algo")))
    words = "one and two and three and four and five and six and seven and eight"
    events = await said(replica, *cut(words, 5), first=config(max_sentence_length=20))
    assert len(sources(events)) > 3
    assert all(len(source) <= 20 for source in sources(events))
    assert " ".join(sources(events)) == words


async def test_segments_are_put_together_to_sentences(suite):
    replica = await suite.start(engine())
    first, second = ENGLISH[3].rsplit(" ", 5)[0], " ".join(ENGLISH[3].rsplit(" ", 5)[1:])
    events = await said(
        replica,
        segment(first, "a"),
        segment(f"{second} {ENGLISH[4][:8]}", "b"),
        segment(ENGLISH[4][8:].strip(), "c", end_of_utterance=True),
        segment("Guten Morgen", "d", language_code="de"),
        segment("und willkommen am Bahnhof.", "e", language_code="de-DE"),
        segment(ENGLISH[2], "f"),
    )
    assert [(each.source_language_code, each.source_text, each.text) for each in sentences(events)] == [
        ("en", ENGLISH[3], SPANISH[3]),
        ("en", ENGLISH[4], SPANISH[4]),
        ("de", GERMAN[0], SPANISH[0]),
        ("en", ENGLISH[2], SPANISH[2]),
    ]
    ids = [list(event.text_ids) for event in events if event.HasField("sentence")]
    assert ids == [["a", "b"], ["b", "c"], ["d", "e"], ["f"]]


async def test_the_language_of_each_sentence_is_told_where_it_is_not_given(suite):
    replica = await suite.start(engine())
    events = await said(
        replica,
        piece(f"{ENGLISH[3]} "),
        piece(f"{SPANISH[4]} "),
        piece(GERMAN[3]),
        first=config({"source_language_code": "", "target_language_code": "de"}),
    )
    assert [(each.source_language_code, each.text) for each in sentences(events)] == [
        ("en", GERMAN[3]),
        ("es", GERMAN[4]),
        ("de", GERMAN[3]),
    ]
    assert list(sentences(events)[2].provenance.degradations) == ["already_target_language"]


async def test_options_hold_for_what_comes_after_them(suite):
    replica = await suite.start(engine(), engine("vllm"))
    events = await said(
        replica,
        piece(ENGLISH[0]),
        change(target_language_code="de"),
        piece(ENGLISH[1]),
        change(model="engines/vllm", formality=pb.FORMALITY_FORMAL),
        piece(ENGLISH[2]),
    )
    assert [(each.target_language_code, each.text) for each in sentences(events)] == [
        ("es", SPANISH[0]),
        ("de", GERMAN[1]),
        ("es", SPANISH[2]),
    ]
    assert [each.provenance.engine for each in sentences(events)] == ["openvino", "openvino", "vllm"]
    # Context is of the same direction only.
    assert [each.context_used for each in sentences(events)] == [False, False, True]
    assert replica.engines[1].asks[0].context[0].target == SPANISH[0]


async def test_text_that_comes_twice_is_taken_once(suite):
    replica = await suite.start(engine())
    half = len(TEXT) // 2
    events = await said(
        replica,
        piece(TEXT[:half], "a"),
        piece(TEXT[:half], "a"),
        piece(TEXT[half:], "b"),
        piece(TEXT[:half], "a"),
        segment("And again.", "b"),
    )
    assert sources(events) == ENGLISH
    assert len(await said(replica, piece(ENGLISH[0]), piece(f" {ENGLISH[0]}"))) > 2


async def test_a_sentence_that_fails_says_why_and_the_conversation_goes_on_without_it(suite):
    lost = "Nobody translates this today."

    def script(ask):
        return [EngineFailed("it is full", counts=False)] if ask.text == lost else parts.words(ask)

    replica = await suite.start(engine(script=script))
    events = await said(replica, piece(f"{ENGLISH[0]} {lost} ", "a"), piece(ENGLISH[1], "b"))
    assert texts(events) == [SPANISH[0], SPANISH[1]]
    (failed,) = [event for event in events if event.HasField("sentence_failed")]
    assert (failed.sentence_failed.sentence_id, failed.sentence_failed.source_text) == (2, lost)
    failure = failed.sentence_failed.failure
    assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "SHED")
    assert failure.message
    assert list(failed.text_ids) == ["a"]
    assert [each.source for each in replica.engines[0].asks[-1].context] == [ENGLISH[0]]


@pytest.mark.parametrize(
    ("options", "text", "code", "reason"),
    [
        ({"target_language_code": "fr"}, ENGLISH[0], "INVALID_ARGUMENT", "LANGUAGE_UNSUPPORTED"),
        ({"source_language_code": ""}, "2027.", "INVALID_ARGUMENT", "LANGUAGE_UNDETECTED"),
        ({"model": "engines/triton"}, ENGLISH[0], "NOT_FOUND", "MODEL_UNKNOWN"),
        ({}, "It breaks.", "UNAVAILABLE", "NO_ENGINE"),
        ({}, "It says nothing.", "UNAVAILABLE", "TRANSLATION_REJECTED"),
        ({"on_failure": pb.ON_FAILURE_FAIL}, "It dies.", "UNAVAILABLE", "ENGINE_FAILED"),
    ],
)
async def test_whatever_a_sentence_fails_of_the_stream_does_not(suite, options, text, code, reason):
    scripts = {
        "It breaks.": steps(RuntimeError("/secret/path")),
        "It says nothing.": steps(),
        "It dies.": steps("Se muere", EngineFailed("it died")),
    }
    replica = await suite.start(engine(script=lambda ask: scripts.get(ask.text, parts.words)(ask)))
    events = await said(replica, piece(text), flush(), change(), piece(ENGLISH[1]), first=config(options))
    (failed,) = [event.sentence_failed for event in events if event.HasField("sentence_failed")]
    assert (failed.failure.code, failed.failure.reason) == (code, reason)
    assert "secret" not in failed.failure.message
    assert texts(events) == [SPANISH[1]]


async def test_a_sentence_that_takes_too_long_fails_and_the_next_one_is_translated(suite):
    hangs = "This one hangs."
    script = lambda ask: [asyncio.Event()] if ask.text == hangs else parts.words(ask)  # noqa: E731
    replica = await suite.start(engine(script=script))
    first = config(sentence_timeout=parts.seconds(3))
    events = await said(replica, piece(f"{hangs} {ENGLISH[1]}"), first=first)
    (failed,) = [event.sentence_failed for event in events if event.HasField("sentence_failed")]
    assert (failed.failure.code, failed.failure.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert texts(events) == [SPANISH[1]]
    assert replica.engines[0].stopped == 1


async def test_a_sentence_whose_engine_dies_midway_begins_anew_with_the_next_one(suite):
    told = asyncio.Event()
    broken = engine("vllm", steps("Buenas tardes ", told, EngineFailed("it died")))
    replica = await suite.start(broken, engine())
    async with speaking(replica, config(), piece(ENGLISH[0])) as call:
        events = [await call.read(), await call.read()]
        told.set()
        events += [event async for event in call]
    assert events[1].delta == pb.Delta(sentence_id=1, revision=1, text="Buenas tardes")
    (complete,) = [event.sentence for event in events if event.HasField("sentence")]
    assert (complete.text, complete.revision) == (SPANISH[0], 2)
    assert complete.provenance.engine == "openvino"
    assert list(complete.provenance.degradations) == ["fallback_engine"]
    assert parts.shown(events) == {1: SPANISH[0]}


async def test_half_closing_gets_everything_in_flight(suite):
    go_on = asyncio.Event()
    replica = await suite.start(engine(script=held(go_on)))
    async with speaking(replica, config(), piece(TEXT)) as call:
        events = [await call.read() for _ in range(2)]
        go_on.set()
        events += [event async for event in call]
    assert texts(events) == SPANISH


async def test_a_conversation_without_text_ends_well(suite):
    replica = await suite.start(engine())
    assert kinds(await said(replica)) == ["started"]
    assert kinds(await said(replica, piece("  \n "), flush())) == ["started"]


async def test_who_wants_whole_sentences_only_gets_no_pieces(suite):
    replica = await suite.start(engine())
    events = await said(replica, piece(TEXT), first=config(final_only=True))
    assert kinds(events) == ["started"] + ["sentence"] * 5
    assert texts(events) == SPANISH


async def test_conversations_at_once_do_not_mix(suite):
    replica = await suite.start(engine(script=remembering))
    sizes = (3, 11, 40)
    rotated = [" ".join(ENGLISH[turn:] + ENGLISH[:turn]) for turn in range(3)]
    alone = [sentences(await said(replica, piece(text))) for text in rotated]
    together = await asyncio.gather(
        *(said(replica, *cut(text, size)) for text, size in zip(rotated, sizes, strict=True))
    )
    assert [sentences(events) for events in together] == alone


async def test_a_client_that_goes_away_after_any_event_leaves_nothing(suite):
    replica = await suite.start(engine())
    events = await said(replica, *cut(TEXT, 30))
    await replica.quiet()
    before = parts.tasks()
    for count in range(0, len(events) + 1, 2):
        async with speaking(replica, config(), *cut(TEXT, 30)) as call:
            for _ in range(count):
                await call.read()
        await replica.quiet()
    await until(lambda: not parts.tasks() - before)
    assert texts(await said(replica, piece(TEXT))) == SPANISH


async def test_a_client_that_goes_away_stops_the_engine(suite):
    replica = await suite.start(engine(script=held(asyncio.Event())))
    async with speaking(replica, config(), piece(TEXT)) as call:
        while not (await call.read()).HasField("delta"):
            pass
        assert replica.engines[0].live == 1
    await replica.quiet()
    assert (replica.engines[0].stopped, len(replica.engines[0].asks)) == (1, 1)


WRONG = {
    "text first": ([piece("Hello")], "request"),
    "options first": ([change()], "request"),
    "a flush first": ([flush()], "request"),
    "nothing": ([], "request"),
    "an empty message": ([pb.ConverseRequest()], "request"),
    "an empty message later": ([config(), pb.ConverseRequest()], "request"),
    "a second config": ([config(), config()], "config"),
    "a resumption later": ([config(), parts.resume("x")], "resume"),
    "no token": ([parts.resume("")], "resume.resume_token"),
    "a sequence below zero": ([parts.resume("x", -1)], "resume.last_sequence"),
    "no options": ([pb.ConverseRequest(config=pb.ConverseConfig())], "config.options"),
    "no target": ([config({"target_language_code": ""})], "config.options.target_language_code"),
    "one language": ([config({"target_language_code": "en-GB"})], "config.options.target_language_code"),
    "a pause of an hour": ([config(pause=parts.seconds(3600))], "config.pause"),
    "a pause beyond all time": ([config(pause=Duration(seconds=2**62))], "config.pause"),
    "no patience": ([config(sentence_timeout=parts.seconds(0))], "config.sentence_timeout"),
    "a sentence without end": ([config(max_sentence_length=2001)], "config.max_sentence_length"),
    "one language later": ([config(), change(target_language_code="en")], "options.target_language_code"),
    "an empty piece": ([config(), piece("")], "piece.text"),
    "a long id": ([config(), piece("Hello", "a" * 65)], "piece.piece_id"),
    "a language that is none": (
        [config(), segment("Hello", language_code="English")],
        "segment.language_code",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_ends_the_stream_with_field_and_remedy(suite, what):
    messages, field = WRONG[what]
    replica = await suite.start(engine())
    with pytest.raises(BadRequest) as refused:
        async with speaking(replica, *messages) as call:
            await events_of(call)
    assert refused.value.reason == "FIELD_INVALID", refused.value
    assert [each.field for each in refused.value.violations] == [field]
    assert refused.value.message
    await replica.quiet()


async def test_over_capacity_a_conversation_is_refused_with_a_time_to_come_back(suite):
    replica = await suite.start(engine(), max_conversations=1)
    async with replica.stream(config()) as call, asyncio.timeout(BOUND_S):
        await call.read()
        with pytest.raises(Overloaded) as full:
            await said(replica)
        assert full.value.reason == "SHED"
        assert full.value.retry_after.total_seconds() > 0
    await replica.quiet()
    assert kinds(await said(replica)) == ["started"]


async def test_without_a_store_conversations_run_and_cannot_be_resumed(suite):
    replica = await suite.start(engine(), redis_url="")
    events = await said(replica, piece(TEXT))
    assert texts(events) == SPANISH
    assert not events[0].started.resume_token
    assert not events[0].started.HasField("expire_time")
    assert not any(each.provenance.degradations for each in sentences(events))
    with pytest.raises(NotFound, match="SESSION_UNKNOWN"):
        await said(replica, first=parts.resume("x" * 32))
