"""The proxy does what its faults say, to open and to new connections, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from conditions import BOUND_S, until
from proxy import GARBAGE, HOST, RESET_AFTER, Fault, Proxy

ANSWER = bytes(range(256)) * 4


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that answers every line with the same kilobyte."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readline() != b"bye\n":
                writer.write(ANSWER)
                await writer.drain()
            writer.close()
        except ConnectionError:
            return

    server = await asyncio.start_server(serve, HOST, 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy, asyncio.timeout(BOUND_S):
        yield proxy


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self) -> bytes:
        self.writer.write(b"?\n")
        return await self.reader.readexactly(len(ANSWER))


@asynccontextmanager
async def caller(proxy: Proxy) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()


async def silent(caller: Caller, proxy: Proxy) -> bool:
    """Nothing has come by the time at which the same question through another door was answered."""
    asking = asyncio.ensure_future(caller.reader.read(1))
    async with Proxy(proxy.upstream) as other, _beside(other) as witness:
        await witness.ask()
        await witness.ask()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return asking.cancelled()


_beside = caller


async def test_it_passes_everything_on(proxy: Proxy) -> None:
    async with caller(proxy) as one, caller(proxy) as other:
        assert await one.ask() == await other.ask() == await one.ask() == ANSWER
    assert proxy.accepted == 2
    await until(lambda: proxy.open == 0)


async def test_late_answers_are_late_and_whole(proxy: Proxy) -> None:
    async with caller(proxy) as one:
        await one.ask()
        proxy.latency_s = BOUND_S
        proxy.set(Fault.LATENCY)
        asking = asyncio.ensure_future(one.ask())
        async with Proxy(proxy.upstream) as other, caller(other) as witness:
            await witness.ask()
        assert not asking.done()
        proxy.set(Fault.PASS)
        assert await asking == ANSWER
        proxy.latency_s = 0.001
        proxy.set(Fault.LATENCY)
        assert await one.ask() == ANSWER


async def test_refused_is_every_connection(proxy: Proxy) -> None:
    async with caller(proxy) as one:
        await one.ask()
        proxy.set(Fault.REFUSE)
        with pytest.raises(ConnectionResetError):
            await one.reader.read(1)
    async with caller(proxy) as two:
        with pytest.raises(ConnectionResetError):
            await two.reader.read(1)
    proxy.set(Fault.PASS)
    async with caller(proxy) as three:
        assert await three.ask() == ANSWER


async def test_what_hangs_is_read_and_never_answered_not_even_later(proxy: Proxy) -> None:
    async with caller(proxy) as one, caller(proxy) as idle:
        await one.ask()
        await idle.ask()
        proxy.set(Fault.HANG)
        one.writer.write(b"?\n")
        assert await silent(one, proxy)
        async with caller(proxy) as new:
            new.writer.write(b"?\n")
            assert await silent(new, proxy)
            proxy.set(Fault.PASS)
            with pytest.raises(ConnectionResetError):
                await new.reader.read(1)
        with pytest.raises(ConnectionResetError):
            await one.reader.read(1)
        assert await idle.ask() == ANSWER


async def test_a_reset_comes_in_the_middle_of_an_answer(proxy: Proxy) -> None:
    async with caller(proxy) as one:
        await one.ask()
        proxy.set(Fault.RESET)
        one.writer.write(b"?\n")
        came = b""
        with pytest.raises(ConnectionResetError):
            while True:
                came += await one.reader.readexactly(1)
        assert came == ANSWER[:RESET_AFTER]
    proxy.set(Fault.PASS)
    async with caller(proxy) as two:
        assert await two.ask() == ANSWER


async def test_garbage_instead_of_an_answer(proxy: Proxy) -> None:
    async with caller(proxy) as one:
        await one.ask()
        proxy.set(Fault.GARBAGE)
        assert await one.reader.readexactly(len(GARBAGE)) == GARBAGE
        async with caller(proxy) as two:
            two.writer.write(b"?\n")
            assert await two.reader.readexactly(len(GARBAGE)) == GARBAGE
        proxy.set(Fault.PASS)
        with pytest.raises(ConnectionResetError):
            await one.reader.read(1)


async def test_a_drip_loses_nothing(proxy: Proxy) -> None:
    async with caller(proxy) as one:
        await one.ask()
        proxy.set(Fault.DRIP)
        one.writer.write(b"?\n")
        assert await one.reader.read(1024) == ANSWER[:1]
        assert await one.reader.read(1024) == ANSWER[1:2]
        proxy.set(Fault.PASS)
        assert await one.reader.readexactly(len(ANSWER) - 2) == ANSWER[2:]


async def test_a_server_that_leaves_takes_its_connections_along(proxy: Proxy) -> None:
    async with caller(proxy) as one:
        await one.ask()
        one.writer.write(b"bye\n")
        assert await one.reader.read() == b""
    await until(lambda: proxy.open == 0)
