"""An echo server behind all layers, and bare gRPC channels to it."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trunkline_hop.server import Server, running
from trunkline_hop.settings import ServiceSettings
from trunkline_hop.telemetry import Tracing

# Tests are imported by path and have no package: the contract they share is registered by hand, once.
if "hop_echo" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("hop_echo", Path(__file__).with_name("echo.py"))
    assert _spec is not None and _spec.loader is not None
    sys.modules["hop_echo"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["hop_echo"])
import hop_echo

BOUND_S = 20.0
"""How long a test waits for a condition before it is a failure. Nothing is asserted about time."""


class Echo:
    """One running server with its servicer, a channel and its spans."""

    def __init__(self, server: Server, servicer: Any, channel: Any, spans: Any, tracing: Tracing) -> None:
        self.server = server
        self.servicer = servicer
        self.channel = channel
        self.stub = hop_echo.Stub(channel)
        self.raw = hop_echo.Stub(channel, raw=True)
        self._spans = spans
        self._tracing = tracing

    def spans(self) -> list[Any]:
        """Every span that ended, oldest first."""
        self._tracing.flush()
        return list(self._spans.get_finished_spans())


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Echo]]]:
    """Starts an echo server; keyword arguments are settings. It drains at the end."""
    async with AsyncExitStack() as stack:

        async def start_one(
            *, record: bool = True, build: Any = None, ratio: float = 1.0, **settings: Any
        ) -> Echo:
            spans = InMemorySpanExporter()
            tracing = Tracing("echo", ratio, spans if record else None)
            stack.callback(tracing.shutdown)
            servicer = hop_echo.EchoServicer()

            async def wire(server: Server, given: ServiceSettings) -> None:
                server.add(servicer)
                if build is not None:
                    await build(server, given)

            defaults: dict[str, Any] = {"drain_grace_s": 5.0}
            server = await stack.enter_async_context(
                running("echo", ServiceSettings(**(defaults | settings)), wire, tracing=tracing)
            )
            channel = await stack.enter_async_context(
                grpc.aio.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)])
            )
            return Echo(server, servicer, channel, spans, tracing)

        yield start_one


@pytest.fixture
async def echo(start: Callable[..., Awaitable[Echo]]) -> Echo:
    """An echo server that records every span."""
    return await start()


@pytest.fixture
def events() -> Any:
    """Structured log records, as dictionaries."""
    with structlog.testing.capture_logs() as records:
        yield records


async def until(condition: Callable[[], Any]) -> None:
    """Waits, with a bound, for a condition to become true."""
    async with asyncio.timeout(BOUND_S):
        ticks = asyncio.get_running_loop()
        while not condition():
            tick = ticks.create_future()
            ticks.call_later(0.005, tick.set_result, None)
            await tick


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(asyncio.ensure_future(whole(call)), BOUND_S)
    return caught.value


async def whole(call: Any) -> Any:
    """The answer, or all of them."""
    if hasattr(call, "__aiter__"):
        return [message async for message in call]
    return await call


class Details:
    """What a status carries, unpacked."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        trailers = list(error.trailing_metadata() or ())
        self.raw = next(value for key, value in trailers if key == "grpc-status-details-bin")
        self.pushback = next((value for key, value in trailers if key == "grpc-retry-pushback-ms"), None)
        self.status = status_pb2.Status.FromString(self.raw)

    def __getattr__(self, name: str) -> Any:
        for packed in self.status.details:
            if packed.type_url.endswith("." + name):
                found = getattr(error_details_pb2, name)()
                packed.Unpack(found)
                return found
        raise AttributeError(name)


helpers = sys.modules.setdefault("hop_conditions", type(sys)("hop_conditions"))
vars(helpers).update(until=until, failure=failure, whole=whole, Details=Details, BOUND_S=BOUND_S)
