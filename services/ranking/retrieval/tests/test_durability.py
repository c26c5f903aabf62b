"""What was acknowledged is there, whatever dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from retrieval_parts import Replica, until, vectors

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline_hop.errors import Fault

Start = Callable[..., Awaitable[Replica]]


async def test_kill_9_between_writes_loses_none(start: Start) -> None:
    first = await start()
    await first.create()
    await first.upsert(vectors(1, 50), genre="crime")
    last = await first.delete(["v3", "v4"])
    await first.kill()
    second = await start()
    assert await second.ids() == {f"v{n}" for n in range(1, 51)} - {"v3", "v4"}
    assert (await second.index()).sequence == last == 2
    assert await second.upsert(vectors(51, 51)) == 3


@pytest.mark.parametrize("acknowledged", [1, 20, 60])
async def test_kill_9_during_writes_loses_none_that_was_acknowledged(start: Start, acknowledged: int) -> None:
    replica = await start()
    await replica.create()
    kept: dict[str, int] = {}
    enough = asyncio.Event()

    async def write(lane: int) -> None:
        for n in range(1000):
            name = f"v{1000 * lane + n}"
            kept[name] = await replica.upsert(vectors(1000 * lane + n, 1000 * lane + n))
            if len(kept) >= acknowledged:
                enough.set()

    lanes = [asyncio.create_task(write(lane)) for lane in range(4)]
    await enough.wait()
    await replica.kill()
    for outcome in await asyncio.gather(*lanes, return_exceptions=True):
        assert isinstance(outcome, Fault)
    replica = await start()
    assert set(kept) <= await replica.ids()
    assert len(set(kept.values())) == len(kept)


async def test_concurrent_writes_share_flushes_and_keep_their_order(replica: Replica) -> None:
    await replica.create()
    sequences = await asyncio.gather(*(replica.upsert(vectors(n, n)) for n in range(1, 41)))
    assert sorted(sequences) == list(range(1, 41))
    assert len(await replica.ids()) == 40


async def test_another_replica_sees_a_write_and_takes_over_when_the_writer_is_killed(start: Start) -> None:
    one, two = await start(), await start()
    await one.create()
    await one.upsert(vectors(1, 5))
    await until(lambda: _holds(two, {f"v{n}" for n in range(1, 6)}))
    assert await two.upsert(vectors(6, 6)) == 2, "passed on to the one that writes"
    await one.kill()
    assert await two.upsert(vectors(7, 7)) == 3
    assert await two.ids() == {f"v{n}" for n in range(1, 8)}


async def test_a_search_for_a_sequence_waits_until_the_replica_has_it(start: Start) -> None:
    one, two = await start(), await start()
    await one.create()
    for n in range(1, 20):
        sequence = await one.upsert(vectors(n, n))
        assert len(await two.ids(min_sequence=sequence)) == n


async def test_a_sequence_that_does_not_come_is_too_late(replica: Replica) -> None:
    await replica.create()
    with pytest.raises(Fault) as late:
        await replica.search([0.0] * 8, min_sequence=1, timeout=0.2)
    assert late.value.status == "DEADLINE_EXCEEDED"


async def test_a_snapshot_is_built_activated_and_found_again_after_kill_9(start: Start) -> None:
    one, two = await start(), await start()
    await one.create()
    await one.upsert(vectors(1, 300))
    snapshot = await two.built()
    assert (snapshot.state, snapshot.error) == (pb.SNAPSHOT_STATE_ACTIVE, "")
    await one.upsert(vectors(301, 310))
    await one.delete(["v1"])
    expected = {f"v{n}" for n in range(2, 311)}
    await until(lambda: _uses(two, snapshot.name))
    await until(lambda: _holds(two, expected))
    await one.kill()
    await two.kill()
    three = await start()
    assert (await three.index()).active_snapshot == snapshot.name
    assert await three.ids() == expected


async def _holds(replica: Replica, ids: set[str]) -> bool:
    return await replica.ids() == ids


async def _uses(replica: Replica, snapshot: str) -> bool:
    return (await replica.index()).active_snapshot == snapshot
