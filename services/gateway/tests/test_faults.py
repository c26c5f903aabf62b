from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest
from conditions import DETAILS_KEY, Details, eventually, failure, open_channel, until
from gateway_parts import FEATURES, RANKING, REGISTRY, Backend, method
from google.protobuf import any_pb2
from google.rpc import status_pb2

from trunkline_hop.call import Call
from trunkline_hop.errors import BadRequest, Fault, FieldViolation, NotFound, Overloaded, Unavailable
from trunkline_local.embedded import free_port

FAULTS = [
    BadRequest("wrong", [FieldViolation("transaction.amount", "expected a finite number, got nan")]),
    NotFound("MODEL_UNKNOWN", "no such model", resource_type="model", resource_name="models/none"),
    Overloaded("QUOTA", "too much"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize(
    ("service", "name"),
    [
        (RANKING, "ScoreTransaction"),
        (REGISTRY, "UploadArtifact"),
        (REGISTRY, "DownloadArtifact"),
        (REGISTRY, "WatchModels"),
    ],
)
async def test_a_status_is_the_same_through_the_gateway_and_without_it(
    channel: Any, backend: Backend, service: Any, name: str, fault: Fault
) -> None:
    async def fail(_: bytes, call: Call) -> Any:
        raise fault

    backend.on[name] = fail
    request: Any = [b"x"] if service.methods_by_name[name].client_streaming else b"x"
    async with open_channel(backend.target) as direct:
        wanted = await failure(method(direct, service, name)(request))
    got = await failure(method(channel, service, name)(request))
    assert (got.code(), got.details()) == (wanted.code(), wanted.details())
    assert Details(got).raw is not None
    assert Details(got).raw == Details(wanted).raw
    assert Details(got).reason == fault.reason


async def test_details_of_types_that_the_gateway_does_not_know_pass_untouched(
    channel: Any, backend: Backend
) -> None:
    odd = any_pb2.Any(type_url="type.example.com/acme.v9.Unheard", value=b"\x08\x96\x01")
    details = status_pb2.Status(code=9, message="no", details=[odd]).SerializeToString() + b"\xfa\x3f\x01x"

    async def fail(_: bytes, call: Call) -> bytes:
        call.finish(grpc.StatusCode.FAILED_PRECONDITION, "no", ((DETAILS_KEY, details),))
        return b""

    backend.on["ScoreTransaction"] = fail
    error = await failure(method(channel, RANKING, "ScoreTransaction")(b""))
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "no")
    assert Details(error).raw == details


@pytest.mark.parametrize(
    "path",
    [
        "/trunkline.ranking.v1.RankingService/Nothing",
        "/trunkline.nothing.v1.NothingService/Nothing",
        "/nothing",
    ],
)
async def test_an_unknown_method_is_unimplemented_and_names_itself(channel: Any, path: str) -> None:
    error = await failure(channel.unary_unary(path)(b""))
    assert (error.code(), Details(error).reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
    assert Details(error).ErrorInfo.metadata["method"] == path


async def test_a_service_without_an_address_is_not_offered(backend: Backend, start_gateway: Any) -> None:
    gateway = await start_gateway(features=backend.target)
    async with open_channel(gateway.target) as channel:
        error = await failure(method(channel, RANKING, "ScoreTransaction")(b""))
        assert Details(error).reason == "METHOD_UNKNOWN"
        assert await method(channel, FEATURES, "GetFeatureView")(b"x") == b"x"


async def test_a_dead_service_is_unavailable_with_a_time_to_come_back_and_is_found_when_it_returns(
    start_backend: Any, start_gateway: Any, backend: Backend
) -> None:
    port = free_port()
    gateway = await start_gateway(features=f"127.0.0.1:{port}", ranking=backend.target)
    async with open_channel(gateway.target) as channel:
        call = method(channel, FEATURES, "UpdateFeatureView")  # not idempotent: one attempt a call
        reasons: list[str] = []

        async def ask() -> None:
            error = await failure(call(b""))
            details = Details(error)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert details.ErrorInfo.domain == "trunkline"
            assert details.ErrorInfo.metadata["upstream"] == "features"
            assert details.RetryInfo is not None
            assert str(port) not in (error.details() or "")
            reasons.append(details.reason)

        while "BREAKER_OPEN" not in reasons:
            await ask()
            assert len(reasons) < 50
        assert set(reasons) == {"UNREACHABLE", "BREAKER_OPEN"}
        assert reasons[0] == "UNREACHABLE"
        assert await method(channel, RANKING, "ScoreTransaction")(b"alive") == b"alive"

        returned = await start_backend(port=port)
        assert await eventually(lambda: call(b"back")) == b"back"
        assert returned.count("UpdateFeatureView") == 1


@pytest.mark.parametrize(
    ("name", "attempts"),
    [("GetOnlineFeatures", 3), ("WriteFeatures", 3), ("UpdateFeatureView", 1), ("CreateFeatureView", 1)],
)
async def test_only_idempotent_methods_are_tried_again_and_then_nobody_else_has_to(
    channel: Any, backend: Backend, name: str, attempts: int
) -> None:
    async def refuse(_: bytes, call: Call) -> bytes:
        raise Unavailable("LOADING", "not yet")

    backend.on[name] = refuse
    error = await failure(method(channel, FEATURES, name)(b"", timeout=5))
    assert (error.code(), Details(error).reason) == (grpc.StatusCode.UNAVAILABLE, "LOADING")
    assert backend.count(name) == attempts
    assert Details(error).trailers.get("grpc-retry-pushback-ms") == ("-1" if attempts > 1 else None)


async def test_a_chain_of_gateways_does_not_multiply_retries(
    gateway: Any, backend: Backend, start_gateway: Any
) -> None:
    async def refuse(_: bytes, call: Call) -> bytes:
        raise Unavailable("LOADING", "not yet")

    backend.on["GetOnlineFeatures"] = refuse
    outer = await start_gateway(features=gateway.target)
    await until(lambda: outer.health.serving(FEATURES.full_name))
    async with open_channel(outer.target) as channel:
        error = await failure(method(channel, FEATURES, "GetOnlineFeatures")(b"", timeout=5))
    assert Details(error).reason == "LOADING"
    assert backend.count("GetOnlineFeatures") == 3


async def test_a_retry_that_succeeds_is_all_that_the_caller_sees(channel: Any, backend: Backend) -> None:
    async def once(request: bytes, call: Call) -> bytes:
        if backend.count("GetOnlineFeatures") == 1:
            call.degraded("first_attempt")
            raise Unavailable("LOADING", "not yet")
        return b"answer"

    backend.on["GetOnlineFeatures"] = once
    call = method(channel, FEATURES, "GetOnlineFeatures")(b"", timeout=5)
    assert await call == b"answer"
    assert tuple(await call.trailing_metadata()) == ()


async def test_a_refusing_replica_is_left_for_another(start_backend: Any, start_gateway: Any) -> None:
    first, second = await start_backend(), await start_backend()

    async def refuse(_: bytes, call: Call) -> bytes:
        raise Unavailable("DRAINING", "going")

    first.on["GetOnlineFeatures"] = refuse
    gateway = await start_gateway(features=f"{first.target},{second.target}")
    async with open_channel(gateway.target) as channel:
        call = method(channel, FEATURES, "GetOnlineFeatures")
        await until(lambda: gateway.health.serving(FEATURES.full_name))
        assert [await call(b"x", timeout=5) for _ in range(8)] == [b"x"] * 8
    assert second.count("GetOnlineFeatures") == 8


@pytest.mark.parametrize(("name", "attempts"), [("GetOnlineFeatures", 3), ("UpdateFeatureView", 1)])
async def test_a_call_that_a_stopping_server_dropped_is_unavailable_and_not_cancelled(
    channel: Any, backend: Backend, name: str, attempts: int
) -> None:
    async def drop(_: bytes, call: Call) -> bytes:
        call.finish(grpc.StatusCode.CANCELLED, "CANCELLED", ())  # as the transport does it
        return b""

    backend.on[name] = drop
    error = await failure(method(channel, FEATURES, name)(b"", timeout=5))
    assert (error.code(), Details(error).reason) == (grpc.StatusCode.UNAVAILABLE, "UNREACHABLE")
    assert Details(error).RetryInfo is not None
    assert backend.count(name) == attempts
