"""Conversations in the real store, and without it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conversation_script import (
    BOUND_S,
    CONFIG,
    SCRIPT,
    Client,
    Flush,
    Here,
    Piece,
    Segment,
    Step,
    answers,
    said_by,
    texts,
    turn,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from redis.asyncio import Redis

from trunkline_hop.errors import NotFound
from trunkline_local.embedded import Valkey
from trunkline_translate.context import Remembered
from trunkline_translate.conversation import LAPSE, SESSION_NOT_KEPT
from trunkline_translate.conversation_events import (
    Degraded,
    Said,
    SentenceFailed,
    SentenceTranslated,
    Started,
)
from trunkline_translate.conversation_state import ConversationState
from trunkline_translate.engine import Exchange, FinishReason, Formality
from trunkline_translate.inbox import Text
from trunkline_translate.incoming import Pending
from trunkline_translate.language import Direction
from trunkline_translate.redis_conversations import RedisConversations
from trunkline_translate.sentences import Sentences
from trunkline_translate.snapshot import KEPT, ConversationConfig, ConversationStore, Snapshot, Waiting
from trunkline_translate.translation import Options, Task, Translated
from trunkline_valkey import Kept, StoreDown, keeper

NOW = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
OPTIONS = Options(
    "de", "en", "models/m", Formality.INFORMAL, (("a", "ä"),), ("naïve",), max_tokens=3, restart=False
)
SNAPSHOT = Snapshot(
    session_id="s",
    config=ConversationConfig(OPTIONS, 0.5, 200, 3.0, final_only=True),
    sequence=7,
    next_sentence=4,
    pending=Pending("Wie ge", "de", (("", 4), ("5", 2))),
    rest=Text("ht es dir?", "5", "de", ends=True, more=True),
    waiting=(Waiting(3, "Ja.", "", ("3", "4"), 1, NOW),),
    asked=((1, OPTIONS), (2, Options("es"))),
    remembered=(Remembered(Direction("en", "de"), Exchange("one", "eins"), NOW),),
    language="en",
    text_ids=("3", "4", "5"),
    last_text_id="5",
    answered=(4, 6),
)
ANSWERS = [
    Said(
        4,
        SentenceTranslated(
            1,
            "one",
            Translated("eins", "en", "de", 2, SCRIPT, FinishReason.LENGTH, 5, 6, True, ("context_dropped",)),
        ),
        ("1", "2"),
    ),
    Said(6, SentenceFailed(2, "two", "UNAVAILABLE", "NO_ENGINE", "nobody is up"), ("2",)),
]
STEPS: tuple[Step, ...] = (
    Piece("Good morning. How", "1"),
    Piece(" are you? I", "2"),
    Segment("am fine", "3", ends=True),
    Piece("One. Two", "4"),
    Flush(),
    Piece("Three. The end", "5"),
)


@pytest.fixture
async def store(valkey: Valkey) -> AsyncIterator[RedisConversations]:
    async with RedisConversations(valkey.url, timeout_s=BOUND_S) as opened:
        yield opened


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A server that a test may kill."""
    server = Valkey(tmp_path / "own", persistent=False)
    await server.start()
    yield server
    await server.stop()


async def test_what_is_claimed_is_what_was_saved(store):
    token = secrets.token_urlsafe()
    await store.save(token, 1, SNAPSHOT, ANSWERS)
    assert await store.claim(token) == Kept(2, SNAPSHOT, tuple(ANSWERS))


async def test_a_conversation_is_kept_for_ten_minutes_and_its_token_is_not(valkey, store):
    here = Here(store)
    async with here.start() as conversation, Redis.from_url(valkey.url) as redis:
        said = await said_by(conversation, STEPS)
        started = said[0].event
        assert isinstance(started, Started) and started.expires == here.time.now() + timedelta(minutes=10)
        key = f"{{translate:{hashlib.sha256(started.resume_token.encode()).hexdigest()}}}"
        for each in (key, f"{key}:finals"):
            assert 590_000 < await redis.pttl(each) <= 600_000
        assert not [each async for each in redis.scan_iter() if started.resume_token.encode() in each]


