"""A conversation that breaks off anywhere and goes on elsewhere: the same bytes, nothing lost and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from conversation_script import (
    BOUND_S,
    CONFIG,
    Client,
    Flush,
    Here,
    Piece,
    Segment,
    StandingTime,
    Step,
    answers,
    fed,
    said_by,
    shown,
    sources,
    texts,
    until,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trunkline_hop.errors import Conflict, NotFound, Unavailable
from trunkline_local.embedded import Valkey
from trunkline_translate import conversation as module
from trunkline_translate import conversation_state
from trunkline_translate.conversation_events import Draining, Said, SentenceDelta, SentenceTranslated, Started
from trunkline_translate.engine import Formality
from trunkline_translate.redis_conversations import RedisConversations
from trunkline_translate.translation import Options, Task

FORMAL = Options("es", "en", formality=Formality.FORMAL)
TALK: tuple[Step, ...] = (
    Piece("Good mor", "1"),
    Piece("ning. How are", "2"),
    Piece(" you? I am", "3"),
    Piece(" ", "4"),
    Piece("fine", "5"),
    Flush(),
    FORMAL,
    Piece("Where is the station? It is", "6"),
    Segment("over there", "7", ends=True),
    Segment("hace frío", "8", "es"),
    CONFIG.options,
    Piece("One. Two. Three. Fo", "9"),
    Flush(),
    Piece("ur. ", "10"),
    Piece("The end", "11"),
)


@pytest.fixture
async def store(valkey: Valkey) -> AsyncIterator[RedisConversations]:
    async with RedisConversations(valkey.url, timeout_s=BOUND_S) as opened:
        yield opened


async def undisturbed(store: RedisConversations, steps: Sequence[Step]) -> list[Said]:
    client = Client(steps, Here(store), Here(store))
    assert await client.stream()
    return client.said


def check(client: Client, expected: Sequence[Said]) -> None:
    assert texts(client.said) == texts(expected)
    assert not any(after.sequence <= before.sequence for before, after in pairwise(client.said))
    revisions: dict[int, int] = {}
    for each in client.said:
        if isinstance(each.event, SentenceDelta):
            revisions[each.event.sentence_id] = each.event.partial.revision
    for answer in answers(client.said):
        assert isinstance(answer, SentenceTranslated)
        assert answer.translated.revision >= revisions.get(answer.sentence_id, 0)
    shown(client.said)
    ids = [each.text_ids for each in client.said if isinstance(each.event, SentenceTranslated)]
    assert ids == [each.text_ids for each in expected if isinstance(each.event, SentenceTranslated)]


@pytest.mark.parametrize("ahead", [1, 64])
@pytest.mark.parametrize("anchor", [True, False])
async def test_after_a_break_at_any_event_every_sentence_is_answered_once_with_the_same_bytes(
    store, monkeypatch, ahead, anchor
):
    """`ahead`: so many events the server is ahead of the client when the stream breaks off."""
    monkeypatch.setattr(module, "EVENTS_WAITING", ahead)
    expected = await undisturbed(store, TALK)
    assert len(texts(expected)) == 12
    for read in range(len(expected)):
        client = Client(TALK, Here(store), Here(store), anchor=anchor)
        await client.stream(read=read)
        assert await client.stream()
        check(client, expected)


async def test_options_before_the_first_text_are_not_taken_for_new_ones(store):
    steps = (FORMAL, Piece("One. Two", "1"), CONFIG.options, Piece("Three. Fo", "2"), Piece("ur", "3"))
    expected = await undisturbed(store, steps)
    here, there = Here(store), Here(store)
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        await fed(conversation, steps[:4], finish=False)
        said = [await anext(conversation.events())]
        while len(answers(said)) < 3:
            said.append(await anext(conversation.events()))
    async with there.conversations.resume(
        said[0].event.resume_token, last_sequence=said[-1].sequence
    ) as conversation:
        said += await said_by(conversation, steps)
    assert texts(said) == texts(expected)


async def test_options_that_come_first_on_a_stream_are_for_what_comes_after_them(store):
    here = Here(store)
    async with here.start() as conversation:
        said = await said_by(conversation, [Piece("One", "1")])
    async with here.conversations.resume(said[0].event.resume_token, last_sequence=99) as conversation:
        said = await said_by(conversation, [Options("de"), FORMAL, Piece("Two", "2")])
    assert [(task.text, task.options) for task in here.translator.tasks] == [
        ("One", CONFIG.options),
        ("Two", FORMAL),
    ]
    assert sources(said) == ["Two"]


words = st.sampled_from(
    ["Yes. ", "the cat", " sat", ". ", "? ", "No", "\n\n", " 3.5 ", "Dr. Who ", "good。", "早"]
)
texts_sent = st.lists(words, min_size=1, max_size=4).map("".join)
steps_of_a_client = st.lists(
    st.one_of(
        st.tuples(st.just("piece"), texts_sent),
        st.tuples(st.just("segment"), texts_sent, st.sampled_from(["", "en", "fr"]), st.booleans()),
        st.just(("flush",)),
        st.tuples(st.just("options"), st.sampled_from([CONFIG.options, FORMAL, Options("de")])),
    ),
    min_size=1,
    max_size=15,
)


def numbered(drawn: Sequence[tuple[object, ...]]) -> list[Step]:
    steps: list[Step] = []
    for number, (kind, *rest) in enumerate(drawn):
        match kind:
            case "piece":
                steps.append(Piece(rest[0], str(number)))
            case "segment":
                steps.append(Segment(rest[0], str(number), *rest[1:]))
            case "flush":
                steps.append(Flush())
            case _:
                steps.append(rest[0])
    return steps


@pytest.mark.parametrize("read", [1, 2, 9])
async def test_the_rest_of_a_huge_piece_is_translated_where_it_goes_on(store, read):
    steps = [Piece("A.\n" * 700, "1")]
    expected = await undisturbed(store, steps)
    client = Client(steps, Here(store), Here(store))
    await client.stream(read=read)
    assert await client.stream()
    check(client, expected)
    assert len(texts(client.said)) == 700


@example([("piece", "Yes. Yes. No")], [1], 1, False, (3, 1))
@given(
    steps_of_a_client,
    st.lists(st.integers(0, 12), min_size=1, max_size=4),
    st.sampled_from([1, 64]),
    st.booleans(),
    st.sampled_from([(conversation_state.STEP, module.AHEAD), (3, 1)]),
)
@settings(
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_however_often_it_breaks_off_the_answers_are_the_same(valkey, drawn, breaks, ahead, anchor, step):
    """`step`: how much of a text is looked at at once, and how many sentences of it may wait."""
    steps = numbered(drawn)

    async def run() -> None:
        async with RedisConversations(valkey.url, timeout_s=BOUND_S) as store:
            expected = await undisturbed(store, steps)
            client = Client(steps, Here(store), Here(store), anchor=anchor)
            over = False
            for read in breaks:
                over = over or await client.stream(read=read)
            assert over or await client.stream()
            check(client, expected)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "EVENTS_WAITING", ahead)
        patched.setattr(conversation_state, "STEP", step[0])
        patched.setattr(module, "AHEAD", step[1])
        asyncio.run(run())


@given(steps_of_a_client, st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), max_size=6))
@settings(max_examples=settings.default.max_examples // 2, suppress_health_check=[HealthCheck.too_slow])
def test_texts_that_come_twice_make_no_difference(drawn, again):
    """At most one of them between two that are new."""
    steps = numbered(drawn)
    twice: list[Step] = []
    between = False
    for number, step in enumerate(steps):
        known = [each for each in twice if isinstance(each, Piece | Segment)]
        between = between and not isinstance(step, Piece | Segment)
        places = [which for place, which in again if place == number]
        if known and places and not between:
            twice.append(known[places[0] % len(known)])
            between = not isinstance(step, Piece | Segment)
        twice.append(step)

    async def answered(sent: Sequence[Step]) -> list[tuple[int, str, str]]:
        async with Here().start() as conversation:
            return texts(await said_by(conversation, sent))

    async def run() -> None:
        assert await answered(twice) == await answered(steps)

    asyncio.run(run())


async def test_what_was_taken_is_translated_though_nobody_sends_it_again(store):
    here, there = Here(store), Here(store)

    async def forever(task: Task) -> None:
        await asyncio.Event().wait()

    here.translator.between = forever
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        events = conversation.events()
        started = await anext(events)
        await conversation.piece("One. Two. And", "1")
        delta = await anext(events)
        assert isinstance(delta.event, SentenceDelta) and delta.event.partial.revision == 1
    async with there.conversations.resume(
        started.event.resume_token, last_sequence=delta.sequence
    ) as conversation:
        said = await said_by(conversation, [])
    assert sources(said) == ["One.", "Two.", "And"]
    again = [each.event.partial.revision for each in said if isinstance(each.event, SentenceDelta)]
    assert again[0] > delta.event.partial.revision and again[-1] == 1
    assert [each.source for each in there.translator.tasks[2].context] == ["One.", "Two."]


async def test_answers_that_were_lost_are_given_again_with_their_old_numbers(store):
    here = Here(store)
    async with here.start() as conversation:
        said = await said_by(conversation, [Piece("One. Two. Three.", "1")])
    given_answers = [each for each in said if isinstance(each.event, SentenceTranslated)]
    token = said[0].event.resume_token
    for first in range(4):
        last = given_answers[first - 1].sequence if first else 1
        async with here.conversations.resume(token, last_sequence=last) as conversation:
            again = await said_by(conversation, [Piece("One. Two. Three.", "1")])
        assert again[0].sequence == last
        assert again[0].event == Started(said[0].event.session_id, token, True, again[0].event.expires)
        assert again[1:] == given_answers[first:]
    assert len(here.translator.tasks) == 3


async def test_a_drained_conversation_goes_on_on_another_replica(store):
    time = StandingTime()
    here, there = Here(store, time=time), Here(store, time=time)

    async def forever(task: Task) -> None:
        if task.text == "Two.":
            await asyncio.Event().wait()

    here.translator.between = forever
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        events = conversation.events()
        said = [await anext(events)]
        await conversation.piece("One. Two. Three. An", "1")
        while not (isinstance(said[-1].event, SentenceDelta) and said[-1].event.sentence_id == 2):
            said.append(await anext(events))
        conversation.drain()
        await until(lambda: time.asleep == 2)
        time.advance(module.LEAVE_S)
        said += [each async for each in events]
    assert said[-1].event == Draining(said[0].event.resume_token)
    assert sources(said) == ["One."] and here.translator.open == 0
    async with there.conversations.resume(
        said[-1].event.resume_token, last_sequence=said[-1].sequence
    ) as conversation:
        rest = await said_by(conversation, [Piece("d so on.", "2")])
    assert sources(rest) == ["Two.", "Three.", "And so on."]
    assert texts(said + rest) == texts(
        await undisturbed(store, [Piece("One. Two. Three. An", "1"), Piece("d so on.", "2")])
    )


async def test_a_server_that_goes_translates_what_is_complete_first(store):
    here = Here(store)
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        await fed(conversation, [Piece("One. Two. An", "1")], finish=False)
        conversation.drain()
        said = [each async for each in conversation.events()]
    assert sources(said) == ["One.", "Two."]
    assert isinstance(said[-1].event, Draining)


async def test_a_stream_whose_conversation_was_resumed_elsewhere_ends(store):
    here, there = Here(store), Here(store)
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        events = conversation.events()
        started = await anext(events)
        async with there.conversations.resume(started.event.resume_token, last_sequence=1):
            with pytest.raises(Conflict) as caught:
                await conversation.piece("One. Two.", "1")
                async for each in events:
                    assert not isinstance(each.event, SentenceTranslated | SentenceDelta)
    assert caught.value.reason == "SESSION_MOVED"
    assert not here.translator.tasks


async def test_a_silent_stream_whose_conversation_was_resumed_elsewhere_ends_as_well(valkey):
    async with RedisConversations(valkey.url, ttl_s=2.0, timeout_s=BOUND_S) as store:
        here, there = Here(store), Here(store)
        async with here.start() as conversation, asyncio.timeout(BOUND_S):
            events = conversation.events()
            started = await anext(events)
            async with there.conversations.resume(started.event.resume_token, last_sequence=1):
                with pytest.raises(Conflict):
                    async for _ in events:
                        pass


async def test_what_nobody_knows_cannot_be_resumed(store):
    for replica in (Here(store), Here(None)):
        with pytest.raises(NotFound) as caught:
            async with replica.conversations.resume("unknown", last_sequence=0):
                pass
        assert caught.value.reason == "SESSION_UNKNOWN"
        assert replica.conversations.live == 0


async def test_what_was_long_over_is_forgotten(valkey):
    async with RedisConversations(valkey.url, ttl_s=0.001, timeout_s=BOUND_S) as store:
        here = Here(store)
        async with here.start() as conversation:
            said = await said_by(conversation, [])
        token = said[0].event.resume_token
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    # Only who is late is refused: one that comes in time keeps it from being forgotten.
                    async with here.conversations.resume(token, last_sequence=1):
                        pass
                except NotFound as gone:
                    assert gone.reason == "SESSION_UNKNOWN"
                    break


async def test_a_resume_while_the_store_is_down_may_be_tried_again(tmp_path):
    own = Valkey(tmp_path / "own", persistent=False)
    await own.start()
    async with RedisConversations(own.url, timeout_s=BOUND_S) as store:
        await own.kill()
        with pytest.raises(Unavailable) as caught:
            async with Here(store).conversations.resume("t", last_sequence=0):
                pass
    await own.stop()
    assert caught.value.reason == "STORE_UNREACHABLE" and caught.value.retry_after is not None
