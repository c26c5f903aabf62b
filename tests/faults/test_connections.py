"""How a hop's connections come about and go, seen through a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from conditions import BOUND_S
from grpc_health.v1 import health_pb2, health_pb2_grpc
from proxy import Fault, Proxy

from trunkline_hop.channel import connect
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.errors import Unavailable
from trunkline_hop.server import Server, running
from trunkline_hop.settings import ServiceSettings


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that answers health checks."""

    async def build(server: Server, settings: ServiceSettings) -> None:
        return

    settings = ServiceSettings(port=0, metrics_port=0, drain_grace_s=1)
    async with running("bare", settings, build) as server, Proxy(server.port) as proxy:
        yield proxy


async def test_a_connection_over_a_long_way_comes_about_at_the_first_try(proxy: Proxy) -> None:
    proxy.latency_s = 0.2
    proxy.set(Fault.LATENCY)
    # The connection's own limit, and not the pause of 0.1 s before another attempt, ends the first one.
    async with connect("bare", proxy.target, ClientSettings(connect_timeout_s=BOUND_S)) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=BOUND_S
        )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert proxy.accepted == 1


async def test_one_that_never_comes_about_is_no_wait_for_the_deadline(proxy: Proxy) -> None:
    proxy.set(Fault.HANG)
    settings = ClientSettings(connect_timeout_s=0.2, attempts=1)
    async with connect("bare", proxy.target, settings) as channel:
        with pytest.raises(Unavailable) as caught:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=BOUND_S)
    assert caught.value.reason == "UNREACHABLE"