async def test_the_last_answers_are_kept(store):
    here = Here(store)
    async with here.start() as conversation:
        said = await said_by(conversation, [Piece("Yes. " * (KEPT + 10), "1")])
    kept = await store.claim(said[0].event.resume_token)
    assert [each.event.sentence_id for each in kept.finals] == list(range(11, KEPT + 11))


async def test_what_a_stream_takes_and_answers_costs_one_round_trip_each(store):
    here = Here(store)
    counting = Counting(store)
    here.conversations._store = counting
    async with here.start() as conversation:
        said = await said_by(conversation, [Piece("One. Two. Three.", "1")])
    assert len(answers(said)) == 3
    # One for the start, one for each answer, and one or two for the piece and the end.
    assert counting.saves in (5, 6)


async def test_a_conversation_goes_on_without_its_store_and_can_be_resumed_once_that_is_back(own):
    async with RedisConversations(own.url, timeout_s=BOUND_S) as store:
        here = Here(store)

        async def before(task: Task) -> None:
            here.time.advance(2.0)
            if task.text == "How are you?":
                await own.kill()
            if task.text == "Two":
                await own.start()
                await until_up(store)

        here.translator.before = before
        async with here.start() as conversation:
            said = await said_by(conversation, STEPS)
        alone = Here()
        async with alone.start() as conversation:
            assert [text for _, text, _ in texts(said)] == [
                text for _, text, _ in texts(await said_by(conversation, STEPS))
            ]
        told = [each.event for each in said if isinstance(each.event, Degraded)]
        assert [(each.degradation, each.active) for each in told] == [
            (SESSION_NOT_KEPT, True),
            (SESSION_NOT_KEPT, False),
        ]
        unkept = [SESSION_NOT_KEPT in each.translated.degradations for each in answers(said)]
        assert True in unkept and unkept[0] is False and unkept[-1] is False
        here.translator.before = None
        first = next(each for each in said if answers([each]))
        async with here.conversations.resume(
            said[0].event.resume_token, last_sequence=first.sequence
        ) as conversation:
            again = await said_by(conversation, [])
        # The store came back empty: what it had kept before it went is lost with it.
        assert texts(again) == texts(said)[1:]


async def test_a_conversation_that_went_on_without_its_store_is_not_resumed_from_before_that(store):
    here = Here(store)
    async with here.start() as conversation:
        said = await said_by(conversation, [Piece("One. ", "1")])
    last = said[-1].sequence
    with pytest.raises(NotFound) as caught:
        async with here.conversations.resume(said[0].event.resume_token, last_sequence=last + LAPSE):
            pass
    assert caught.value.reason == "SESSION_UNKNOWN"


async def test_options_are_kept_once_however_many_sentences_wait(store):
    terms = tuple((f"{number} {'a' * 90}", "b" * 90) for number in range(100))
    asked = (replace(CONFIG.options, glossary=terms), replace(CONFIG.options, keep=("c",)))
    state = ConversationState(Snapshot("s", replace(CONFIG, options=asked[0])), 0, Sentences)
    for text in (Text("Yes. " * 100, "1"), Text("No. " * 10, "2")):
        state.take(text, NOW)
        while state.cut(NOW):
            pass
        state.change(asked[1], NOW)
    token = secrets.token_urlsafe()
    await store.save(token, 1, state.snapshot(), [])
    kept = await store.claim(token)
    assert kept.snapshot == state.snapshot()
    options = dict(kept.snapshot.asked)
    assert [options[each.asked] for each in kept.snapshot.waiting] == [asked[0]] * 100 + [asked[1]] * 9
    assert len(TypeAdapter(Snapshot).dump_json(kept.snapshot)) < 100_000


