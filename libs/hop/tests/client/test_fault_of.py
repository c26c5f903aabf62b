"""What the transport says of a peer, as a fault: never in its own words, and UNAVAILABLE when nothing was answered."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from trunkline_hop.attempt import fault_of
from trunkline_hop.errors import Unavailable


def error(code: grpc.StatusCode, details: str, *trailers: tuple[str, str | bytes]) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(*trailers), details=details)


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses"),
        (grpc.StatusCode.CANCELLED, "CANCELLED"),
        (grpc.StatusCode.UNKNOWN, "Stream removed (GOAWAY)"),
        (grpc.StatusCode.INTERNAL, "Internal error from Core"),
    ],
)
async def test_a_connection_that_is_lost_is_an_upstream_that_cannot_be_reached(lab, code, details):
    channel = await lab.channel(await lab.server())
    fault = fault_of(error(code, details), channel._upstream)
    assert isinstance(fault, Unavailable)
    assert (fault.reason, details in fault.message) == ("UNREACHABLE", False)


async def test_a_peer_that_says_internal_is_believed(lab):
    channel = await lab.channel(await lab.server())
    fault = fault_of(error(grpc.StatusCode.INTERNAL, "it broke"), channel._upstream)
    assert fault.status == "INTERNAL"
