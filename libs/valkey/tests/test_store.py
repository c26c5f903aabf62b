"""Commands on the real server, cancelled, late and refused."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import struct

import pytest
from redis.exceptions import ResponseError

from trunkline_hop.context import Context, current
from trunkline_local.embedded import Valkey
from trunkline_valkey import Script, Store, StoreDown, is_address


@pytest.fixture
async def own(tmp_path):
    """A server that a test may stop and kill."""
    async with Valkey(tmp_path / "valkey", persistent=True) as server:
        yield server


async def test_a_cancelled_command_never_hands_its_reply_to_anybody(valkey, until):
    """Commands are cancelled, and time out, at random points on few connections; every other one gets its own."""
    chance = random.Random(7)
    async with Store(valkey.url, connections=3) as store:
        for number in range(50):
            await store.command("SET", f"own:{number}", str(number), timeout_s=5)
        before = len(asyncio.all_tasks())
        answered = 0
        for _ in range(25):
            numbers = [chance.randrange(50) for _ in range(60)]
            tasks = [
                asyncio.create_task(
                    store.command("GET", f"own:{number}", timeout_s=chance.choice([0.0005, 0.002, 0.09]))
                )
                for number in numbers
            ]
            for task in tasks:
                if chance.random() < 0.5:
                    asyncio.get_running_loop().call_later(chance.random() * 0.006, task.cancel)
            for number, reply in zip(
                numbers, await asyncio.gather(*tasks, return_exceptions=True), strict=True
            ):
                if isinstance(reply, bytes):
                    answered += 1
                    assert reply == str(number).encode()
                else:
                    assert isinstance(reply, asyncio.CancelledError | StoreDown)
        assert answered > 50

        async def idle() -> bool:
            return store.pending == 0

        await until(idle)
        assert len(asyncio.all_tasks()) == before
        for number in range(50):
            assert await store.command("GET", f"own:{number}", timeout_s=5) == str(number).encode()
        listed = (await store.command("CLIENT", "LIST", timeout_s=5)).decode()
        assert sum("cmd=get" in line or "cmd=client" in line for line in listed.splitlines()) <= 3


async def test_a_script_the_server_has_forgotten_is_sent_again(valkey):
    script = Script("echo", "return {KEYS[1], ARGV[1]}")
    async with Store(valkey.url) as store:
        for _ in range(2):
            await store.command("SCRIPT", "FLUSH", timeout_s=5)
            assert await store.script(script, ["k"], ["a"], timeout_s=5) == [b"k", b"a"]


async def test_an_impatient_caller_neither_waits_past_its_deadline_nor_opens_the_breaker(own):
    async with Store(own.url) as store:
        await store.command("PING", timeout_s=5)
        os.kill(own.pid, signal.SIGSTOP)
        try:
            loop = asyncio.get_running_loop()
            for _ in range(5):
                token = current.set(Context(deadline=loop.time() + 0.02))
                async with asyncio.timeout(5):
                    with pytest.raises(StoreDown):
                        await store.command("PING", timeout_s=60)
                current.reset(token)
        finally:
            os.kill(own.pid, signal.SIGCONT)
        assert await store.command("PING", timeout_s=5) == b"PONG"


async def test_a_store_that_is_gone_is_refused_at_once_and_asked_again_a_second_later(own, until):
    async with Store(own.url, what="feature store") as store:
        await own.kill()
        for _ in range(5):
            with pytest.raises(StoreDown) as caught:
                await store.command("PING", timeout_s=5)
        fault = caught.value.unavailable()
        assert (fault.reason, fault.message) == ("STORE_UNREACHABLE", "the feature store does not answer")
        assert 0 < fault.retry_after.total_seconds() <= 1
        await own.start()

        async def back() -> bool:
            try:
                return await store.command("PING", timeout_s=5) == b"PONG"
            except StoreDown:
                return False

        await until(back)


async def test_connections_that_a_store_left_behind_cost_nothing(own):
    async with Store(own.url) as store:
        await asyncio.gather(*(store.command("PING", timeout_s=5) for _ in range(8)))
        await own.kill()
        await own.start()
        assert await asyncio.gather(*(store.command("PING", timeout_s=5) for _ in range(8))) == [b"PONG"] * 8


async def test_connections_that_were_reset_while_they_waited_cost_nothing(valkey):
    """Reset, not closed: as by a proxy, or a server that died with something unread."""
    accepted: list[asyncio.StreamWriter] = []
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.transport.abort()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        to, out = await asyncio.open_connection("127.0.0.1", valkey.port)
        pumps.update((asyncio.create_task(pump(reader, out)), asyncio.create_task(pump(to, writer))))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with Store(valkey.url.replace(f":{valkey.port}/", f":{port}/")) as store:
            await asyncio.gather(*(store.command("PING", timeout_s=5) for _ in range(8)))
            before = len(accepted)
            for writer in accepted:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            readers = [connection._reader for connection in store._pool._available_connections]
            async with asyncio.timeout(10):
                while not all(reader.exception() for reader in readers):
                    await _turn()
            replies = await asyncio.gather(*(store.command("PING", timeout_s=5) for _ in range(8)))
            assert replies == [b"PONG"] * 8
            assert len(accepted) > before
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def test_a_command_that_is_wrong_says_nothing_against_the_store(valkey):
    async with Store(valkey.url) as store:
        for _ in range(10):
            with pytest.raises(ResponseError):
                await store.command("HGET", "one argument", timeout_s=5)
        assert await store.command("PING", timeout_s=5) == b"PONG"


async def test_leaving_ends_what_still_waits(own):
    store = Store(own.url)
    async with store:
        await store.command("PING", timeout_s=5)
        os.kill(own.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(store.command("PING", timeout_s=60))
        while not store.pending:
            await _turn()
    os.kill(own.pid, signal.SIGCONT)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert store.pending == 0


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("redis://127.0.0.1:6379/0", True),
        ("rediss://user:password@host", True),
        ("unix:///run/valkey.sock", True),
        ("127.0.0.1:6379", False),
        ("http://host", False),
        ("redis://host/0?db=x", False),
        ("", False),
    ],
)
def test_addresses(url, good):
    assert is_address(url) is good


async def _turn() -> None:
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: passed.done() or passed.set_result(None))
    await passed
