"""A caller that goes away at any await leaks nothing: no task, no place in flight, no probe."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import grpc
import pytest

from trunkline_hop import errors


async def cancelled_after(steps: int, work: Any) -> bool:
    """Runs a coroutine, cancels it after so many turns of the loop; False when it was over before."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for _ in range(steps):
        if task.done():
            break
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn
    over = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return not over


async def nothing_left(lab: Any, channel: Any, before: int) -> None:
    gc.collect()
    await lab.until(lambda: all(e.in_flight == 0 for e in channel.endpoints))
    await lab.until(lambda: len(asyncio.all_tasks()) <= before)


async def unary(lab: Any, stub: Any) -> None:
    await stub.Read(lab.Plain())


async def hedged(lab: Any, stub: Any) -> None:
    await stub.Hedged(lab.Plain())


async def listing(lab: Any, stub: Any) -> None:
    async for _ in stub.List(lab.Plain(text="a b c")):
        pass


async def joining(lab: Any, stub: Any) -> None:
    async def notes() -> Any:
        for word in "abc":
            yield lab.Plain(text=word)

    await stub.Join(notes())


async def chatting(lab: Any, stub: Any) -> None:
    call = stub.Chat()
    for word in "abc":
        await call.write(lab.Plain(text=word))
        await call.read()
    await call.done_writing()
    await call.read()


@pytest.mark.parametrize("kind", [unary, hedged, listing, joining, chatting])
@pytest.mark.parametrize("failing", [False, True])
async def test_a_call_cancelled_at_any_turn_of_the_loop_leaves_nothing(
    lab: Any, kind: Any, failing: bool
) -> None:
    servers = [await lab.server("a"), await lab.server("b")]
    channel = await lab.channel(
        *servers, hedge_samples=5, hedge_quantile=0.1, breaker_failures=10_000, breaker_calls=10_000
    )
    stub = lab.Stub(channel)
    await lab.serving(channel, 2)
    for _ in range(10):
        await stub.Hedged(lab.Plain())

    async def on(method: str, text: str, context: Any) -> str:
        if failing and len(servers[0].calls) % 2:
            raise errors.Unavailable("STORE_UNREACHABLE", "gone")
        return text or "x"

    for server in servers:
        server.on = on
    await lab.until(lambda: all(e.in_flight == 0 for e in channel.endpoints))
    before = len(asyncio.all_tasks())
    for steps in range(60):
        await cancelled_after(steps, kind(lab, stub))
    await nothing_left(lab, channel, before)


@pytest.mark.parametrize("steps", range(0, 24, 2))
async def test_a_probe_cancelled_at_any_turn_gives_its_place_back(lab: Any, steps: int) -> None:
    server = await lab.server()

    async def on(method: str, text: str, context: Any) -> str:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "reset")
        return ""

    server.on = on
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    for _ in range(3):
        await lab.fault(stub.Write(lab.Plain()))
    lab.clock.advance(31)
    server.on = None
    await cancelled_after(steps, unary(lab, stub))
    assert (await stub.Write(lab.Plain())).text == "one"
    assert channel.endpoints[0].breaker == "closed"


async def test_a_call_that_is_made_and_dropped_leaves_nothing(lab: Any) -> None:
    server = await lab.server()
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    before = len(asyncio.all_tasks())
    for make in (stub.Read, stub.List):
        make(lab.Plain())
    stub.Join()
    stub.Chat()
    await nothing_left(lab, channel, before)


async def test_the_rpc_ends_at_the_server_when_its_caller_goes(lab: Any) -> None:
    server = await lab.server()
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def on(*_: Any) -> str:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    server.on = on
    stub = lab.Stub(await lab.channel(server))
    task = asyncio.ensure_future(stub.Read(lab.Plain()))
    async with asyncio.timeout(20):
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()


async def test_a_call_cancelled_while_it_waits_to_retry_is_cancelled(lab: Any) -> None:
    server = await lab.server()

    async def on(*_: Any) -> str:
        raise errors.Unavailable("STORE_UNREACHABLE", "gone")

    server.on = on
    channel = await lab.channel(server, backoff_initial_s=1000.0, backoff_maximum_s=1000.0)
    stub = lab.Stub(channel)
    for cancel in ("call", "task"):
        server.calls.clear()
        call = stub.Read(lab.Plain(), timeout=60.0)
        call._deadline += 1e6
        task = asyncio.ensure_future(call)
        await lab.until(lambda call=call: call._nap is not None)
        call.cancel() if cancel == "call" else task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.cancelled()


async def test_a_closed_channel_leaves_no_task(lab: Any) -> None:
    server = await lab.server()
    before = len(asyncio.all_tasks())
    channel = await lab.channel(server)
    await lab.Stub(channel).Read(lab.Plain())
    await channel.close()
    await channel.close()
    await lab.until(lambda: len(asyncio.all_tasks()) <= before)
