"""What keeps one session, on the real server and without it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from trunkline_hop.errors import Conflict
from trunkline_local.embedded import Valkey
from trunkline_valkey import Keeper, StoreDown, StoredSessions, keeper


@dataclass(frozen=True)
class State:
    session_id: str
    text: str


@dataclass(frozen=True)
class Event:
    sequence: int
    text: str = ""


class StandingClock:
    def __init__(self) -> None:
        self.time_s = 0.0

    def monotonic(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A server that a test may kill."""
    server = Valkey(tmp_path / "own", persistent=False)
    await server.start()
    yield server
    await server.stop()


def sessions(url: str) -> StoredSessions[State, Event]:
    return StoredSessions(
        url,
        prefix="keeper",
        snapshots=TypeAdapter(State),
        events=TypeAdapter(Event),
        kept=3,
        ttl_s=2.0,
        timeout_s=30.0,
    )


async def test_without_a_store_nothing_is_kept_and_there_is_no_token():
    alone: Keeper[State, Event] = Keeper(None, "token", 1, StandingClock())
    assert alone.token == ""
    assert not await alone.save(State("s", "one"), Event(1))
    assert not alone.resumable
    await alone.beat()


async def test_what_was_said_without_the_store_is_kept_once_it_is_back_as_it_was_told(own):
    async with sessions(own.url) as store:
        clock, token = StandingClock(), secrets.token_urlsafe()
        mine = Keeper(store, token, 1, clock)
        assert await mine.save(State("s", "one"), Event(1))
        await own.kill()
        for number in range(2, 8):
            assert not await mine.save(State("s", "two"), Event(number))
            mine.revise(Event(number, "as it was told"))
            clock.time_s += keeper.RETRY_S
        assert not mine.resumable
        await own.start()
        async with asyncio.timeout(30):
            while not await mine.save(State("s", "three")):
                clock.time_s += keeper.RETRY_S
        kept = await store.claim(token)
        assert kept.snapshot == State("s", "three")
        assert kept.finals == tuple(Event(number, "as it was told") for number in (5, 6, 7))


async def test_a_store_that_did_not_answer_is_left_alone_for_a_while(own):
    async with sessions(own.url) as store:
        clock = StandingClock()
        mine = Keeper(store, secrets.token_urlsafe(), 1, clock)
        await own.kill()
        assert not await mine.save(State("s", "one"))
        await own.start()
        async with asyncio.timeout(30):
            while True:
                try:
                    await store.touch("nobody", 1)
                    break
                except StoreDown:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(asyncio.Event().wait(), 0.02)
        assert not await mine.save(State("s", "two"))
        clock.time_s += keeper.RETRY_S
        assert await mine.save(State("s", "three"))


async def test_a_silent_stream_hears_that_its_session_was_taken_over(own):
    async with sessions(own.url) as store, asyncio.timeout(30):
        token = secrets.token_urlsafe()
        mine = Keeper(store, token, 1, StandingClock())
        await mine.save(State("s", "one"))
        beating = asyncio.create_task(mine.beat())
        await store.claim(token)
        with pytest.raises(Conflict):
            await beating
        with pytest.raises(Conflict) as caught:
            await mine.save(State("s", "two"))
        assert (caught.value.reason, caught.value.resource_name) == ("SESSION_MOVED", "s")
