"""Real servers on both sides of the gateway, which is put together by its own `build`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

_HERE = Path(__file__).parent
for _parts in (_HERE, _HERE.parents[2] / "tests"):  # importlib mode leaves the tests' own parts out of it
    sys.path.insert(0, str(_parts))
from conditions import open_channel  # noqa: E402
from gateway_parts import Backend  # noqa: E402

from trunkline_gateway.__main__ import build  # noqa: E402
from trunkline_gateway.settings import Settings  # noqa: E402
from trunkline_hop.server import Server, running  # noqa: E402
from trunkline_hop.settings import ServiceSettings  # noqa: E402

StartBackend = Callable[..., Awaitable[Backend]]
StartGateway = Callable[..., Awaitable[Server]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What a test opened, closed after it in reverse order."""
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def start_backend(stack: AsyncExitStack) -> StartBackend:
    """Starts a backend; keyword arguments are settings."""

    async def start(**settings: Any) -> Backend:
        backend = Backend()
        given: dict[str, Any] = {"port": 0, "metrics_port": 0, "drain_grace_s": 1.0} | settings
        await stack.enter_async_context(running("backend", ServiceSettings(**given), backend.build))
        return backend

    return start


@pytest.fixture
def start_gateway(stack: AsyncExitStack) -> StartGateway:
    """Starts a gateway; keyword arguments are settings, such as `features=target`."""

    async def start(**settings: Any) -> Server:
        given: dict[str, Any] = {"port": 0, "metrics_port": 0, "drain_grace_s": 5.0} | settings
        return await stack.enter_async_context(running("gateway", Settings(**given), build))

    return start


@pytest.fixture
async def backend(start_backend: StartBackend) -> Backend:
    """One that serves every contract."""
    return await start_backend()


@pytest.fixture
async def gateway(backend: Backend, start_gateway: StartGateway) -> Server:
    """In front of it."""
    target = backend.target
    return await start_gateway(features=target, ranking=target, registry=target, retrieval=target)


@pytest.fixture
async def channel(gateway: Server, stack: AsyncExitStack) -> grpc.aio.Channel:
    """An outside client's channel to the gateway."""
    return await stack.enter_async_context(open_channel(gateway.target))
