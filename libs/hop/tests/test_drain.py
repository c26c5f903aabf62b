"""Real processes and real signals: what is accepted completes, and the exit status says how it ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
from hop_conditions import BOUND_S
from hop_echo import EchoRequest, Stub


class Process:
    """One process of `process.py`, its log and its exit status."""

    def __init__(self, process):
        self._process = process
        self.log = []
        self._arrived = asyncio.Condition()
        self._reader = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, mode, **environment):
        env = {
            key: value for key, value in os.environ.items() if not key.startswith("TRUNKLINE_")
        } | environment
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("process.py")), mode, env=env,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        return cls(process)

    async def _read(self):
        async for line in self._process.stdout:
            text = line.decode()
            async with self._arrived:
                self.log.append(json.loads(text) if text.startswith("{") else {"event": text.strip()})
                self._arrived.notify_all()

    async def event(self, name):
        """The first log record of that name."""
        async with asyncio.timeout(BOUND_S), self._arrived:
            await self._arrived.wait_for(lambda: any(record["event"] == name for record in self.log))
        return next(record for record in self.log if record["event"] == name)

    def signal(self, number=signal.SIGTERM):
        self._process.send_signal(number)

    async def status(self):
        """The exit status, once it ended."""
        code = await asyncio.wait_for(self._process.wait(), BOUND_S)
        await self._reader
        return code

    async def close(self):
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader
        self._process._transport.close()


@pytest.fixture
async def process():
    """Starts processes; what is left of them is killed at the end."""
    async with AsyncExitStack() as stack:

        async def start(mode, **environment):
            started = await Process.start(mode, **environment)
            stack.push_async_callback(started.close)
            return started

        yield start


async def channel_to(process):
    port = (await process.event("listening"))["port"]
    await process.event("serving")
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])


async def test_every_call_that_was_accepted_completes_and_sessions_end_themselves(process):
    server = await process("echo")
    async with await channel_to(server) as channel:
        stub = Stub(channel)
        session = stub.Converse()
        assert (await session.read()).text == "hello"
        accepted = [stub.Echo(EchoRequest(text=str(i), value=0.5), timeout=10) for i in range(48)]
        # Answered, so all that went before it on the same connection was accepted.
        await stub.Echo(EchoRequest(text="last"), timeout=10)
        server.signal()
        assert (await asyncio.wait_for(session.read(), BOUND_S)).text == "resume-7"
        assert await session.read() is grpc.aio.EOF
        replies = await asyncio.wait_for(asyncio.gather(*accepted), BOUND_S)
        assert [reply.text for reply in replies] == [str(i) for i in range(48)]
        assert await server.status() == 0
        assert (await server.event("draining"))["sessions"] == 1


async def test_under_load_a_call_either_completes_or_never_reached_its_handler(process):
    server = await process("echo", TRUNKLINE_DRAIN_DELAY_S="0.2")
    async with await channel_to(server) as channel:
        stub = Stub(channel)
        completed, refusals = [], []

        async def caller(name):
            for number in range(10_000):
                try:
                    reply = await stub.Echo(EchoRequest(text=f"{name}/{number}"))
                except grpc.aio.AioRpcError as error:
                    refusals.append(error)
                    return
                assert reply.text == f"{name}/{number}"
                completed.append(reply.text)

        callers = [asyncio.ensure_future(caller(name)) for name in range(8)]
        await stub.Echo(EchoRequest(value=0.1), timeout=10)
        server.signal()
        await asyncio.wait_for(asyncio.gather(*callers), BOUND_S)
        assert await server.status() == 0
        assert len(completed) > 0 and len(refusals) == 8
        for error in refusals:
            # gRPC's core cancels what arrived and was not yet begun when it stops; what a handler began
            # would carry details. The client side takes a bare CANCELLED for UNAVAILABLE.
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            assert "grpc-status-details-bin" not in dict(error.trailing_metadata() or ())


async def test_a_call_that_never_reached_its_handler_does_not_hold_the_drain_up(process):
    server = await process("echo", TRUNKLINE_DRAIN_GRACE_S="600")
    async with await channel_to(server) as channel:
        # Its headers are there, its message never comes: nothing that a handler hears of.
        unbegun = channel.stream_unary("/hop_tests.v1.EchoService/Echo")(timeout=600)
        stub = Stub(channel)
        slow = stub.Echo(EchoRequest(text="slow", value=2.5), timeout=600)
        await stub.Echo(EchoRequest(), timeout=10)  # answered, so all that went before it is there
        server.signal()
        assert (await asyncio.wait_for(slow, BOUND_S)).text == "slow"
        assert await server.status() == 0
        with pytest.raises(grpc.aio.AioRpcError) as dropped:
            await asyncio.wait_for(unbegun, BOUND_S)
        assert dropped.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_a_second_signal_does_not_break_the_drain_off(process):
    server = await process("echo")
    async with await channel_to(server) as channel:
        stub = Stub(channel)
        slow = stub.Echo(EchoRequest(text="slow", value=1.0), timeout=10)
        await stub.Echo(EchoRequest(), timeout=10)
        server.signal()
        await server.event("draining")
        server.signal()
        assert (await slow).text == "slow"
        assert await server.status() == 0


async def test_a_process_that_is_told_to_stop_while_it_starts_stops(process):
    server = await process("slow-start")
    await server.event("building")
    server.signal()
    assert await server.status() == 0
    assert not [record for record in server.log if record["event"] == "listening"]


async def test_once_it_serves_collections_leave_alone_what_it_started_with(process):
    server = await process("frozen")
    await server.event("serving")
    await server.event("frozen")
    server.signal()
    assert await server.status() == 0


async def test_a_thread_that_never_ends_does_not_keep_the_process(process):
    server = await process("stuck-thread")
    await server.event("serving")
    server.signal(signal.SIGINT)
    assert await server.status() == 0


async def test_a_port_that_is_taken_stops_the_start_and_is_named(process):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = await process("echo", TRUNKLINE_PORT=str(taken.getsockname()[1]))
        assert await server.status() == 2
        assert server.log[-1]["event"].startswith("TRUNKLINE_HOST, TRUNKLINE_PORT: cannot listen")


async def test_a_background_task_that_fails_ends_the_process_with_the_reason_in_the_log(process, tmp_path):
    trigger = tmp_path / "go"
    server = await process("task-fails", TRUNKLINE_TRIGGER=str(trigger))
    await server.event("serving")
    trigger.touch()
    assert await server.status() == 1
    record = await server.event("background task failed")
    assert record["task"] == "store watch" and "the store is gone for good" in record["exception"]
    assert record["service"] == "echo" and record["level"] == "error"


async def test_an_exporter_that_nobody_listens_to_does_not_hold_the_drain_up(process):
    server = await process("echo", TRUNKLINE_OTLP_ENDPOINT="127.0.0.1:9", TRUNKLINE_TRACE_SAMPLE_RATIO="1")
    async with await channel_to(server) as channel:
        await Stub(channel).Echo(EchoRequest(), timeout=10)
        server.signal()
        assert await server.status() == 0


async def test_wrong_settings_end_the_process_with_their_names(process):
    server = await process("echo", TRUNKLINE_PROT="1", TRUNKLINE_QUEUE_TTL_S="never")
    assert await server.status() == 2
    said = "\n".join(record["event"] for record in server.log)
    assert "did you mean TRUNKLINE_PORT?" in said and "TRUNKLINE_QUEUE_TTL_S: " in said
