"""The whole suite on real servers, in this process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves the tests' own parts out of it
from suite_parts import BUF, Client, Suite, opened

from trunkline_local.embedded import Valkey


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was done in another way because Node is not here."""
    if not BUF.exists():
        terminalreporter.write_line(
            "without buf (it needs Node; `make check` installs it): calls by reflection were made in Python only"
        )


@pytest.fixture
async def suite(valkey: Valkey, database: str, tmp_path: Path) -> AsyncIterator[Suite]:
    """A suite of its own for every test, so that no test sees what another left."""
    async with Redis.from_url(valkey.url) as redis:
        await redis.flushall()
    async with opened(tmp_path, valkey.url, database) as running:
        yield running


@pytest.fixture
async def client(suite: Suite) -> AsyncIterator[Client]:
    """An outside client of the gateway."""
    async with Client(suite.target) as connected:
        yield connected
