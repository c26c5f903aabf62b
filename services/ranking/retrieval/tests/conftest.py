"""Replicas that share a directory."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves the tests' own parts out of it
from retrieval_parts import Replica

from trunkline_local.embedded import free_port

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
async def replica(start: Start) -> Replica:
    """One replica."""
    return await start()
