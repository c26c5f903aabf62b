"""The session store on the real server, and sessions whose store comes and goes."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis
from session_parts import (
    BOUND_S,
    Here,
    World,
    at,
    committed,
    fed,
    finals,
    spoken,
    through,
)

from trunkline_hop.errors import Conflict, NotFound, Unavailable
from trunkline_local.embedded import Valkey
from trunkline_speech.config import AudioFormat, Encoding, Options, Parameters, SessionConfig
from trunkline_speech.events import (
    AudioDropped,
    Degraded,
    Draining,
    DropReason,
    EndOfUtterance,
    Interim,
    Said,
    SegmentFinal,
    Started,
)
from trunkline_speech.redis_sessions import RedisSessions
from trunkline_speech.segmenter import Mark
from trunkline_speech.snapshot import Snapshot
from trunkline_speech.transcript import RATE_HZ, Segment, Word
from trunkline_valkey import StoreDown

TALK = World(spoken("the quick brown fox jumps over | | the lazy dog and then | | | goes home"))
CONFIG = SessionConfig(parameters=Parameters(interval_s=0.6, first_interval_s=0.5))
WORD = Word("naïve", 100, 200, 1)
SNAPSHOT = Snapshot(
    session_id="s",
    config=replace(
        CONFIG,
        options=Options("models/m", "es", hints=("a", "b")),
        audio=AudioFormat(Encoding.LINEAR16, 8000, 2),
    ),
    sequence=7,
    mark=Mark(512, True, True, False, 300, 200, 100),
    number=3,
    revision=2,
    committed=(WORD,),
    carried=(WORD, WORD),
    before=(WORD,),
    language="es",
    utterance=(1, 2),
    speakers=bytes(range(256)),
)


def said(sequence: int, event: object = None) -> Said:
    event = event or SegmentFinal(Segment(1, 2, (WORD,), "en", 0, 300, 1))
    return Said(
        sequence, event, 1000, 500, "models/m/versions/1", "sha256:d", "openvino", "NPU", ("hints_cut",)
    )


@pytest.fixture
async def store(valkey: Valkey) -> AsyncIterator[RedisSessions]:
    async with RedisSessions(valkey.url, timeout_s=BOUND_S) as opened:
        yield opened


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A server that a test may kill."""
    server = Valkey(tmp_path / "own", persistent=False)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def token() -> str:
    return secrets.token_urlsafe()


async def test_what_is_claimed_is_what_was_saved(store, token):
    events = [
        said(4),
        said(5, EndOfUtterance(9, 1, 2)),
        said(6, AudioDropped(3, 4, DropReason.RECOGNISER_FAILED)),
    ]
    await store.save(token, 1, SNAPSHOT, events[:1])
    await store.save(token, 1, SNAPSHOT, events[1:])
    kept = await store.claim(token)
    assert (kept.epoch, kept.snapshot, list(kept.finals)) == (2, SNAPSHOT, events)


async def test_what_another_version_wrote_is_unknown(valkey, store, token):
    async with Redis.from_url(valkey.url) as redis:
        key = f"{{speech:{hashlib.sha256(token.encode()).hexdigest()}}}"
        await redis.hset(key, mapping={"epoch": 1, "state": b'{"session": 1}'})
    with pytest.raises(NotFound):
        await store.claim(token)


async def test_a_session_goes_on_where_it_drained(store):
    here, there = Here(TALK, store=store), Here(TALK, store=store)
    undisturbed = await Here(TALK, store=store).said(CONFIG)
    async with here.sessions.start(CONFIG) as session:
        await session.feed(TALK.audio(0, at(4)))
        async with aclosing(session.events()) as events:
            first = [await anext(events) for _ in range(6)]
            session.drain()
            first += [each async for each in events]
    draining = first[-1].event
    assert isinstance(draining, Draining)
    assert draining.resume_token == first[0].event.resume_token != ""
    async with there.sessions.resume(draining.resume_token, last_sequence=first[-1].sequence) as session:
        rest = await through(session, TALK.audio(draining.audio_start))
    assert rest[0].event == Started(
        first[0].event.session_id, draining.resume_token, True, draining.audio_start
    )
    assert committed(first + rest) == committed(undisturbed)
    assert finals(first + rest) == finals(undisturbed)


