"""A store that is cancelled at any await leaves nothing behind."""

import asyncio
import re
from pathlib import Path

import pytest

from trunkline_hop.errors import Fault

MODEL = "models/fraud"
STEPS = 60


PLACES = re.compile(r"known-good\.json|(blobs|partial)/[0-9a-f]{64}|versions/[0-9a-f]{64}/model\.bin")


def leftovers(directory: Path) -> list[str]:
    """Files that no later start would use."""
    paths = [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]
    return [path for path in paths if not PLACES.fullmatch(path)]


async def turns(count: int) -> None:
    """So many turns of the loop, each of which lets a thread's result in."""
    for _ in range(count):
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)


@pytest.mark.parametrize("at", range(0, STEPS, 3))
async def test_closing_at_any_moment_leaks_no_task_model_stream_or_file(registry, engine, make, tmp_path, at):
    """From the first event, over download and load, to the swap, and with calls under way."""
    others = asyncio.all_tasks()
    await registry.serve(registry.version(1))
    asked = registry.version(3)

    async def score(store) -> None:
        try:
            async with store.lease(asked.name):
                await turns(2)
        except Fault:
            return

    calls = []
    async with make() as store:
        calls = [asyncio.create_task(score(store)) for _ in range(3)]
        await turns(at // 2)
        await registry.serve(registry.version(2))
        await turns(at - at // 2)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    assert asyncio.all_tasks() == others
    assert engine.alive == []
    assert registry.open == 0
    assert leftovers(tmp_path / "cache") == []
    assert store._residents.used_bytes == 0
    assert not len(store._loading._flights)
    assert not len(store._cache._flights)


@pytest.mark.parametrize("at", range(0, 30, 2))
async def test_a_call_cancelled_at_any_moment_returns_its_lease(registry, engine, make, until, at):
    await registry.serve(registry.version(1))
    asked = registry.version(2)
    async with make() as store:
        await until(store.ready)

        async def score() -> None:
            async with store.lease(asked.name), store.lease(MODEL):
                await turns(5)

        call = asyncio.create_task(score())
        await turns(at)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await until(lambda: not store._demanded)
        assert [held.leases for held in store._residents] == [0] * len(store._residents)
    assert engine.alive == []


async def test_closing_while_a_thread_loads_waits_for_it_and_unloads_what_it_made(
    registry, engine, make, until
):
    version = registry.version(1)
    gate = engine.hold(version)
    await registry.serve(version)
    store = await make().__aenter__()
    await until(engine.entered[version.name].is_set)
    closing = asyncio.create_task(store.__aexit__(None, None, None))
    await turns(3)
    assert not closing.done()
    gate.set()
    await closing
    assert engine.loaded == [version.name]
    assert engine.alive == []
