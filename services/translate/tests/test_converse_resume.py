"""Conversations over the wire that outlive streams, replicas and stores."""

from __future__ import annotations

import asyncio
from itertools import cycle

import pytest
import pytest_asyncio
import translate_suite as parts
from redis.asyncio import Redis
from translate_suite import (
    BOUND_S,
    ENGLISH,
    change,
    config,
    engine,
    events_of,
    flush,
    held,
    kinds,
    piece,
    remembering,
    resume,
    said,
    sentences,
    sources,
    speaking,
    texts,
    until,
)

from trunkline_hop.errors import Conflict, NotFound, Unavailable
from trunkline_local.embedded import Valkey
from trunkline_translate.engine import EngineFailed
from trunkline_valkey import keeper

LOST = "Nobody translates this today."
TEXT = f"{ENGLISH[0]} {ENGLISH[1]} {LOST} {ENGLISH[2]} {ENGLISH[3]}"
TALK = [
    piece(TEXT[:20], "a"),
    piece(TEXT[20:100], "b"),
    piece(TEXT[100:], "c"),
    flush(),
    change(target_language_code="de"),
    piece(ENGLISH[4], "d"),
    flush(),
    piece(ENGLISH[0], "e"),
]
"""What a client says, and says again after a break: text, how to translate it, and ends of sentences."""


def script(ask):
    if ask.text == LOST:
        return [EngineFailed("it is full", counts=False)]
    return remembering(ask)


@pytest_asyncio.fixture
async def suite(valkey):
    async with parts.opened(valkey.url) as suite:
        yield suite


@pytest_asyncio.fixture
async def one(suite):
    return await suite.start(engine(script=script), name="one")


@pytest_asyncio.fixture
async def two(suite):
    return await suite.start(engine(script=script), name="two")


def outcomes(events):
    """What became of each sentence, once."""
    answers = [event for event in events if event.HasField("sentence") or event.HasField("sentence_failed")]
    failed = [event.sentence_failed for event in answers if event.HasField("sentence_failed")]
    numbers = [event.sentence.sentence_id or event.sentence_failed.sentence_id for event in answers]
    assert numbers == list(range(1, len(numbers) + 1))
    return sentences(events), failed


async def again(replica, token, last):
    """All that a conversation says that goes on, and to which everything is said again."""
    return await said(replica, *TALK, first=resume(token, last))


async def test_after_a_break_at_any_event_another_replica_goes_on_with_the_same_bytes(one, two):
    undisturbed = await said(one, *TALK)
    assert len(sentences(undisturbed)) == 6
    for count in range(1, len(undisturbed) + 1):
        async with speaking(one, config(), *TALK) as call:
            events = [await call.read() for _ in range(count)]
        rest = await again(two, events[0].started.resume_token, events[-1].sequence)
        assert rest[0].started.resumed
        assert rest[0].started.session_id == events[0].started.session_id
        assert rest[0].sequence == events[-1].sequence
        numbers = [event.sequence for event in events + rest[1:]]
        assert numbers == sorted(set(numbers))
        assert outcomes(events + rest) == outcomes(undisturbed), count
        parts.shown(events + rest)
        texts_of = {each.sentence_id: each.text for each in sentences(rest)}
        assert {number: texts_of[number] for number in parts.shown(rest)} == parts.shown(rest)


async def test_a_conversation_that_breaks_off_again_and_again_loses_nothing(one, two):
    undisturbed = await said(one, *TALK)
    async with speaking(one, config(), *TALK) as call:
        events = [await call.read()]
    token, replicas = events[0].started.resume_token, cycle((two, one))
    for replica in replicas:
        async with speaking(replica, resume(token, events[-1].sequence), *TALK) as call:
            assert (await call.read()).started.resumed
            # Up to the next sentence: one more is there after every break.
            async for event in call:
                events.append(event)
                if not event.HasField("delta"):
                    break
            else:
                break
    assert outcomes(events) == outcomes(undisturbed)


async def test_who_got_nothing_of_it_gets_every_answer_again(one, two):
    events = await said(one, *TALK)
    repeated = await again(two, events[0].started.resume_token, 0)
    assert outcomes(repeated) == outcomes(events)
    told = {event.sequence: event for event in events}
    assert all(told[event.sequence] == event for event in repeated[1:])
    assert not sources(await again(one, events[0].started.resume_token, events[-1].sequence))


async def test_a_sentence_that_was_in_the_making_is_made_anew_elsewhere(suite, two):
    held_up = await suite.start(engine(script=held(asyncio.Event(), script)), name="held")
    async with speaking(held_up, config(), *TALK) as call:
        events = [await call.read(), await call.read()]
        assert kinds(events) == ["started", "delta"]
    rest = await again(two, events[0].started.resume_token, events[-1].sequence)
    assert outcomes(events + rest) == outcomes(await said(two, *TALK))
    (first,) = [event.sentence for event in rest if event.sentence.sentence_id == 1]
    # What the client has of it comes under a lower revision: it discards that.
    assert first.revision > events[1].delta.revision
    assert parts.shown(events + rest)[1] == first.text


