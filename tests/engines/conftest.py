"""Real translation servers, each started once, and a service that has them all. Run by `make test-engines`."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from real_engines import FIGURES, ORDER, Engines, Servers, Translate, TritonServer, VllmServer

from trunkline_local.embedded import PostgreSQL, Valkey
from trunkline_phrase_translator import artifact

# They need 4 GB of environments and minutes to start: the ordinary tests leave them alone.
collect_ignore_glob = [] if os.environ.get("TRUNKLINE_TEST_ENGINES") else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured on the way."""
    for figure in FIGURES:
        terminalreporter.write_line(figure)


# Not async: a session fixture's event loop would end before or after the servers', and they need none.
@pytest.fixture(scope="session")
def engines(scratch: Path) -> Iterator[Engines]:
    """A Triton server and a vLLM server, both up; a test that ends one starts it again."""
    # Copies, so that all of them have the same weights, whatever is trained meanwhile.
    quantised = shutil.copytree(artifact.directory(), scratch / "quantised")
    weights = shutil.copytree(artifact.checkpoint(), scratch / "weights")
    found = Engines(TritonServer(scratch / "triton", quantised), VllmServer(scratch / "vllm", weights))
    try:
        found.start()
        asyncio.run(found.up())
        yield found
    finally:
        asyncio.run(found.stop())


@pytest.fixture(scope="session")
def servers(engines: Engines, valkey: Valkey, postgres: PostgreSQL, scratch: Path) -> Iterator[Servers]:
    """A registry and the translation service, with Triton, vLLM, OpenVINO and Apertium behind it."""
    started = Servers(engines, valkey.url, postgres.dsn, scratch / "servers")
    try:
        yield started
    finally:
        asyncio.run(started.stop())


@pytest.fixture
async def translate(engines: Engines, servers: Servers) -> AsyncIterator[Translate]:
    """The service, and all of its engines up."""
    engines.start()
    await engines.up()
    servers.start()
    await servers.up()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.service.port}") as channel:
        running = Translate(servers.service, channel)
        await running.wait_for(*ORDER)
        yield running


@pytest.fixture
def figures() -> list[Any]:
    """Lines for the end of the run."""
    return FIGURES
