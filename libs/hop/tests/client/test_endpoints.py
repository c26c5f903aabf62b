"""Endpoints that die, return, appear, vanish, refuse and recover."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from trunkline_hop import errors
from trunkline_hop.client_settings import Balancing


def raising(fault: Exception) -> Any:
    async def on(*_: Any) -> str:
        raise fault

    return on


async def stuck(*_: Any) -> str:
    await asyncio.Event().wait()
    return ""


def transport_failure() -> Any:
    async def on(method: str, text: str, context: Any) -> str:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "10.1.2.3: connection reset")
        return ""

    return on


async def test_calls_are_spread_in_turn(lab: Any) -> None:
    servers = [await lab.server(name) for name in "abc"]
    channel = await lab.channel(*servers)
    stub = lab.Stub(channel)
    await lab.serving(channel, 3)
    for _ in range(12):
        await stub.Read(lab.Plain())
    assert [len(server.calls) for server in servers] == [4, 4, 4]


async def test_a_session_stays_at_its_endpoint(lab: Any) -> None:
    servers = [await lab.server(name) for name in "abc"]
    channel = await lab.channel(*servers, balancing=Balancing.CONSISTENT_HASH)
    stub = lab.Stub(channel)
    await lab.serving(channel, 3)
    key = (("x-trunkline-session", "s-1"),)
    homes = {(await stub.Read(lab.Plain(), metadata=key)).text for _ in range(9)}
    assert len(homes) == 1


async def test_a_loaded_endpoint_gets_less(lab: Any) -> None:
    servers = [await lab.server(name) for name in "ab"]
    channel = await lab.channel(*servers, balancing=Balancing.LEAST_LOADED)
    stub = lab.Stub(channel)
    await lab.serving(channel, 2)
    servers[0].on = stuck
    held: list[Any] = []
    while not servers[0].calls:
        held.append(asyncio.ensure_future(stub.Read(lab.Plain())))
        await asyncio.wait(held, timeout=0.01)
    seen = len(servers[0].calls)
    for _ in range(20):
        await stub.Read(lab.Plain())
    assert len(servers[0].calls) == seen
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_an_endpoint_that_does_not_serve_is_left_out_until_it_does(lab: Any) -> None:
    one, two = await lab.server("one"), await lab.server("two")
    channel = await lab.channel(one, two)
    stub = lab.Stub(channel)
    await lab.serving(channel, 2)
    await one.says(serving=False)
    await lab.serving(channel, 1)
    assert {(await stub.Read(lab.Plain())).text for _ in range(6)} == {"two"}
    await one.says(serving=True)
    await lab.serving(channel, 2)
    assert {(await stub.Read(lab.Plain())).text for _ in range(6)} == {"one", "two"}


async def test_when_nobody_serves_the_call_is_not_sent(lab: Any) -> None:
    server = await lab.server()
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await server.says(serving=False)
    await lab.until(lambda: "NOT_SERVING" in channel.endpoints[0].health.values())
    fault = await lab.fault(stub.Write(lab.Plain()))
    assert isinstance(fault, errors.Unavailable)
    assert fault.reason == "UNREACHABLE"
    assert fault.retry_after > timedelta(0)
    assert server.calls == []


async def test_a_server_without_health_checking_counts_as_healthy(lab: Any) -> None:
    server = await lab.server(checked=False)
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    assert (await stub.Read(lab.Plain())).text == "one"


async def test_a_server_that_died_and_returned_is_found_though_its_breaker_was_open(lab: Any) -> None:
    server = await lab.server()
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    server.on = stuck
    calls = [asyncio.ensure_future(stub.Write(lab.Plain())) for _ in range(5)]
    await lab.until(lambda: len(server.calls) == 5)
    await server.stop()
    for call in calls:
        assert isinstance(await lab.fault(call), errors.Unavailable | errors.Cancelled)
    await lab.until(lambda: "DOWN" in channel.endpoints[0].health.values())
    fault = await lab.fault(stub.Write(lab.Plain()))
    assert fault.reason == "UNREACHABLE"
    assert fault.message == "notes cannot be reached"
    server.on = None
    await server.start()
    await lab.serving(channel, 1)
    assert (await stub.Write(lab.Plain())).text == "one"
    assert channel.endpoints[0].breaker == "closed"


async def test_with_two_replicas_no_idempotent_call_fails_when_one_dies(lab: Any) -> None:
    one, two = await lab.server("one"), await lab.server("two")
    channel = await lab.channel(one, two)
    stub = lab.Stub(channel)
    await lab.serving(channel, 2)
    for turn in range(40):
        if turn == 10:
            await one.stop()
        assert (await stub.Read(lab.Plain())).text in ("one", "two")


async def test_a_caller_that_is_ready_to_wait_is_served_when_the_server_comes(lab: Any) -> None:
    server = await lab.server()
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    await server.stop()
    await lab.until(lambda: "DOWN" in channel.endpoints[0].health.values())
    waiting = asyncio.ensure_future(stub.Write(lab.Plain(), wait_for_ready=True))
    await server.start()
    assert (await waiting).text == "one"
    await server.stop()
    await lab.until(lambda: "DOWN" in channel.endpoints[0].health.values())
    fault = await lab.fault(stub.Write(lab.Plain(), wait_for_ready=True, timeout=0.05))
    assert isinstance(fault, errors.TooLate)


async def test_failures_open_the_breaker_and_a_probe_closes_it(lab: Any) -> None:
    server = await lab.server()
    server.on = transport_failure()
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    for _ in range(3):
        await lab.fault(stub.Write(lab.Plain()))
    assert channel.endpoints[0].breaker == "open"
    fault = await lab.fault(stub.Write(lab.Plain()))
    assert fault.reason == "BREAKER_OPEN"
    assert timedelta(seconds=25) < fault.retry_after <= timedelta(seconds=30)
    assert len(server.calls) == 3
    server.on = None
    lab.clock.advance(31)
    assert (await stub.Write(lab.Plain())).text == "one"
    assert channel.endpoints[0].breaker == "closed"


async def test_a_caller_that_is_ready_to_wait_is_the_probe_of_an_open_breaker(lab: Any) -> None:
    server = await lab.server()
    server.on = transport_failure()
    channel = await lab.channel(server, breaker_open_s=0.02)
    stub = lab.Stub(channel)
    for _ in range(3):
        await lab.fault(stub.Write(lab.Plain()))
    server.on = None
    assert (await stub.Write(lab.Plain(), wait_for_ready=True)).text == "one"


async def test_an_open_breaker_ejects_its_endpoint_alone(lab: Any) -> None:
    bad, good = await lab.server("bad"), await lab.server("good")
    bad.on = transport_failure()
    channel = await lab.channel(bad, good)
    stub = lab.Stub(channel)
    await lab.serving(channel, 2)
    for _ in range(6):
        await stub.Read(lab.Plain())
    assert sorted(e.breaker for e in channel.endpoints) == ["closed", "open"]
    seen = len(bad.calls)
    for _ in range(6):
        assert (await stub.Write(lab.Plain())).text == "good"
    assert len(bad.calls) == seen


@pytest.mark.parametrize(
    ("fault", "opens"),
    [
        (errors.Unavailable("STORE_UNREACHABLE", "x"), True),
        (errors.Unavailable("STORE_UNREACHABLE", "x", retry_after=timedelta(seconds=9)), False),
        (errors.Unavailable("DRAINING", "x"), False),
        (errors.Unavailable("TRANSLATION_REJECTED", "x"), False),
        (errors.Unavailable("LOADING", "x", retry_after=timedelta(seconds=9)), False),
        (errors.Overloaded("SHED", "x", retry_after=timedelta(seconds=9)), False),
        (errors.Internal("INTERNAL", "x"), False),
        (errors.TooLate("DEADLINE_UNMEETABLE", "x"), False),
    ],
    ids=lambda value: getattr(value, "reason", str(value)),
)
async def test_what_speaks_against_an_endpoint(lab: Any, fault: errors.Fault, opens: bool) -> None:
    server = await lab.server()
    server.on = raising(fault)
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    for _ in range(4):
        await lab.fault(stub.Write(lab.Plain(), timeout=5.0))
    assert (channel.endpoints[0].breaker == "open") == opens


async def test_one_impatient_caller_opens_the_breaker_for_nobody(lab: Any) -> None:
    server = await lab.server()
    server.on = stuck
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    for _ in range(6):
        await lab.fault(stub.Write(lab.Plain(), timeout=0.02))
    assert channel.endpoints[0].breaker == "closed"


async def test_a_cancelled_probe_lets_the_next_one_through(lab: Any) -> None:
    server = await lab.server()
    server.on = transport_failure()
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    for _ in range(3):
        await lab.fault(stub.Write(lab.Plain()))
    lab.clock.advance(31)
    server.on = stuck
    probe = stub.Write(lab.Plain())
    assert channel.endpoints[0].breaker == "half-open"
    assert (await lab.fault(stub.Write(lab.Plain()))).reason == "BREAKER_OPEN"
    assert probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    server.on = None
    assert (await stub.Write(lab.Plain())).text == "one"


async def test_a_long_stream_holds_no_probes_place(lab: Any) -> None:
    server = await lab.server()
    server.on = transport_failure()
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    for _ in range(3):
        await lab.fault(stub.Write(lab.Plain()))
    lab.clock.advance(31)
    server.on = None
    session = stub.Session()
    await session.write(lab.Plain())
    assert (await session.read()).text == "one"
    assert channel.endpoints[0].breaker == "closed"
    session.cancel()


async def test_endpoints_follow_the_name_and_calls_in_flight_finish(lab: Any) -> None:
    one, two = await lab.server("one"), await lab.server("two")
    addresses = ["127.0.0.1"]

    async def lookup(host: str, port: int) -> list[str]:
        assert (host, port) == ("notes", one.port)
        return addresses

    release = asyncio.Event()

    async def slow(*_: Any) -> str:
        await release.wait()
        return "finished"

    channel = await lab.channel(
        target=f"dns:///notes:{one.port},{two.target}", lookup=lookup, resolve_interval_s=0.02
    )
    stub = lab.Stub(channel)
    assert (await stub.Read(lab.Plain())).text in ("one", "two")
    await lab.serving(channel, 2)
    one.on = slow
    held = [asyncio.ensure_future(stub.Read(lab.Plain())) for _ in range(2)]
    await lab.until(lambda: "Read" in one.calls)
    await lab.until(lambda: any(task.done() for task in held))
    addresses.clear()
    await lab.until(lambda: len(channel.endpoints) == 1)
    assert {(await stub.Read(lab.Plain())).text for _ in range(4)} == {"two"}
    release.set()
    assert {(await task).text for task in held} == {"finished", "two"}
    one.on = None
    addresses.append("127.0.0.1")
    await lab.serving(channel, 2)
    assert {(await stub.Read(lab.Plain())).text for _ in range(4)} == {"one", "two"}


async def test_a_resolver_that_is_down_takes_no_server_with_it(lab: Any) -> None:
    server = await lab.server()
    looked = 0

    async def lookup(host: str, port: int) -> list[str]:
        nonlocal looked
        looked += 1
        if looked == 2:
            raise OSError("resolver down")
        return ["127.0.0.1"]

    channel = await lab.channel(target=f"dns:///notes:{server.port}", lookup=lookup, resolve_interval_s=0.02)
    stub = lab.Stub(channel)
    await lab.until(lambda: looked > 2)
    assert (await stub.Read(lab.Plain())).text == "one"


async def test_an_unknown_name_is_unreachable_and_looked_up_again(lab: Any) -> None:
    server = await lab.server()
    known = False

    async def lookup(host: str, port: int) -> list[str]:
        if not known:
            raise OSError("unknown")
        return ["127.0.0.1"]

    channel = await lab.channel(target=f"dns:///notes:{server.port}", lookup=lookup)
    stub = lab.Stub(channel)
    assert (await lab.fault(stub.Write(lab.Plain()))).reason == "UNREACHABLE"
    known = True
    assert (await stub.Write(lab.Plain(), wait_for_ready=True)).text == "one"


async def test_metrics_count_attempts_retries_and_show_the_breaker(lab: Any) -> None:
    server = await lab.server()
    registry = CollectorRegistry()
    channel = await lab.channel(server, registry=registry)
    second = await lab.channel(server, registry=registry)
    stub = lab.Stub(channel)
    await stub.Read(lab.Plain())
    server.on = transport_failure()
    await lab.fault(stub.Read(lab.Plain()))
    labels = {"grpc_target": "notes", "grpc_method": "hop_client_tests.v1.NoteService/Read"}
    durations = "grpc_client_attempt_duration_seconds_count"
    assert registry.get_sample_value(durations, labels | {"grpc_status": "OK"}) == 1
    assert registry.get_sample_value(durations, labels | {"grpc_status": "UNAVAILABLE"}) == 3
    assert registry.get_sample_value("grpc_client_retries_total", labels | {"kind": "retry"}) == 2
    await second.close()
    state = {"grpc_target": "notes", "endpoint": server.target}
    assert registry.get_sample_value("grpc_client_attempts_in_flight", state) in (0, None)


async def test_the_state_of_a_channel_is_its_endpoints(lab: Any) -> None:
    server = await lab.server()
    channel = await lab.channel(server)
    lab.Stub(channel)
    await channel.channel_ready()
    await lab.serving(channel, 1)
    await server.stop()
    async with asyncio.timeout(20):
        await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
    assert channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE
    await channel.close()
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
    assert channel.endpoints == []


async def test_closing_with_grace_lets_calls_finish(lab: Any) -> None:
    server = await lab.server()
    release = asyncio.Event()

    async def slow(*_: Any) -> str:
        await release.wait()
        return "finished"

    server.on = slow
    channel = await lab.channel(server)
    task = asyncio.ensure_future(lab.Stub(channel).Read(lab.Plain()))
    await lab.until(lambda: server.calls)
    closing = asyncio.ensure_future(channel.close(grace=20.0))
    release.set()
    assert (await task).text == "finished"
    await closing


@pytest.mark.parametrize(("spent_s", "state"), [(4.99, "open"), (1.0, "closed")])
async def test_who_gives_up_at_the_end_of_the_time_has_heard_enough(
    lab: Any, spent_s: float, state: str
) -> None:
    server = await lab.server()
    arrived: asyncio.Queue[None] = asyncio.Queue()

    async def on(*_: Any) -> str:
        arrived.put_nowait(None)
        await asyncio.Event().wait()
        return ""

    server.on = on
    channel = await lab.channel(server)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    for _ in range(3):
        call = asyncio.ensure_future(_awaited(stub.Read(lab.Plain(), timeout=5)))
        await arrived.get()
        lab.clock.advance(spent_s)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert channel.endpoints[0].breaker == state


async def _awaited(call: Any) -> Any:
    return await call


async def test_one_that_answers_others_meanwhile_is_slow_and_not_cut_off(lab: Any) -> None:
    server = await lab.server()

    async def on(method: str, *_: Any) -> str:
        if method == "Write":
            await asyncio.Event().wait()
        return ""

    server.on = on
    channel = await lab.channel(server, breaker_deadline_floor_s=0.01)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    late = [stub.Write(lab.Plain(), timeout=0.3) for _ in range(6)]
    await stub.Read(lab.Plain())
    for call in late:
        await lab.fault(call)
    assert channel.endpoints[0].breaker == "closed"
    for _ in range(3):
        await lab.fault(stub.Write(lab.Plain(), timeout=0.3))
    assert channel.endpoints[0].breaker == "open"


async def test_one_that_was_silent_is_asked_again_once_it_answers_its_health_check(lab: Any) -> None:
    server = await lab.server()
    server.on = stuck
    channel = await lab.channel(server, breaker_deadline_floor_s=0.01)
    stub = lab.Stub(channel)
    await lab.serving(channel, 1)
    for _ in range(3):
        await lab.fault(stub.Write(lab.Plain(), timeout=0.1))
    assert channel.endpoints[0].breaker == "open"
    await lab.until(lambda: channel.endpoints[0].retry_in_s == 0)
    probe = stub.Write(lab.Plain(), timeout=0.1)
    assert (await lab.fault(stub.Write(lab.Plain()))).reason == "BREAKER_OPEN"
    assert (await lab.fault(probe)).status == "DEADLINE_EXCEEDED"
    assert channel.endpoints[0].breaker == "open"
    server.on = None
    await lab.until(lambda: channel.endpoints[0].retry_in_s == 0)
    assert (await stub.Write(lab.Plain())).text == "one"
    assert channel.endpoints[0].breaker == "closed"


def dropping(after: asyncio.Event) -> Any:
    """Cancels calls as a server's core does with those that it never handed on."""

    async def on(method: str, text: str, context: Any) -> str:
        await after.wait()
        await context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
        return ""

    return on


@pytest.mark.parametrize("leaves", [True, False])
async def test_what_a_server_drops_goes_elsewhere_and_costs_the_budget_unless_it_leaves(
    lab: Any, leaves: bool
) -> None:
    one, two = await lab.server("one"), await lab.server("two")
    gone = asyncio.Event()
    one.on = dropping(gone)
    channel = await lab.channel(
        one, two, retry_burst=1, retry_ratio=0.0, breaker_failures=10**6, breaker_calls=10**6
    )
    stub = lab.Stub(channel)
    calls = [_awaited(stub.Read(lab.Plain())) for _ in range(2)]
    await lab.serving(channel, 2)
    calls += [_awaited(stub.Read(lab.Plain())) for _ in range(40)]
    outcomes = asyncio.gather(*calls, return_exceptions=True)
    await lab.until(lambda: len(one.calls) + len(two.calls) == 42)
    at_one = len(one.calls)
    if leaves:
        await one.says(serving=False)
        await lab.until(lambda: any("NOT_SERVING" in each.health.values() for each in channel.endpoints))
    gone.set()
    failed = [outcome for outcome in await outcomes if isinstance(outcome, errors.Unavailable)]
    assert at_one > 1
    assert len(failed) == (0 if leaves else len(one.calls) - 1)
