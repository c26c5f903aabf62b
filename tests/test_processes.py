"""Processes that die and processes that are told to stop, under load, seen from the outside."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from process_parts import Load, Processes


# Not async: it outlives the event loop of every test.
@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Two of ranking and of features, one of everything else."""
    directory: Path = tmp_path_factory.mktemp("processes") / "data"
    suite = Processes(directory)
    suite.start()
    try:
        asyncio.run(suite.running())
        yield suite
    finally:
        asyncio.run(suite.stop())


@pytest.mark.parametrize("name", ["ranking", "features-2"])
async def test_sigterm_of_one_of_two_replicas_fails_no_call(processes: Processes, name: str) -> None:
    before = processes.pids
    async with processes.client() as client, Load(client, kinds=("score", "read", "write")) as load:
        pid = processes.signal(name, signal.SIGTERM)
        await processes.replaced(name, pid)
        await load.whole_again()
    assert [str(error) for _, error in load.errors] == []
    assert load.hung == []
    assert {other: pid for other, pid in processes.pids.items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }


@pytest.mark.parametrize("name", ["gateway", "ranking-2", "features", "registry", "valkey", "postgres"])
async def test_kill_9_gives_only_errors_of_the_catalogue_and_the_rest_recovers_as_it_is(
    processes: Processes, name: str
) -> None:
    before = processes.pids
    async with processes.client() as client, Load(client) as load:
        pid = processes.signal(name, signal.SIGKILL)
        await processes.replaced(name, pid)
        await load.whole_again()
    assert load.outside_the_catalogue(gateway_was_gone=name == "gateway") == []
    assert {other: pid for other, pid in processes.pids.items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }
