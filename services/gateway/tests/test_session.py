from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
from conditions import BOUND_S, Details, failure, open_channel, until
from gateway_parts import REGISTRY, Backend, method

from trunkline.registry.v1 import registry_pb2 as pb
from trunkline_gateway.__main__ import build
from trunkline_gateway.settings import Settings
from trunkline_hop.call import Call
from trunkline_hop.server import running


async def _count_on(request: bytes, call: Call) -> None:
    """Three events after the token that the request resumes from, then silence."""
    start = int(pb.WatchModelsRequest.FromString(request).resume_token or 0)
    for token in range(start + 1, start + 4):
        event = pb.WatchModelsResponse(resume_token=str(token), synced=pb.Synced(whole=True))
        await call.write(event.SerializeToString())
    await asyncio.Event().wait()


async def test_a_drain_ends_a_watch_and_its_client_resumes_through_another_gateway(
    backend: Backend, start_gateway: Any
) -> None:
    backend.on["WatchModels"] = _count_on
    tokens: list[str] = []

    async def follow(call: Any, count: int) -> None:
        async with asyncio.timeout(BOUND_S):
            async for message in call:
                tokens.append(pb.WatchModelsResponse.FromString(message).resume_token)
                if len(tokens) == count:
                    return

    settings = Settings(port=0, metrics_port=0, registry=backend.target)
    async with running("gateway", settings, build) as first:
        channel = open_channel(first.target)
        call = method(channel, REGISTRY, "WatchModels")(b"")
        await follow(call, 3)
    error = await failure(call)
    assert (error.code(), Details(error).reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert Details(error).RetryInfo.retry_delay.ToTimedelta().total_seconds() == 0
    await until(lambda: backend.cancelled == 1)
    await channel.close()

    second = await start_gateway(registry=backend.target)
    async with open_channel(second.target) as channel:
        resume = pb.WatchModelsRequest(resume_token=tokens[-1]).SerializeToString()
        await follow(method(channel, REGISTRY, "WatchModels")(resume), 6)
    assert tokens == ["1", "2", "3", "4", "5", "6"]


async def test_a_watch_ends_when_the_server_behind_it_drains(start_backend: Any, start_gateway: Any) -> None:
    backend = await start_backend()

    async def until_told(request: bytes, call: Call) -> None:
        await call.write(b"begun")
        await call.draining.wait()
        await call.write(pb.WatchModelsResponse(draining=pb.Draining()).SerializeToString())

    backend.on["WatchModels"] = until_told
    gateway = await start_gateway(registry=backend.target)
    async with open_channel(gateway.target) as channel:
        call = method(channel, REGISTRY, "WatchModels")(b"")
        assert await call.read() == b"begun"
        stopping = asyncio.ensure_future(backend.server.stop())
        async with asyncio.timeout(BOUND_S):
            last = pb.WatchModelsResponse.FromString(await call.read())
            assert last.WhichOneof("event") == "draining"
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
            await stopping


async def test_a_client_that_leaves_a_session_ends_it_behind_the_gateway(
    channel: Any, backend: Backend, gateway: Any
) -> None:
    backend.on["WatchModels"] = _count_on
    calls = [method(channel, REGISTRY, "WatchModels")(b"") for _ in range(5)]
    for call in calls:
        await call.read()
    assert gateway.sessions == 5
    for call in calls:
        call.cancel()
    await until(lambda: backend.cancelled == 5)
    await until(lambda: gateway.sessions == 0 and backend.server.sessions == 0)


async def test_a_session_that_waits_takes_no_slot_of_other_calls(
    backend: Backend, start_gateway: Any
) -> None:
    backend.on["WatchModels"] = _count_on
    gateway = await start_gateway(registry=backend.target, concurrency_limit=1, queue_limit=0)
    async with open_channel(gateway.target) as channel:
        calls = [method(channel, REGISTRY, "WatchModels")(b"") for _ in range(3)]
        for call in calls:
            await call.read()
        assert await method(channel, REGISTRY, "GetModel")(b"x") == b"x"
