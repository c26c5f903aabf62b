"""What a client sends on a stream that its server is about to end."""

from __future__ import annotations

import asyncio

import pytest
from hop_conditions import BOUND_S
from hop_echo import EchoRequest, EchoResponse, Stub

from trunkline_hop.channel import connect
from trunkline_hop.errors import Conflict


def refuse():
    return Conflict("SESSION_MOVED", "it goes on elsewhere", resource_type="session", resource_name="s")


async def forever():
    while True:
        yield EchoRequest(text="a")


@pytest.fixture
async def channel(echo):
    async with connect("echo", echo.server.target) as channel:
        yield channel


@pytest.mark.parametrize("answers", [0, 1, 20])
async def test_who_writes_without_end_learns_why_the_server_ended_it(echo, channel, answers):
    async def converse(requests, call):
        for _ in range(answers):
            await call.write(EchoResponse(text="b"))
        await anext(requests)
        raise refuse()

    echo.servicer.on_converse = converse
    stub = Stub(channel)
    async with asyncio.timeout(BOUND_S):
        for _ in range(20):
            written = stub.Converse()
            heard = []

            async def read(call=written, heard=heard):
                async for answer in call:
                    heard.append(answer)

            reading = asyncio.create_task(read())
            with pytest.raises(Conflict) as why:
                while True:
                    await written.write(EchoRequest(text="a"))
            assert why.value.reason == "SESSION_MOVED"
            with pytest.raises(Conflict):
                await reading
            heard.clear()
            with pytest.raises(Conflict) as why:
                async for answer in stub.Converse(forever()):
                    heard.append(answer)
            assert (why.value.reason, len(heard)) == ("SESSION_MOVED", answers)


async def test_it_says_nothing_against_the_server(echo, channel):
    async def converse(requests, call):
        await anext(requests)
        raise refuse()

    echo.servicer.on_converse = converse
    stub = Stub(channel)
    async with asyncio.timeout(BOUND_S):
        for _ in range(10):
            with pytest.raises(Conflict):
                async for _ in stub.Converse(forever()):
                    pass
    assert [endpoint.breaker for endpoint in channel.endpoints] == ["closed"]