@pytest.mark.parametrize("count", [1, 2])
async def test_a_replica_that_stops_says_how_to_go_on_elsewhere(suite, two, count):
    leaving = await suite.start(engine(script=script), name="leaving")
    async with leaving.stream(config()) as call, asyncio.timeout(BOUND_S):
        for message in TALK[:count]:
            await call.write(message)
        events = [await call.read()]
        if count == 2:
            while not events[-1].HasField("sentence"):
                events.append(await call.read())
        stopping = asyncio.create_task(suite.stop("leaving"))
        events += [event async for event in call]
        await stopping
    assert kinds(events)[-1] == "draining"
    assert events[-1].draining.resume_token == events[0].started.resume_token
    assert not leaving.conversations.live
    rest = await again(two, events[-1].draining.resume_token, events[-1].sequence)
    assert outcomes(events + rest) == outcomes(await said(two, *TALK))


async def test_a_replica_that_stops_finishes_the_sentence_that_it_is_at(suite, two):
    go_on = asyncio.Event()
    leaving = await suite.start(engine(script=held(go_on, script)), name="leaving")
    async with leaving.stream(config()) as call, asyncio.timeout(BOUND_S):
        await call.write(piece(f"{ENGLISH[0]} And then", "a"))
        events = [await call.read() for _ in range(2)]
        stopping = asyncio.create_task(suite.stop("leaving"))
        await leaving.server.draining.wait()
        go_on.set()
        events += [event async for event in call]
        await stopping
    assert sources(events) == [ENGLISH[0]]
    assert kinds(events)[-1] == "draining"
    token, last = events[-1].draining.resume_token, events[-1].sequence
    rest = await said(two, piece(" nothing.", "b"), first=resume(token, last))
    assert [event.sentence_failed.source_text for event in rest if event.HasField("sentence_failed")] == [
        "And then nothing."
    ]


async def test_who_is_done_is_not_told_to_go_on(suite):
    leaving = await suite.start(engine(script=script), name="leaving")
    events = await said(leaving, *TALK)
    await suite.stop("leaving")
    assert "draining" not in kinds(events)


@pytest.mark.parametrize("token", ["nonsense", "x" * 128])
async def test_a_token_that_nobody_knows_is_refused(one, token):
    with pytest.raises(NotFound) as missing:
        await said(one, first=resume(token))
    assert missing.value.reason == "SESSION_UNKNOWN"
    await one.quiet()


async def test_a_conversation_is_forgotten_in_its_time(one, valkey):
    events = await said(one, *TALK)
    await one.quiet()
    async with Redis.from_url(valkey.url) as store:
        lives = [await store.pttl(key) async for key in store.scan_iter("*translate:*")]
        assert lives
        assert all(0 < life <= 600_000 for life in lives)
        await store.flushdb()
    with pytest.raises(NotFound, match="SESSION_UNKNOWN"):
        await said(one, first=resume(events[0].started.resume_token, 1))


async def test_a_conversation_that_was_resumed_elsewhere_ends_where_it_was(one, two):
    async with one.stream(config()) as call, asyncio.timeout(BOUND_S):
        token = (await call.read()).started.resume_token
        await again(two, token, 1)
        with pytest.raises(Conflict) as moved:
            # No more than that: what is written while a status comes hides it.
            await call.write(TALK[0])
            await events_of(call)
    assert moved.value.reason == "SESSION_MOVED"
    await one.quiet()


async def restored(call, events):
    """Reads events up to the one that says that the conversation can be resumed again."""
    while events[-1].WhichOneof("event") != "degraded" or events[-1].degraded.active:
        events.append(await call.read())


async def test_a_store_that_goes_and_comes_back_costs_no_sentence_and_is_told_of(
    suite, one, tmp_path, monkeypatch
):
    monkeypatch.setattr(keeper, "RETRY_S", 0.01)
    store = Valkey(tmp_path / "valkey", persistent=False)
    await store.start()
    replica = await suite.start(engine(script=script), name="stored", redis_url=store.url)
    try:
        async with replica.stream(config()) as call, asyncio.timeout(BOUND_S):
            events = [await call.read()]
            assert events[0].started.resume_token
            await store.stop()
            await call.write(TALK[0])
            while not events[-1].HasField("degraded"):
                events.append(await call.read())
            assert events[-1].degraded.degradation == "session_not_kept"
            assert events[-1].degraded.active
            assert events[-1].degraded.message
            with pytest.raises(Unavailable) as down:
                await said(replica, first=resume(events[0].started.resume_token, 1))
            assert down.value.reason == "STORE_UNREACHABLE"
            await call.write(TALK[1])
            while not events[-1].HasField("sentence"):
                events.append(await call.read())
            assert list(events[-1].sentence.provenance.degradations) == ["session_not_kept"]
            await store.start()
            reading = asyncio.create_task(restored(call, events))
            while not reading.done():
                # The store is asked again when somebody says something, were it for the second time.
                await call.write(TALK[1])
                await parts.tick()
            await reading
            await parts.sent(call, TALK[2:])
            events += [event async for event in call]
        undisturbed = await said(one, *TALK)
        assert texts(events) == texts(undisturbed)
        assert not events[-1].sentence.provenance.degradations
        # What it is now is in the store again.
        rest = await again(replica, events[0].started.resume_token, events[-1].sequence)
        assert kinds(rest) == ["started"]
        await until(lambda: not replica.conversations.live)
    finally:
        await suite.stop("stored")
        await store.stop()
