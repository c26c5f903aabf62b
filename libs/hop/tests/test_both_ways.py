"""Streams both ways, read and written by two tasks at once."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from hop_conditions import BOUND_S
from hop_echo import EchoRequest, EchoResponse


async def told(echo, requests):
    """What comes back, and the status."""
    call = echo.stub.Converse(iter(requests))
    async with asyncio.timeout(BOUND_S):
        answers = [answer.text async for answer in call]
        return answers, await call.code()


@pytest.mark.parametrize("count", [0, 1])
async def test_the_end_of_requests_and_the_first_answer_at_once_do_not_meet(echo, count):
    async def converse(requests, call):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.write(EchoResponse(text="hello")))
            async for _ in requests:
                pass

    echo.servicer.on_converse = converse
    for _ in range(50):
        assert await told(echo, [EchoRequest(text="a")] * count) == (["hello"], grpc.StatusCode.OK)


async def test_a_reader_that_is_cancelled_at_any_moment_costs_no_status(echo):
    async def converse(requests, call):
        reader = asyncio.create_task(call.read())
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn
        reader.cancel()
        await asyncio.wait([reader])

    echo.servicer.on_converse = converse
    for _ in range(50):
        assert await told(echo, []) == ([], grpc.StatusCode.OK)
