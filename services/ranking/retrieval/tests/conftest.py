"""Replicas that share a directory."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves the tests' own parts out of it
from retrieval_parts import Replica

from trunkline_hop import running
from trunkline_local.embedded import free_port
from trunkline_retrieval.__main__ import build
from trunkline_retrieval.settings import Settings

Start = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a replica on the test's directory; keyword arguments are settings."""
    started: list[Replica] = []

    async def one(**settings: str) -> Replica:
        replica = Replica(tmp_path / "indexes", free_port(), settings)
        started.append(replica)
        return await replica.start()

    yield one
    for each in started:
        await each.close()


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    """One replica in this process, for what needs none of its own."""
    settings = Settings(port=0, metrics_port=0, blob_dir=tmp_path / "indexes", drain_grace_s=1.0)
    async with running("retrieval", settings, build) as server:
        one = Replica(tmp_path / "indexes", server.port, {})
        one.attach()
        await one.ready()
        yield one
        await one.close()
