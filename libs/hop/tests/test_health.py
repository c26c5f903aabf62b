"""Health and reflection, as outside clients see them."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from hop_conditions import BOUND_S, failure, until

from trunkline.features.v1 import features_pb2
from trunkline_hop.health import Health
from trunkline_hop.server import running
from trunkline_hop.settings import CannotStart, ServiceSettings

SERVICE = "hop_tests.v1.EchoService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Switch:
    """A readiness check that a test turns."""

    def __init__(self):
        self.on = False

    async def build(self, server, settings):
        self.server = server
        server.readiness("switch", lambda: self.on)

    def turn(self, on):
        self.on = on
        self.server.refresh()


def request(service=""):
    return health_pb2.HealthCheckRequest(service=service)


async def test_a_server_serves_only_while_it_is_ready(start):
    switch = Switch()
    echo = await start(build=switch.build)
    health = health_pb2_grpc.HealthStub(echo.channel)
    watch = health.Watch(request(SERVICE))
    assert (await watch.read()).status == NOT_SERVING
    for on, status in ((True, SERVING), (False, NOT_SERVING), (True, SERVING)):
        switch.turn(on)
        assert (await asyncio.wait_for(watch.read(), BOUND_S)).status == status
        assert (await health.Check(request())).status == status
        assert (await health.Check(request(SERVICE))).status == status
        listed = await health.List(health_pb2.HealthListRequest())
        assert {name: entry.status for name, entry in listed.statuses.items()} == {
            "": status,
            SERVICE: status,
        }
    watch.cancel()


async def test_a_service_that_is_not_here_is_not_found_and_watched_as_unknown(echo):
    health = health_pb2_grpc.HealthStub(echo.channel)
    assert (await failure(health.Check(request("no.Such")))).code() is grpc.StatusCode.NOT_FOUND
    watch = health.Watch(request("no.Such"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_a_watch_sees_the_drain_and_does_not_hold_it_up():
    async def build(server, settings):
        pass

    # A grace far longer than this test may take: a watch that held the drain would fail it.
    async with running("echo", ServiceSettings(drain_grace_s=3600), build) as server:
        await until(server.health.serving)
        channel = grpc.aio.insecure_channel(server.target)
        watch = health_pb2_grpc.HealthStub(channel).Watch(request())
        assert (await watch.read()).status == SERVING
    assert not server.health.serving()
    assert (await watch.read()).status == NOT_SERVING
    assert (await failure(watch.read())).code() is grpc.StatusCode.UNAVAILABLE
    await channel.close()


async def test_a_watch_tells_the_last_status_however_soon_the_end_follows():
    health = Health()
    health.set("", True)
    written = asyncio.Queue()

    class Context:
        async def write(self, answer):
            await written.put(answer.status)

        async def abort(self, code, details):
            await written.put(code)

    watching = asyncio.ensure_future(health.Watch(request(), Context()))
    assert await written.get() == SERVING
    health.drain()
    health.end()
    assert [await written.get(), await written.get()] == [NOT_SERVING, grpc.StatusCode.UNAVAILABLE]
    await watching


async def test_a_readiness_check_that_raises_ends_the_process(start):
    def broken():
        raise ValueError("broken check")

    async def build(server, settings):
        server.readiness("broken", broken)

    echo = await start(build=build)
    with pytest.raises(ValueError, match="broken check"):
        await asyncio.wait_for(asyncio.shield(echo.server.failed), BOUND_S)


async def test_a_background_task_that_fails_is_the_servers_failure(start):
    async def work():
        raise ValueError("no more")

    async def build(server, settings):
        server.spawn(work(), name="work")

    echo = await start(build=build)
    with pytest.raises(ValueError, match="no more"):
        await asyncio.wait_for(asyncio.shield(echo.server.failed), BOUND_S)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services_and_describes_them(start, version):
    class Features:
        descriptor = features_pb2.DESCRIPTOR.services_by_name["FeatureService"]

    for method in Features.descriptor.methods:

        async def unary(self, request, call):
            raise AssertionError("never called")

        setattr(Features, method.name, unary)

    async def build(server, settings):
        server.add(Features())

    echo = await start(build=build)
    info = echo.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await info.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = {service.name for service in (await info.read()).list_services_response.service}
    assert {SERVICE, "trunkline.features.v1.FeatureService", "grpc.health.v1.Health"} <= listed
    await info.write(
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="trunkline.features.v1.FeatureService")
    )
    files = (await info.read()).file_descriptor_response.file_descriptor_proto
    described = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]
    assert "FeatureService" in [service.name for file in described for service in file.service]
    await info.done_writing()


async def test_channelz_is_there_only_when_asked_for(start):
    path = "/grpc.channelz.v1.Channelz/GetServers"
    off = await start()
    assert (await failure(off.channel.unary_unary(path)(b""))).code() is grpc.StatusCode.UNIMPLEMENTED
    on = await start(channelz=True)
    assert await on.channel.unary_unary(path)(b"")


async def test_what_is_owned_is_left_after_the_last_call_in_reverse_order():
    order = []

    class Owned:
        def __init__(self, name):
            self.name = name

        async def __aenter__(self):
            order.append(f"enter {self.name}")
            return self

        async def __aexit__(self, *_):
            order.append(f"leave {self.name}")

    async def build(server, settings):
        await server.own(Owned("store"))
        await server.own(Owned("cache"))

    async with running("echo", ServiceSettings(), build):
        order.append("serving")
    assert order == ["enter store", "enter cache", "serving", "leave cache", "leave store"]


async def test_a_port_that_is_taken_stops_the_start_and_leaves_nothing_open(start):
    echo = await start()

    async def build(server, settings):
        pass

    with pytest.raises(CannotStart, match="TRUNKLINE_PORT"):
        async with running("second", ServiceSettings(port=echo.server.port), build):
            raise AssertionError("never served")
    with pytest.raises(CannotStart, match="TRUNKLINE_METRICS_PORT"):
        async with running("third", ServiceSettings(metrics_port=echo.server.monitoring_port), build):
            raise AssertionError("never served")


async def test_everything_that_reflection_lists_it_can_describe(start):
    """As `buf curl --list-methods` asks: every service, its own ones too."""
    echo = await start()
    info = echo.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await info.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = [service.name for service in (await info.read()).list_services_response.service]
    for name in listed:
        await info.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
        assert (await info.read()).file_descriptor_response.file_descriptor_proto, name
    await info.done_writing()
