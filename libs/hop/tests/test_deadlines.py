"""Deadlines, idle sessions, cancels and what they leave behind: nothing."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from hop_conditions import Details, failure, until
from hop_echo import EchoRequest, EchoResponse

from trunkline_hop.context import Priority


class Blocked:
    """A handler that waits for ever and notes how it ended."""

    def __init__(self):
        self.entered = 0
        self.cancelled = 0
        self.call = None

    async def __call__(self, request, call):
        self.entered += 1
        self.call = call
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def block(echo):
    blocked = Blocked()
    for kind in ("echo", "split", "join", "chat", "converse"):
        setattr(echo.servicer, f"on_{kind}", blocked)
    return blocked


def ours():
    """Tasks of calls and sessions that are alive."""
    names = ("HandleExceptions", "wait")
    return [task for task in asyncio.all_tasks() if task.get_name().startswith(names)]


@pytest.mark.parametrize(("timeout", "least", "most"), [(None, 0.0, 2.0), (100, 5.2, 10.0), (5, 2.0, 5.2)])
async def test_a_deadline_is_the_callers_within_the_methods_bounds(echo, timeout, least, most):
    seen = []

    async def handler(request, call):
        seen.append(call.remaining())
        return EchoResponse()

    echo.servicer.on_echo = handler
    await echo.stub.Echo(EchoRequest(), timeout=timeout)
    # A caller's deadline travels as a rounded-up timeout, so it may arrive a little later than it was set.
    assert least < seen[0] <= most


async def test_a_call_without_a_deadline_ends_at_the_methods_default(echo):
    blocked = block(echo)
    error = await failure(echo.stub.Quick(EchoRequest()))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert Details(error).ErrorInfo.reason == "DEADLINE_EXCEEDED"
    assert blocked.cancelled == 1 and blocked.call.priority is Priority.INTERACTIVE


async def test_a_deadline_beyond_the_maximum_is_cut(echo):
    block(echo)
    error = await failure(echo.stub.Quick(EchoRequest(), timeout=60))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert Details(error).ErrorInfo.reason == "DEADLINE_EXCEEDED"


async def test_an_expired_deadline_cancels_the_handler(echo):
    blocked = block(echo)
    error = await failure(echo.stub.Echo(EchoRequest(), timeout=0.05))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: blocked.cancelled == blocked.entered)
    await until(lambda: echo.server.admission.running == 0)


async def test_a_session_has_no_deadline_and_ends_after_silence(echo):
    seen = []

    async def handler(requests, call):
        seen.append(call.remaining())
        async for _ in requests:
            pass

    echo.servicer.on_converse = handler
    call = echo.stub.Converse()
    await call.write(EchoRequest())
    error = await failure(call)
    assert (error.code(), Details(error).ErrorInfo.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "IDLE")
    assert seen == [None] and echo.server.sessions == 0


async def test_a_session_that_talks_outlives_its_idle_timeout(echo):
    call = echo.stub.Converse()
    loop = asyncio.get_running_loop()
    end = loop.time() + 1.5  # longer than the idle timeout
    while loop.time() < end:
        await call.write(EchoRequest(text="still here"))
        assert (await call.read()).text == "still here"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_an_old_session_is_asked_to_move_on(start):
    echo = await start(session_age_s=0.05)

    async def handler(requests, call):
        await call.draining.wait()
        await call.write(EchoResponse(text="resume-7"))

    echo.servicer.on_converse = handler
    call = echo.stub.Converse()
    assert (await asyncio.wait_for(call.read(), 20)).text == "resume-7"


async def test_sessions_over_their_limit_are_refused(start):
    echo = await start(session_limit=1)
    first = echo.stub.Converse()
    await first.write(EchoRequest(text="a"))
    await first.read()
    error = await failure(echo.stub.Converse())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert Details(error).ErrorInfo.reason == "SHED"
    first.cancel()
    await until(lambda: echo.server.sessions == 0)


@pytest.mark.parametrize("kind", ["Echo", "Split", "Join", "Chat", "Converse"])
async def test_a_caller_that_cancels_leaves_nothing_behind(echo, kind):
    blocked = block(echo)
    method = getattr(echo.stub, kind)
    before = len(ours())
    calls = [method(EchoRequest()) if kind in ("Echo", "Split") else method() for _ in range(5)]
    await until(lambda: blocked.entered == 5)
    for call in calls:
        call.cancel()
    await until(lambda: blocked.cancelled == 5)
    await until(lambda: (echo.server.admission.running, echo.server.sessions) == (0, 0))
    await until(lambda: len(ours()) <= before)


async def test_a_caller_that_cancels_in_the_queue_leaves_nothing_behind(start):
    echo = await start(concurrency_limit=1, queue_ttl_s=60)
    blocked = block(echo)
    first = echo.stub.Echo(EchoRequest(), timeout=9)
    await until(lambda: blocked.entered == 1)
    waiting = [echo.stub.Echo(EchoRequest(), timeout=9) for _ in range(5)]
    await until(lambda: echo.server.admission.queued == 5)
    for call in waiting:
        call.cancel()
    await until(lambda: echo.server.admission.queued == 0)
    first.cancel()
    await until(lambda: echo.server.admission.running == 0)
    assert blocked.entered == 1


async def test_a_caller_that_cancels_while_it_is_written_to_is_no_error_of_ours(echo, events):
    ended = []

    async def handler(request, call):
        try:
            while True:
                await call.write(EchoResponse(text="x" * 10_000))
        finally:
            ended.append(True)

    echo.servicer.on_split = handler
    for _ in range(10):
        call = echo.stub.Split(EchoRequest())
        await call.read()
        call.cancel()
    await until(lambda: len(ended) == 10 and echo.server.admission.running == 0)
    assert not [event for event in events if event["log_level"] == "error"]


async def test_a_cancelled_upload_is_not_taken_for_a_whole_one(echo):
    finished, cancelled = [], []

    async def handler(requests, call):
        try:
            count = len([request async for request in requests])
            finished.append(count)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return EchoResponse()

    echo.servicer.on_join = handler
    for _ in range(20):
        call = echo.stub.Join()
        await call.write(EchoRequest(text="half"))
        call.cancel()
    await until(lambda: echo.server.admission.running == 0)
    assert finished == []


async def test_a_full_server_sheds_with_a_time_to_come_back_and_health_still_answers(start):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    echo = await start(concurrency_limit=1, queue_limit=1, queue_ttl_s=60)
    blocked = block(echo)
    held = [echo.stub.Echo(EchoRequest(), timeout=9)]
    await until(lambda: blocked.entered == 1)
    held.append(echo.stub.Echo(EchoRequest(), timeout=9))
    await until(lambda: echo.server.admission.queued == 1)
    # Later than the others by more than gRPC rounds deadlines by, so that it is the least urgent.
    error = await failure(echo.stub.Echo(EchoRequest(), timeout=9.9))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert Details(error).ErrorInfo.reason == "SHED"
    assert Details(error).RetryInfo.retry_delay.ToTimedelta().total_seconds() > 0
    urgent = echo.stub.Echo(EchoRequest(), timeout=9, metadata=(("x-trunkline-priority", "interactive"),))
    error = await failure(held[1])
    assert Details(error).ErrorInfo.reason == "SHED", "the less urgent one makes room"
    answer = await health_pb2_grpc.HealthStub(echo.channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for call in (held[0], urgent):
        call.cancel()
    await until(lambda: (echo.server.admission.running, echo.server.admission.queued) == (0, 0))