async def test_finals_that_were_lost_behind_a_half_close_can_be_had_within_the_minute(store):
    here = Here(TALK, store=store)
    all_said = await here.said(CONFIG)
    async with here.sessions.resume(
        all_said[0].event.resume_token, last_sequence=all_said[6].sequence
    ) as session:
        again = await through(session, b"")
    lost = [each for each in all_said[7:] if isinstance(each.event, SegmentFinal | EndOfUtterance)]
    assert again[1 : 1 + len(lost)] == lost
    assert not finals(again[1 + len(lost) :])
    assert again[0].event.audio_start == TALK.length


async def test_a_stream_whose_session_was_resumed_elsewhere_ends(store):
    here, there = Here(TALK, store=store), Here(TALK, store=store)
    async with here.sessions.start(CONFIG) as session, asyncio.timeout(BOUND_S):
        events = session.events()
        started = await anext(events)
        async with there.sessions.resume(started.event.resume_token, last_sequence=1) as resumed:
            assert finals(await through(resumed, TALK.audio())) == finals(await Here(TALK).said())
        feeding = asyncio.create_task(fed(session, TALK.audio()))
        with pytest.raises(Conflict) as caught:
            async for each in events:
                assert not isinstance(each.event, SegmentFinal | Interim)
        await feeding
    assert caught.value.reason == "SESSION_MOVED"


async def test_a_silent_stream_whose_session_was_resumed_elsewhere_ends_as_well(valkey):
    async with RedisSessions(valkey.url, ttl_s=4.0, timeout_s=BOUND_S) as store:
        here, there = Here(TALK, store=store), Here(TALK, store=store)
        async with here.sessions.start(CONFIG) as session, asyncio.timeout(BOUND_S):
            events = session.events()
            started = await anext(events)
            async with there.sessions.resume(started.event.resume_token, last_sequence=1):
                with pytest.raises(Conflict):
                    async for _ in events:
                        pass


async def test_a_stream_that_hears_nothing_keeps_its_session(valkey):
    async with (
        RedisSessions(valkey.url, ttl_s=4.0, timeout_s=BOUND_S) as store,
        Redis.from_url(valkey.url) as redis,
    ):
        here = Here(TALK, store=store)
        async with here.sessions.start(CONFIG) as session, asyncio.timeout(BOUND_S):
            events = session.events()
            token = (await anext(events)).event.resume_token
            key = f"{{speech:{hashlib.sha256(token.encode()).hexdigest()}}}"
            touched, last = 0, await redis.pttl(key)
            while touched < 2:
                left = await redis.pttl(key)
                assert left > 0
                touched, last = touched + (left > last), left


async def test_unknown_and_forgotten_sessions_cannot_be_resumed(store):
    with pytest.raises(NotFound) as caught:
        async with Here(TALK, store=store).sessions.resume("unknown", last_sequence=0):
            pass
    assert caught.value.reason == "SESSION_UNKNOWN"