@pytest.mark.parametrize("missing", [0, 1, KEPT - 1, KEPT, KEPT + 1, KEPT + 20])
async def test_a_client_that_lacks_more_answers_than_are_kept_is_not_left_without_them(store, missing):
    here = Here(store)
    async with here.start() as conversation:
        said = await said_by(conversation, [Piece("Yes. " * (KEPT + 20), "1")])
    had = lacking(said, missing)
    resume = here.conversations.resume(said[0].event.resume_token, last_sequence=had[-1].sequence)
    if missing > KEPT:
        with pytest.raises(NotFound):
            async with resume:
                pass
    else:
        async with resume as conversation:
            assert texts(had) + texts(await said_by(conversation, [])) == texts(said)


async def test_answers_that_were_lost_with_the_store_are_missed(own):
    """It came back empty: what was written after that is there, and what was answered before that is not."""
    async with RedisConversations(own.url, timeout_s=BOUND_S) as store, Redis.from_url(own.url) as redis:
        here = Here(store)
        async with here.start() as conversation, asyncio.timeout(BOUND_S):
            events = conversation.events()
            said = [await anext(events)]
            for number in range(2):
                await conversation.segment(f"Yes {number}.", str(number), end_of_utterance=True)
                while len(answers(said)) <= number:
                    said.append(await anext(events))
                if not number:
                    await redis.flushall()
        token = said[0].event.resume_token
        with pytest.raises(NotFound):
            async with here.conversations.resume(token, last_sequence=said[0].sequence):
                pass
        async with here.conversations.resume(
            token, last_sequence=lacking(said, 1)[-1].sequence
        ) as conversation:
            assert texts(await said_by(conversation, [])) == texts(said)[1:]


def lacking(said: Sequence[Said], answers_missing: int) -> Sequence[Said]:
    """What a client has that lacks the last answers."""
    places = [place for place, each in enumerate(said) if answers([each])]
    return said[: places[-answers_missing]] if answers_missing else said


class Counting:
    """A store that counts."""

    def __init__(self, store: ConversationStore) -> None:
        self.store = store
        self.ttl_s, self.kept = store.ttl_s, store.kept
        self.saves = 0

    async def save(self, token: str, epoch: int, snapshot: Snapshot, finals: Sequence[Said]) -> None:
        self.saves += 1
        await self.store.save(token, epoch, snapshot, finals)

    async def touch(self, token: str, epoch: int) -> None:
        await self.store.touch(token, epoch)

    async def claim(self, token: str) -> Kept[Snapshot, Said]:
        return await self.store.claim(token)


class Flaky(Counting):
    """A store that at times does not answer, and may have done what it was asked for all the same."""

    def __init__(self, store: ConversationStore, moods: Sequence[str]) -> None:
        super().__init__(store)
        self.moods = moods

    async def save(self, token: str, epoch: int, snapshot: Snapshot, finals: Sequence[Said]) -> None:
        mood = self.moods[self.saves % len(self.moods)]
        self.saves += 1
        if mood != "lost":
            await self.store.save(token, epoch, snapshot, finals)
        if mood != "good":
            raise StoreDown("session store", timedelta(seconds=1))


@given(
    st.lists(st.sampled_from(["good", "good", "lost", "late"]), min_size=1, max_size=12),
    st.integers(0, 30),
    st.booleans(),
)
@settings(
    max_examples=settings.default.max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_the_store_misses_nothing_is_lost_or_answered_twice(valkey, moods, read, anchor):
    """Either the conversation goes on as if nothing had been, or it is not known any more."""

    async def run() -> None:
        async with RedisConversations(valkey.url, timeout_s=BOUND_S) as store:
            expected = Client(STEPS, Here(store), Here(store))
            assert await expected.stream()
            client = Client(STEPS, Here(Flaky(store, moods)), Here(store), anchor=anchor)
            if not await client.stream(read=read):
                try:
                    assert await client.stream()
                except NotFound:
                    # A client that was told of nothing amiss can go on, unless the store never had the conversation.
                    told = any(isinstance(each.event, Degraded) for each in client.said)
                    assert told or "lost" in moods or "late" in moods
                    return
            assert texts(client.said) == texts(expected.said)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keeper, "RETRY_S", 0.0)
        asyncio.run(run())


async def until_up(store: RedisConversations) -> None:
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                await store.touch("nobody", 1)
                return
            except StoreDown:
                await turn()
