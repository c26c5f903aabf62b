from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from random import Random

import psutil
import pytest

from trunkline_registry.artifacts import BlobUnknown
from trunkline_registry.blobs import DirectoryBlobs
from trunkline_registry.postgres.database import Database

BOUND_S = 20.0
POOL = 4
ROUNDS = 200


async def _turns(count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


async def _cut_off(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=BOUND_S)
    assert task.done()
    if not task.cancelled():
        task.result()


async def test_callers_that_are_cancelled_at_any_moment_cost_the_pool_no_connection(database: str) -> None:
    random = Random(1)
    async with Database.open(database, pool_size=POOL) as opened:
        opened.usable = True

        async def use() -> None:
            async with opened.transaction("test") as rows:
                await rows._connection.execute("SELECT pg_sleep(0.001)")

        async def leave() -> None:
            for _ in range(ROUNDS):
                task = asyncio.ensure_future(use())
                if random.random() < 0.5:
                    await _turns(random.randrange(60))
                else:
                    await asyncio.wait({task}, timeout=random.uniform(0, 0.006))
                await _cut_off(task)

        await asyncio.gather(*(leave() for _ in range(POOL + 2)))
        async with asyncio.timeout(BOUND_S):
            while (stats := opened._pool.get_stats())["pool_available"] < stats["pool_size"]:
                await use()  # lets what is on its way back arrive
                await _turns(1)
        assert stats["requests_waiting"] == 0


@pytest.mark.filterwarnings("error")
async def test_a_reader_that_is_cancelled_at_any_moment_leaves_no_file_open(tmp_path: Path) -> None:
    blobs = DirectoryBlobs.open(tmp_path)
    path = blobs.path("ab" + "0" * 62)
    path.parent.mkdir()
    path.write_bytes(bytes(3 * 2**20))

    def still_open() -> bool:
        return any(Path(file.path) == path for file in psutil.Process().open_files())

    async def read() -> None:
        async for _ in blobs.read(path.name, 0):
            await _turns(1)

    for turns in range(80):
        task = asyncio.ensure_future(read())
        await _turns(turns)
        await _cut_off(task)
    async with asyncio.timeout(BOUND_S):
        while still_open():
            await _turns(1)
    gc.collect()
    with pytest.raises(BlobUnknown):
        await anext(blobs.read("0" * 64, 0))
