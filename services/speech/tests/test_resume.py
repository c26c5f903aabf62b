"""A session that breaks off anywhere and goes on elsewhere: no committed text is lost, and none is said twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from session_parts import BOUND_S, Here, World, at, committed, fed, spoken

from trunkline_local.embedded import Valkey
from trunkline_speech import conversation
from trunkline_speech.config import Parameters, SessionConfig
from trunkline_speech.events import EndOfUtterance, Interim, Said, SegmentFinal, Started
from trunkline_speech.redis_sessions import RedisSessions
from trunkline_speech.transcript import Word

CONFIG = SessionConfig(parameters=Parameters(buffer_s=2.5, interval_s=0.6, first_interval_s=0.5))
LONG = World(
    spoken(
        "one two three four five six seven eight nine ten eleven twelve thirteen | fourteen | | fifteen sixteen "
        "seventeen | | | | eighteen nineteen"
    )
)


class Client:
    """Holds what it got, and resumes whenever its stream breaks off."""

    def __init__(self, here: Here, elsewhere: Here, *, chunk: int = 37) -> None:
        self.servers = (here, elsewhere)
        self.streams = 0
        self.said: list[Said] = []
        self.token = ""
        self.chunk = chunk
        self.needed_from = 0

    @property
    def last_sequence(self) -> int:
        return self.said[-1].sequence if self.said else 0

    async def stream(self, *, read: int | None = None) -> bool:
        """One stream, which breaks off once so many events were read.

        Nothing is written any more when it breaks off: for the store it is as if the server had died.
        Returns True when the session came to its end.
        """
        server = self.servers[self.streams % 2]
        self.streams += 1
        opened = (
            server.sessions.resume(self.token, last_sequence=self.last_sequence)
            if self.token
            else server.sessions.start(CONFIG)
        )
        async with asyncio.timeout(BOUND_S), opened as session:
            events = session.events()
            first = await anext(events)
            self._got(first)
            feeding = asyncio.create_task(
                fed(session, server.world.audio(first.event.audio_start), self.chunk)
            )
            try:
                while read is None or read > 0:
                    said = await anext(events, None)
                    if said is None:
                        return True
                    self._got(said)
                    read = None if read is None else read - 1
                return False
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    def _got(self, said: Said) -> None:
        assert isinstance(said.event, Started) == (said.sequence == self.last_sequence or not self.said)
        if isinstance(said.event, Started):
            assert said.event.resumed == bool(self.token)
            self.token = said.event.resume_token
            assert said.event.audio_start >= self.needed_from
        else:
            assert said.sequence > self.last_sequence
        assert said.needed_from >= self.needed_from
        self.needed_from = said.needed_from
        if not self.said or said.sequence > self.last_sequence:
            self.said.append(said)


def segments(said: Sequence[Said]) -> list[tuple[int, str, int, int]]:
    found = [each.event.segment for each in said if isinstance(each.event, SegmentFinal)]
    return [(each.number, each.text, each.start, each.end) for each in found]


def utterances(said: Sequence[Said]) -> list[EndOfUtterance]:
    return [each.event for each in said if isinstance(each.event, EndOfUtterance)]


def never_taken_back(said: Sequence[Said]) -> bool:
    """What a client holds for sure only grows."""
    held = [committed(said[:count]) for count in range(len(said) + 1)]
    return all(after[: len(before)] == before for before, after in pairwise(held))


def revisions_grow(said: Sequence[Said]) -> bool:
    numbers = [
        (each.event.segment.number, each.event.segment.revision)
        for each in said
        if isinstance(each.event, SegmentFinal | Interim)
    ]
    return all(before < after for before, after in pairwise(numbers))


@pytest.fixture
async def store(valkey: Valkey) -> AsyncIterator[RedisSessions]:
    async with RedisSessions(valkey.url, timeout_s=BOUND_S) as opened:
        yield opened


@pytest.mark.parametrize("ahead", [1, 64])
async def test_after_a_break_at_any_event_every_word_is_said_once(store, monkeypatch, ahead):
    """`ahead`: so many events the server is ahead of the client when the stream breaks off."""
    monkeypatch.setattr(conversation, "EVENTS_WAITING", ahead)
    undisturbed = Client(Here(LONG, store=store), Here(LONG, store=store))
    assert await undisturbed.stream()
    assert committed(undisturbed.said) == [word.text for word in LONG.words]
    for read in range(len(undisturbed.said)):
        client = Client(Here(LONG, store=store), Here(LONG, store=store))
        assert not await client.stream(read=read) or read == len(undisturbed.said) - 1
        assert await client.stream()
        assert segments(client.said) == segments(undisturbed.said)
        assert utterances(client.said) == utterances(undisturbed.said)
        assert never_taken_back(client.said)
        assert revisions_grow(client.said)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to 40 words, with pauses of any length in between."""
    now, words = at(draw(st.floats(0.1, 1.0))), []
    vocabulary = [f"{first}{last}" for first in "abcdef" for last in "xyz"]
    for _ in range(draw(st.integers(1, 40))):
        length = at(draw(st.floats(0.1, 0.6)))
        words.append(Word(draw(st.sampled_from(vocabulary)), now, now + length))
        pause = draw(st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.25, 0.45, 0.6, 0.9, 7.0]))
        now += length + at(pause)
    return World(tuple(words))


@given(
    worlds(),
    st.lists(st.integers(0, 25), min_size=1, max_size=5),
    st.integers(1, 400),
    st.sampled_from([1, 64]),
)
@settings(
    max_examples=settings.default.max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_however_often_it_breaks_off_what_is_final_is_the_same(valkey, world, breaks, chunk, ahead):
    async def run() -> None:
        async with RedisSessions(valkey.url, timeout_s=BOUND_S) as store:
            undisturbed = Client(Here(world, store=store), Here(world, store=store))
            assert await undisturbed.stream()
            client = Client(Here(world, store=store), Here(world, store=store), chunk=chunk)
            for read in breaks:
                await client.stream(read=read)
            assert await client.stream()
            assert segments(client.said) == segments(undisturbed.said)
            assert utterances(client.said) == utterances(undisturbed.said)
            assert never_taken_back(client.said)
            assert revisions_grow(client.said)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(conversation, "EVENTS_WAITING", ahead)
        asyncio.run(run())
