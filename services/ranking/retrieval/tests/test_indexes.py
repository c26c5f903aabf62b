"""What calls meet that come while an index is opened, or its lease is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from engine_parts import CPU, an_index, an_upsert
from retrieval_parts import BOUND_S, until

from trunkline_hop.clock import SystemClock
from trunkline_retrieval import files
from trunkline_retrieval.indexes import Indexes
from trunkline_retrieval.replica import Replica
from trunkline_retrieval.storage import DirectoryStorage
from trunkline_retrieval.writer import Elsewhere


def an_engine(root: Path) -> Indexes:
    return Indexes(
        storage=DirectoryStorage.open(root),
        device=CPU,
        clock=SystemClock(),
        address=lambda: "here",
        poll_s=0.01,
        snapshot_after=10**6,
        snapshots_kept=2,
        observe=lambda _: lambda _: None,
    )


async def test_a_write_that_comes_while_the_lease_is_given_back_is_sent_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexes = an_engine(tmp_path)
    async with aclosing(indexes):
        writer = (await indexes.create(an_index())).writer
        giving, go_on = asyncio.Event(), asyncio.Event()
        own = files.thread

        async def thread(function: Callable[..., Any], *given: Any) -> Any:
            if function == writer._let_go:
                giving.set()
                await go_on.wait()
            return await own(function, *given)

        monkeypatch.setattr(files, "thread", thread)
        writer.leaving = True
        one = asyncio.create_task(writer.write(an_upsert({"a": [1, 0, 0, 0]})))
        await giving.wait()
        two = asyncio.create_task(writer.write(an_upsert({"b": [0, 1, 0, 0]})))

        async def waits() -> bool:
            return bool(writer._waiting)

        await until(waits)
        go_on.set()
        assert await one == 1
        with pytest.raises(Elsewhere):
            async with asyncio.timeout(BOUND_S):
                await two
        assert not writer.held


async def test_who_asks_for_an_index_while_it_loads_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexes, go_on = an_engine(tmp_path), asyncio.Event()
    follow = Replica._follow

    async def late(replica: Replica) -> None:
        await go_on.wait()
        await follow(replica)

    monkeypatch.setattr(Replica, "_follow", late)
    async with aclosing(indexes):
        indexes.loaded = True
        first = asyncio.create_task(indexes.create(an_index()))

        async def is_open() -> bool:
            return bool(indexes.open)

        await until(is_open)
        second = asyncio.create_task(indexes.get("movies"))
        go_on.set()
        async with asyncio.timeout(BOUND_S):
            assert (await second).replica.collection.sequence == 0
            await first
