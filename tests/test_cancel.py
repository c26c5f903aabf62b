"""Callers that go away, at any moment, leave nothing behind in any server."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import grpc.aio
import pytest
from conditions import BOUND_S, tick, whole
from redis.asyncio import Redis
from suite_parts import MODEL, Client, Suite, rows, score

from trunkline.features.v1 import features_pb2 as fv
from trunkline.registry.v1 import registry_pb2 as rg

ROUNDS = 120
LONG_ROUNDS = 3000
AT_ONCE = 4


def _calls(random: Random, artifact: str) -> list[Callable[[Client], Any]]:
    """One of every kind of call, across all of the services."""
    read = fv.GetOnlineFeaturesRequest(
        features=["customer_activity:count_1d"],
        entities=[fv.EntityIds(entity_type="customer", ids=["c1"])],
    )
    content = random.randbytes(3_000_000)

    async def parts() -> AsyncIterator[rg.UploadArtifactRequest]:
        header = rg.ArtifactHeader(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        yield rg.UploadArtifactRequest(header=header)
        for start in range(0, len(content), 1 << 20):
            yield rg.UploadArtifactRequest(chunk=content[start : start + (1 << 20)])

    return [
        lambda client: client.ranking.ScoreTransaction(score()),
        lambda client: client.ranking.ScoreTransaction(score(model=f"{MODEL}/versions/1")),
        lambda client: client.features.GetOnlineFeatures(read),
        lambda client: client.features.WriteFeatures(rows("customer_activity", ["c1"])),
        lambda client: client.registry.GetModel(rg.GetModelRequest(name=MODEL)),
        lambda client: client.registry.WatchModels(rg.WatchModelsRequest()),
        lambda client: client.registry.DownloadArtifact(rg.DownloadArtifactRequest(sha256=artifact)),
        lambda client: client.registry.UploadArtifact(parts()),
    ]


async def _counts(suite: Suite, redis: Redis) -> dict[str, Any]:
    """Everything that a call takes while it lasts. Tasks by the coroutine they run."""
    store, models = suite.built["features"][0], suite.built["ranking"][0]
    counts: dict[str, Any] = {
        "commands without a reply": store.pending,
        "redis clients": int((await redis.info("clients"))["connected_clients"]),
        "leases": sum(resident.leases for resident in models._residents),
        "loads": len(models._wanted) + len(models._demanded),
        "uploads in progress": sum(1 for path in (suite.directory / "blobs" / "incoming").iterdir()),
    }
    for name, server in suite.servers.items():
        counts[f"slots of {name}"] = server.admission.running
        counts[f"queue of {name}"] = server.admission.queued
        counts[f"sessions of {name}"] = server.sessions
        for channel in suite.channels[name]:
            for endpoint in channel.endpoints:
                counts[f"in flight {name} -> {channel.name}"] = endpoint.in_flight
                counts[f"breaker {name} -> {channel.name}"] = endpoint.breaker
    pool = suite.built["registry"][0]._pool.get_stats()
    counts["requests for database connections"] = pool.get("requests_waiting", 0)
    counts["database connections in use"] = pool["pool_size"] - pool["pool_available"]
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    return counts | {f"tasks {name}": count for name, count in tasks.items()}


async def _quiet(suite: Suite, redis: Redis) -> dict[str, Any]:
    """The counts when nothing is called: as soon as nothing is in flight and they stay the same for a while."""
    same = 0
    last: dict[str, Any] = {}
    async with asyncio.timeout(BOUND_S):
        while same < 20:
            now = await _counts(suite, redis)
            busy = any(
                now[key]
                for key in now
                if key.startswith(("slots", "sessions of gateway", "in flight gateway", "leases"))
            )
            same = 0 if busy or now != last else same + 1
            last = now
            await tick()
    return last


async def _settle(suite: Suite, redis: Redis, start: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs from the start, once nothing does or the bound has passed."""
    left: dict[str, tuple[Any, Any]] = {}
    try:
        async with asyncio.timeout(BOUND_S):
            while True:
                now = await _counts(suite, redis)
                left = {
                    key: (start.get(key, 0), now.get(key, 0))
                    for key in start.keys() | now.keys()
                    if start.get(key, 0) != now.get(key, 0)
                }
                # Connections are kept for the next call, up to the pool's size; never more than asked for.
                if left.get("redis clients", (0, 0))[1] <= start["redis clients"] + AT_ONCE * 2:
                    left.pop("redis clients", None)
                if not left:
                    return {}
                await tick()
    except TimeoutError:
        return left


async def _leave(call: Any, random: Random) -> None:
    """Waits for a call and goes away at some moment of it, or after it."""
    waiting = asyncio.ensure_future(whole(call))
    loop = asyncio.get_running_loop()
    if random.random() < 0.5:
        for _ in range(random.randrange(60)):
            turn = loop.create_future()
            loop.call_soon(turn.set_result, None)
            await turn
    else:
        await tick(random.uniform(0, 0.02))
    waiting.cancel()
    call.cancel()
    try:
        await waiting
    except (asyncio.CancelledError, grpc.aio.AioRpcError):
        return


async def _go_away(suite: Suite, client: Client, redis_url: str, seed: int, rounds: int) -> None:
    random = Random(seed)
    listed = await client.registry.GetModelVersion(rg.GetModelVersionRequest(name=f"{MODEL}/versions/1"))
    calls = _calls(random, listed.model_version.files[0].sha256)
    async with Redis.from_url(redis_url) as redis:
        for call in calls:
            await _leave(call(client), random)  # opens connections and callables that then stay
        for call in calls[:5]:
            await call(client)
        start = await _quiet(suite, redis)

        async def callers() -> None:
            for _ in range(rounds // AT_ONCE):
                await _leave(random.choice(calls)(client), random)

        await asyncio.gather(*(callers() for _ in range(AT_ONCE)))
        left = await _settle(suite, redis, start)
        assert left == {}, f"left behind with seed {seed} (before, after)"
        answer = await client.ranking.ScoreTransaction(score(), timeout=10)
        assert 0 <= answer.probability <= 1


@pytest.mark.parametrize("seed", [1])
async def test_callers_that_go_away_leave_nothing_behind(suite: Suite, client: Client, seed: int) -> None:
    await _go_away(suite, client, suite.settings["redis_url"], seed, ROUNDS)


@pytest.mark.long
async def test_thousands_of_callers_that_go_away_leave_nothing_behind(suite: Suite, client: Client) -> None:
    await _go_away(suite, client, suite.settings["redis_url"], 2, LONG_ROUNDS)