@pytest.mark.parametrize("kept_from_s", [1.0, 1.6, 4.0])
async def test_audio_that_the_client_has_no_more_is_told_of_and_what_was_committed_of_it_stays(
    store, kept_from_s
):
    here, there = Here(TALK, store=store), Here(TALK, store=store)
    async with here.sessions.start(CONFIG) as session:
        await session.feed(TALK.audio(0, at(2)))
        got: list[Said] = []
        async for each in session.events():
            got.append(each)
            if isinstance(each.event, Interim) and each.event.stable_words:
                break
    held, start = committed(got), at(kept_from_s) // 512 * 512
    async with there.sessions.resume(
        got[0].event.resume_token, last_sequence=got[-1].sequence, audio_start=start
    ) as session:
        rest = await through(session, TALK.audio(start))
    dropped = [each.event for each in rest if isinstance(each.event, AudioDropped)]
    assert dropped == [AudioDropped(got[-1].needed_from, start - got[-1].needed_from, DropReason.NOT_RESENT)]
    assert committed(got + rest)[: len(held)] == held
    later = [word.text for word in TALK.words if word.start > start + RATE_HZ // 2]
    assert committed(got + rest)[-len(later) :] == later
    assert rest[0].event.audio_start == start


async def test_a_client_may_send_more_than_it_is_asked_for(store):
    here, there = Here(TALK, store=store), Here(TALK, store=store)
    async with here.sessions.start(CONFIG) as session:
        await session.feed(TALK.audio(0, at(4)))
        got = [each async for each in _first(session.events(), 7)]
    async with there.sessions.resume(
        got[0].event.resume_token, last_sequence=got[-1].sequence, audio_start=0
    ) as session:
        rest = await through(session, TALK.audio())
    assert committed(got + rest) == [word.text for word in TALK.words]


async def test_a_session_goes_on_without_its_store_and_can_be_resumed_once_that_is_back(own):
    async with RedisSessions(own.url, timeout_s=BOUND_S) as store:
        here = Here(TALK, store=store)

        async def before(start: int, end: int, hearing: object) -> None:
            here.clock.advance(10.0)
            if len(here.recogniser.heard) == 2:
                await own.kill()
            if len(here.recogniser.heard) == 5:
                await own.start()
                await _until_up(store)

        here.recogniser.before = before
        said = await here.said(CONFIG)
        assert finals(said) == finals(await Here(TALK).said())
        told = [each.event for each in said if isinstance(each.event, Degraded)]
        assert [(each.degradation, each.active) for each in told] == [
            ("resume_unavailable", True),
            ("resume_unavailable", False),
        ]
        async with here.sessions.resume(said[0].event.resume_token, last_sequence=0) as session:
            again = await through(session, b"")
        assert finals(again) == finals(said)


async def test_a_session_that_went_on_without_its_store_is_not_resumed_from_before_that(own):
    async with RedisSessions(own.url, timeout_s=BOUND_S) as store:
        here = Here(TALK, store=store)
        async with here.sessions.start(CONFIG) as session, asyncio.timeout(BOUND_S):
            events = session.events()
            started = await anext(events)
            await anext(events)
            kept = await store.claim(started.event.resume_token)
            with pytest.raises(NotFound):
                async with here.sessions.resume(
                    started.event.resume_token, last_sequence=kept.snapshot.sequence + 1
                ):
                    pass


async def test_a_resume_while_the_store_is_down_may_be_tried_again(own):
    async with RedisSessions(own.url, timeout_s=BOUND_S) as store:
        await own.kill()
        with pytest.raises(Unavailable) as caught:
            async with Here(TALK, store=store).sessions.resume("t", last_sequence=0):
                pass
    assert caught.value.reason == "STORE_UNREACHABLE" and caught.value.retry_after is not None


async def test_speakers_keep_their_numbers_over_a_break(store):
    here, there = (Here(TALK, store=store, diarize=Speakers) for _ in range(2))
    config = replace(CONFIG, options=Options(max_speakers=5))
    whole = await Here(TALK, diarize=Speakers).said(config)
    async with here.sessions.start(config) as session:
        await session.feed(TALK.audio(0, at(4)))
        got: list[Said] = []
        async for each in session.events():
            got.append(each)
            if isinstance(each.event, SegmentFinal):
                break
    async with there.sessions.resume(got[0].event.resume_token, last_sequence=got[-1].sequence) as session:
        rest = await through(session, TALK.audio(got[-1].needed_from))
    assert _speakers(got + rest) == _speakers(whole)


class Speakers:
    """Everybody who begins with the same letter is the same."""

    def __init__(self, most: int, state: bytes) -> None:
        self.known = list(state.decode())

    async def tag(self, samples: object, start: int, words: tuple[Word, ...]) -> tuple[Word, ...]:
        self.known += dict.fromkeys(word.text[0] for word in words if word.text[0] not in self.known)
        return tuple(replace(word, speaker=self.known.index(word.text[0]) + 1) for word in words)

    def state(self) -> bytes:
        return "".join(self.known).encode()


def _speakers(said: Sequence[Said]) -> list[int]:
    segments = [each.event.segment for each in said if isinstance(each.event, SegmentFinal)]
    return [word.speaker for segment in segments for word in segment.words]


async def _first(events: AsyncIterator[Said], count: int) -> AsyncIterator[Said]:
    for _ in range(count):
        yield await anext(events)


async def _until_up(store: RedisSessions) -> None:
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                await store.touch("nobody", 1)
                return
            except StoreDown:
                await _turn()


async def _turn() -> None:
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: passed.done() or passed.set_result(None))
    await passed
