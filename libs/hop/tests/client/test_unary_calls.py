"""One request, one answer: deadlines, errors, retries, hedging."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest

from trunkline_hop import errors
from trunkline_hop.context import Context, Priority, current
from trunkline_hop.status import to_status


def failing(lab: Any, *outcomes: Any) -> Any:
    """Raises the outcomes in turn (None answers), then answers."""
    left = list(outcomes)

    async def on(method: str, text: str, context: Any) -> str:
        outcome = left.pop(0) if left else None
        if isinstance(outcome, tuple):
            code, trailers = outcome
            await context.abort(code, "scripted", trailers)
        if outcome is not None:
            raise outcome
        return "answered"

    return on


def gone(reason: str = "STORE_UNREACHABLE", retry_after: timedelta | None = None) -> errors.Unavailable:
    return errors.Unavailable(reason, "gone for now", retry_after=retry_after)


async def test_an_answer_comes_with_its_metadata(lab: Any) -> None:
    server = await lab.server()

    async def on(method: str, text: str, context: Any) -> str:
        await context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-trunkline-model-version", "models/fraud/versions/7"),))
        return text.upper()

    server.on = on
    stub = lab.Stub(await lab.channel(server))
    call = stub.Read(lab.Plain(text="hello"))
    assert not call.done()
    assert (await call).text == "HELLO"
    assert call.done()
    assert (await call).text == "HELLO"
    assert (await call.initial_metadata())["x-first"] == "1"
    assert (await call.trailing_metadata())["x-trunkline-model-version"] == "models/fraud/versions/7"
    assert await call.code() is grpc.StatusCode.OK
    assert await call.details() == ""
    assert not call.cancel()


async def test_metadata_alone_drives_the_call(lab: Any) -> None:
    server = await lab.server()
    stub = lab.Stub(await lab.channel(server))
    call = stub.Read(lab.Plain())
    assert await call.code() is grpc.StatusCode.OK
    assert (await call).text == "one"


async def test_two_tasks_may_await_one_call(lab: Any) -> None:
    server = await lab.server()
    stub = lab.Stub(await lab.channel(server))
    call = stub.Read(lab.Plain())
    answers = await asyncio.gather(asyncio.ensure_future(call), asyncio.ensure_future(call))
    assert [answer.text for answer in answers] == ["one", "one"]
    assert server.calls == ["Read"]


async def test_calls_made_before_they_are_awaited_run_at_once(lab: Any) -> None:
    server = await lab.server()
    both = asyncio.Barrier(2)

    async def on(method: str, text: str, context: Any) -> str:
        async with both:
            return text

    server.on = on
    stub = lab.Stub(await lab.channel(server))
    first, second = stub.Read(lab.Plain(text="a")), stub.Read(lab.Plain(text="b"))
    assert (await first).text + (await second).text == "ab"


async def test_without_serialisers_bytes_pass_through(lab: Any) -> None:
    server = await lab.server()
    stub = lab.Stub(await lab.channel(server), raw=True)
    assert lab.Plain.FromString(await stub.Read(lab.Plain(text="x").SerializeToString())).text == "one"


FAULTS = [
    errors.BadRequest.field("text", "expected less"),
    errors.NotFound("MODEL_UNKNOWN", "no such model", resource_type="model", resource_name="models/x"),
    errors.AlreadyExists("RESOURCE_EXISTS", "taken", resource_type="view", resource_name="views/x"),
    errors.Conflict("ETAG_MISMATCH", "changed", resource_type="view", resource_name="views/x"),
    errors.NotAllowed("STAGE_POLICY", "not yet", subject="models/x"),
    errors.Overloaded("SHED", "too much", retry_after=timedelta(seconds=1)),
    errors.TooLate("DEADLINE_UNMEETABLE", "too late"),
    errors.Cancelled("CANCELLED", "gone"),
    errors.Unimplemented("METHOD_UNKNOWN", "no such method"),
    errors.Internal("INTERNAL", "internal error"),
    errors.Remote("DATA_LOSS", "DATA_LOSS", "lost"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.status)
async def test_a_status_is_the_fault_it_was_and_keeps_its_details(lab: Any, fault: errors.Fault) -> None:
    server = await lab.server()
    server.on = failing(lab, fault)
    stub = lab.Stub(await lab.channel(server))
    call = stub.Read(lab.Plain())
    seen = await lab.fault(call)
    assert (type(seen), seen.reason, seen.message) == (type(fault), fault.reason, fault.message)
    assert seen.details == dict(to_status(fault)[2])["grpc-status-details-bin"]
    assert await call.code() is grpc.StatusCode[fault.status]
    assert await call.details() == fault.message
    assert server.calls == ["Read"]


async def test_an_answer_that_cannot_be_read_is_internal(lab: Any) -> None:
    server = await lab.server()
    channel = await lab.channel(server)
    call = channel.unary_unary(
        "/hop_client_tests.v1.NoteService/Read", lab.Plain.SerializeToString, lambda data: int(data)
    )
    assert (await lab.fault(call(lab.Plain()))).status == "INTERNAL"


async def test_a_call_always_has_a_deadline(lab: Any) -> None:
    server = await lab.server()
    stub = lab.Stub(await lab.channel(server))
    await stub.Read(lab.Plain())
    await stub.Read(lab.Plain(), timeout=2.0)
    await stub.Read(lab.Plain(), timeout=1e6)
    default, given, cut = server.left_s
    assert 2.0 < default <= 5.1
    assert given <= 2.1
    assert cut <= 60.1


async def test_an_onward_call_has_what_is_left_of_the_call_being_served(lab: Any) -> None:
    server = await lab.server()
    stub = lab.Stub(await lab.channel(server, deadline_margin_s=0.5))
    token = current.set(Context(deadline=lab.clock.monotonic() + 1.5))
    try:
        await stub.Read(lab.Plain(), timeout=4.0)
    finally:
        current.reset(token)
    assert server.left_s[0] <= 1.1


async def test_nothing_is_sent_when_no_time_is_left(lab: Any) -> None:
    server = await lab.server()
    stub = lab.Stub(await lab.channel(server))
    token = current.set(Context(deadline=lab.clock.monotonic() - 1.0))
    try:
        fault = await lab.fault(stub.Read(lab.Plain()))
    finally:
        current.reset(token)
    assert (fault.status, fault.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert server.calls == []


async def test_a_missed_deadline_is_too_late(lab: Any) -> None:
    server = await lab.server()

    async def on(*_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    server.on = on
    stub = lab.Stub(await lab.channel(server))
    fault = await lab.fault(stub.Read(lab.Plain(), timeout=0.05))
    assert isinstance(fault, errors.TooLate)


async def test_the_context_of_the_call_being_served_travels_on(lab: Any) -> None:
    server = await lab.server()
    stub = lab.Stub(await lab.channel(server))
    token = current.set(
        Context(
            priority=Priority.BATCH, forwarded=(("x-trunkline-rollout", "r1"), ("x-trunkline-own", "theirs"))
        )
    )
    try:
        await stub.Read(lab.Plain(), metadata=(("x-trunkline-own", "mine"),))
    finally:
        current.reset(token)
    sent = server.metadata[0]
    assert sent["x-trunkline-rollout"] == "r1"
    assert sent["x-trunkline-own"] == "mine"
    assert sent["x-trunkline-priority"] == "batch"


async def test_an_idempotent_call_is_retried_when_unavailable(lab: Any) -> None:
    server = await lab.server()
    server.on = failing(lab, gone(), gone())
    stub = lab.Stub(await lab.channel(server, breaker_failures=99))
    assert (await stub.Read(lab.Plain())).text == "answered"
    assert len(server.calls) == 3


async def test_after_three_attempts_the_fault_is_final(lab: Any) -> None:
    server = await lab.server()
    server.on = failing(lab, *[gone()] * 9)
    stub = lab.Stub(await lab.channel(server, breaker_failures=99))
    fault = await lab.fault(stub.Read(lab.Plain()))
    assert (fault.reason, fault.final) == ("STORE_UNREACHABLE", True)
    assert len(server.calls) == 3


async def test_other_calls_are_sent_once(lab: Any) -> None:
    server = await lab.server()
    server.on = failing(lab, gone(), gone(), gone())
    stub = lab.Stub(await lab.channel(server, breaker_failures=99))
    assert not (await lab.fault(stub.Write(lab.Plain()))).final
    await lab.fault(stub.Create(lab.Note()))
    assert server.calls == ["Write", "Create"]


async def test_a_request_with_an_id_is_retried(lab: Any) -> None:
    server = await lab.server()
    server.on = failing(lab, gone())
    stub = lab.Stub(await lab.channel(server))
    assert (await stub.Create(lab.Note(request_id="42"))).text == "answered"


async def test_a_retry_prefers_another_endpoint(lab: Any) -> None:
    bad, good = await lab.server("bad"), await lab.server("good")
    bad.on = failing(lab, *[gone(retry_after=timedelta(seconds=60))] * 20)
    channel = await lab.channel(bad, good)
    stub = lab.Stub(channel)
    answers = [(await stub.Read(lab.Plain())).text for _ in range(10)]
    assert set(answers) == {"good"}
    assert bad.calls


async def test_no_retry_waits_past_the_deadline(lab: Any) -> None:
    server = await lab.server()
    server.on = failing(lab, *[gone(retry_after=timedelta(seconds=60))] * 3)
    stub = lab.Stub(await lab.channel(server))
    fault = await lab.fault(stub.Read(lab.Plain()))
    assert fault.final
    assert len(server.calls) == 1


@pytest.mark.parametrize(("pushback", "calls"), [("-1", 1), ("never", 1), ("0", 2), ("5", 2), ("60000", 1)])
async def test_pushback_is_obeyed(lab: Any, pushback: str, calls: int) -> None:
    server = await lab.server()
    server.on = failing(lab, (grpc.StatusCode.UNAVAILABLE, (("grpc-retry-pushback-ms", pushback),)))
    stub = lab.Stub(await lab.channel(server))
    call = stub.Read(lab.Plain())
    if calls == 1:
        assert (await lab.fault(call)).final
    else:
        assert (await call).text == "answered"
    assert len(server.calls) == calls


async def test_a_dead_backend_costs_a_tenth_and_the_burst(lab: Any) -> None:
    server = await lab.server()
    server.on = failing(lab, *[gone()] * 1000)
    stub = lab.Stub(await lab.channel(server, breaker_failures=9999, breaker_calls=9999))
    for _ in range(100):
        await lab.fault(stub.Read(lab.Plain()))
    assert 100 < len(server.calls) <= 100 + 10 + 10


async def warm(stub: Any, lab: Any, count: int = 40) -> None:
    for _ in range(count):
        await stub.Hedged(lab.Plain())


async def test_a_slow_read_is_sent_to_a_second_endpoint_and_the_loser_is_cancelled(lab: Any) -> None:
    servers = [await lab.server("a"), await lab.server("b")]
    channel = await lab.channel(*servers, hedge_samples=20)
    stub = lab.Stub(channel)
    await lab.serving(channel, 2)
    await warm(stub, lab)
    stuck = asyncio.Event()
    cancelled = asyncio.Event()

    async def on(*_: Any) -> str:
        if stuck.is_set():
            return "second"
        stuck.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return ""

    for server in servers:
        server.on = on
        server.calls.clear()
    assert (await stub.Hedged(lab.Plain())).text == "second"
    async with asyncio.timeout(20):
        await cancelled.wait()
    assert sorted(len(server.calls) for server in servers) == [1, 1]
    await lab.until(lambda: sum(e.in_flight for e in channel.endpoints) == 0)


async def test_nothing_is_hedged_before_enough_answers_or_to_the_same_endpoint(lab: Any) -> None:
    server = await lab.server()
    channel = await lab.channel(server, hedge_samples=20)
    stub = lab.Stub(channel)
    await warm(stub, lab)
    released = asyncio.Event()

    async def on(*_: Any) -> str:
        asyncio.get_running_loop().call_later(0.05, released.set)
        await released.wait()
        return "slow"

    server.on = on
    server.calls.clear()
    assert (await stub.Hedged(lab.Plain())).text == "slow"
    assert len(server.calls) == 1


async def test_when_the_hedged_attempt_fails_the_other_is_awaited(lab: Any) -> None:
    servers = [await lab.server("a"), await lab.server("b")]
    channel = await lab.channel(*servers, hedge_samples=20)
    stub = lab.Stub(channel)
    await lab.serving(channel, 2)
    await warm(stub, lab)
    first = asyncio.Event()
    failed = asyncio.Event()

    async def on(*_: Any) -> str:
        if first.is_set():
            failed.set()
            raise gone()
        first.set()
        await failed.wait()
        return "first"

    for server in servers:
        server.on = on
    assert (await stub.Hedged(lab.Plain())).text == "first"


async def test_a_closed_channel_cancels_its_calls_as_a_fault(lab: Any) -> None:
    server = await lab.server()
    arrived = asyncio.Event()

    async def on(*_: Any) -> str:
        arrived.set()
        await asyncio.Event().wait()
        return ""

    server.on = on
    channel = await lab.channel(server)
    task = asyncio.ensure_future(lab.Stub(channel).Read(lab.Plain()))
    await arrived.wait()
    await channel.close()
    assert isinstance(await lab.fault(task), errors.Cancelled)
    with pytest.raises(grpc.aio.UsageError):
        lab.Stub(channel).Read(lab.Plain())
