"""Sessions on the real server: taken over, forgotten, and without the server."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from redis.asyncio import Redis

from trunkline_hop.errors import Conflict, NotFound
from trunkline_local.embedded import Valkey
from trunkline_valkey import StoreDown, StoredSessions

BOUND_S = 30.0
KEPT = 64


@dataclass(frozen=True)
class State:
    session_id: str
    text: str = "naïve"


@dataclass(frozen=True)
class Event:
    sequence: int


STATE = State("s")


def sessions(url: str, ttl_s: float = 3600.0) -> StoredSessions[State, Event]:
    return StoredSessions(
        url,
        prefix="test",
        snapshots=TypeAdapter(State),
        events=TypeAdapter(Event),
        kept=KEPT,
        ttl_s=ttl_s,
        timeout_s=BOUND_S,
    )


@pytest.fixture
async def store(valkey: Valkey) -> AsyncIterator[StoredSessions[State, Event]]:
    async with sessions(valkey.url) as opened:
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


async def test_the_last_final_events_are_kept(store, token):
    for first in range(0, KEPT + 26, 10):
        await store.save(token, 1, STATE, [Event(first + number) for number in range(10)])
    kept = await store.claim(token)
    assert [each.sequence for each in kept.finals] == list(range(KEPT + 26))[-KEPT:]


async def test_an_event_that_was_written_twice_is_kept_once(store, token):
    # As by a writer that lost the answer to its first attempt.
    for _ in range(2):
        await store.save(token, 1, STATE, [Event(3), Event(5)])
    assert [final.sequence for final in (await store.claim(token)).finals] == [3, 5]


async def test_who_was_taken_over_from_can_write_no_more(store, token):
    await store.save(token, 1, STATE, [])
    taken = await store.claim(token)
    for refused in (store.save(token, 1, STATE, []), store.touch(token, 1)):
        with pytest.raises(Conflict) as caught:
            await refused
        assert caught.value.reason == "SESSION_MOVED"
    await store.save(token, taken.epoch, State("s", "other"), [])
    assert (await store.claim(token)).snapshot.text == "other"


async def test_of_many_who_claim_at_once_one_can_write(store, token):
    await store.save(token, 1, STATE, [])
    kept = await asyncio.gather(*(store.claim(token) for _ in range(10)))
    assert sorted(each.epoch for each in kept) == list(range(2, 12))
    results = await asyncio.gather(
        *(store.save(token, each.epoch, STATE, []) for each in kept), return_exceptions=True
    )
    assert sum(not isinstance(result, Conflict) for result in results) == 1


async def test_nobody_is_known_under_a_token_that_was_never_given(store, token):
    with pytest.raises(NotFound) as caught:
        await store.claim(token)
    assert caught.value.reason == "SESSION_UNKNOWN"
    assert token not in str(caught.value)


async def test_a_session_is_forgotten_after_its_time_unless_it_is_touched(valkey, token):
    async with (
        sessions(valkey.url) as store,
        Redis.from_url(valkey.url) as redis,
    ):
        key = f"{{test:{hashlib.sha256(token.encode()).hexdigest()}}}"
        keys = (key, f"{key}:finals")
        await store.save(token, 1, STATE, [Event(1)])
        changes = (
            lambda: store.touch(token, 1),
            lambda: store.claim(token),
            lambda: store.save(token, 2, STATE, []),
        )
        for change in changes:
            for each in keys:
                await redis.pexpire(each, 1_000_000)
            await change()
            assert min([await redis.pttl(each) for each in keys]) > 3_500_000
        for each in keys:
            await redis.pexpire(each, 0)
        with pytest.raises(NotFound):
            await store.claim(token)


async def test_the_token_itself_is_not_in_the_store(valkey, store, token):
    await store.save(token, 1, STATE, [Event(1)])
    async with Redis.from_url(valkey.url) as redis:
        assert not [key async for key in redis.scan_iter() if token.encode() in key]


async def test_a_store_that_is_gone_is_down_and_serves_again_when_it_is_back(own, token):
    async with sessions(own.url) as store:
        await store.save(token, 1, STATE, [])
        await own.kill()
        for _ in range(5):
            with pytest.raises(StoreDown):
                await store.touch(token, 1)
        await own.start()
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    await store.save(token, 1, STATE, [])
                    break
                except StoreDown:
                    await _turn()
        assert (await store.claim(token)).epoch == 2


@pytest.mark.parametrize(
    "setting",
    [("maxmemory", "1"), ("min-replicas-to-write", "1"), ("replicaof", "127.0.0.1 1")],
    ids=["no memory", "no replica", "a replica itself"],
)
async def test_a_store_that_cannot_be_written_is_down(own, token, setting):
    """As after a failover, or where its own settings want more than there is."""
    async with sessions(own.url) as store, Redis.from_url(own.url) as redis:
        await store.save(token, 1, STATE, [])
        name, value = setting
        if name == "replicaof":
            await redis.replicaof(*value.split())
        else:
            await redis.config_set(name, value)
        with pytest.raises(StoreDown):
            await store.save(token, 1, STATE, [Event(1)])
        with pytest.raises(StoreDown):
            await store.claim(token)


async def test_a_cancelled_writer_leaves_no_reply_for_the_next_and_nothing_behind(store, token):
    before = asyncio.all_tasks()
    for turns in range(40):
        number = str(turns)
        writing = asyncio.create_task(store.save(token, 1, State(number), []))
        for _ in range(turns % 8):
            await _turn()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        other = token + number
        await store.save(other, 1, STATE, [Event(turns)])
        assert (await store.claim(other)).finals[0].sequence == turns
    async with asyncio.timeout(BOUND_S):
        while store.pending:
            await _turn()
    assert asyncio.all_tasks() == before


# Sessions on it


async def test_what_another_version_wrote_is_unknown(valkey, store, token):
    async with Redis.from_url(valkey.url) as redis:
        key = f"{{test:{hashlib.sha256(token.encode()).hexdigest()}}}"
        await redis.hset(key, mapping={"epoch": 1, "state": b'{"session": 1}'})
    with pytest.raises(NotFound):
        await store.claim(token)


async def _turn() -> None:
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: passed.done() or passed.set_result(None))
    await passed
