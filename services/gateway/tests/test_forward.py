from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio
import pytest
from conditions import DETAILS_KEY, Details, eventually, failure, open_channel, until, whole
from gateway_parts import FEATURES, ODD, RANKING, REGISTRY, Backend, method

from trunkline_hop.call import Call

LIMIT_BYTES = 16 * 1024 * 1024


async def test_a_unary_call_passes_both_ways_byte_for_byte(channel: Any, backend: Backend) -> None:
    assert await method(channel, FEATURES, "GetOnlineFeatures")(ODD) == ODD
    assert backend.requests == [("/trunkline.features.v1.FeatureService/GetOnlineFeatures", ODD)]


async def test_an_empty_message_is_a_message(channel: Any, backend: Backend) -> None:
    assert await method(channel, RANKING, "ScoreTransaction")(b"") == b""
    assert backend.requests == [("/trunkline.ranking.v1.RankingService/ScoreTransaction", b"")]


async def test_a_client_stream_passes_byte_for_byte_in_its_parts(channel: Any, backend: Backend) -> None:
    parts = [ODD, b"", ODD[::-1]]
    assert await method(channel, REGISTRY, "UploadArtifact")(parts) == b"|".join(parts)
    assert [request for _, request in backend.requests] == parts


async def test_a_server_stream_passes_byte_for_byte_in_its_parts(channel: Any, backend: Backend) -> None:
    assert await whole(method(channel, REGISTRY, "DownloadArtifact")(ODD)) == [bytes([byte]) for byte in ODD]
    assert [request for _, request in backend.requests] == [ODD]


async def test_a_session_passes_byte_for_byte_in_its_parts(channel: Any, backend: Backend) -> None:
    assert await whole(method(channel, REGISTRY, "WatchModels")(ODD)) == [bytes([byte]) for byte in ODD]
    assert backend.remaining_s == [None]


@pytest.mark.parametrize(
    ("service", "name"),
    [(FEATURES, "GetOnlineFeatures"), (REGISTRY, "UploadArtifact"), (REGISTRY, "DownloadArtifact")],
)
async def test_trailers_of_an_answer_are_copied(
    channel: Any, backend: Backend, service: Any, name: str
) -> None:
    async def answer(_: bytes, call: Call) -> bytes:
        call.provenance("models/fraud/versions/7")
        call.provenance("models/fraud/versions/8")
        call.degraded("features_unavailable")
        call.trailer("x-raw-bin", b"\x00\xff")
        return b""

    backend.on[name] = answer
    many = service.methods_by_name[name].client_streaming
    call = method(channel, service, name)([b"x"] if many else b"x")
    await whole(call)
    assert [tuple(pair) for pair in await call.trailing_metadata()] == [
        ("x-trunkline-model-version", "models/fraud/versions/7"),
        ("x-trunkline-model-version", "models/fraud/versions/8"),
        ("x-trunkline-degraded", "features_unavailable"),
        ("x-raw-bin", b"\x00\xff"),
    ]


async def test_trailers_of_an_error_are_copied_next_to_its_details(channel: Any, backend: Backend) -> None:
    async def fail(_: bytes, call: Call) -> bytes:
        call.degraded("views_unavailable")
        call.finish(grpc.StatusCode.ABORTED, "no", ((DETAILS_KEY, b"odd"), ("x-more", "yes")))
        return b""

    backend.on["GetOnlineFeatures"] = fail
    error = await failure(method(channel, FEATURES, "GetOnlineFeatures")(b""))
    trailers = list(error.trailing_metadata() or ())
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "no")
    assert [value for key, value in trailers if key == "x-trunkline-degraded"] == ["views_unavailable"]
    assert [value for key, value in trailers if key == "x-more"] == ["yes"]
    assert [value for key, value in trailers if key == DETAILS_KEY] == [b"odd"]


async def test_the_callers_metadata_is_passed_and_what_is_between_two_hops_is_not(
    gateway: Any, backend: Backend, stack: AsyncExitStack
) -> None:
    channel = await stack.enter_async_context(open_channel(gateway.target, primary_user_agent="the-caller/1"))
    trace_id, span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    await method(channel, FEATURES, "GetOnlineFeatures")(
        b"",
        metadata=(
            ("x-tenant", "blue"),
            ("x-tenant", "green"),
            ("raw-bin", b"\x00\xff"),
            ("x-trunkline-assignment", "arm-b"),
            ("traceparent", f"00-{trace_id}-{span_id}-00"),
        ),
    )
    (metadata,) = backend.metadata
    values = {key: [value for name, value in metadata if name == key] for key, _ in metadata}
    assert values["x-tenant"] == ["blue", "green"]
    assert values["raw-bin"] == [b"\x00\xff"]
    assert values["x-trunkline-assignment"] == ["arm-b"]
    assert values["x-trunkline-priority"] == ["interactive"]
    (traceparent,) = values["traceparent"]
    assert str(traceparent).split("-")[1] == trace_id
    assert "the-caller" not in str(values["user-agent"])


async def test_every_hop_leaves_the_next_a_little_less_time(channel: Any, backend: Backend) -> None:
    async def call() -> None:
        await method(channel, FEATURES, "GetOnlineFeatures")(b"", timeout=0.9)

    await eventually(call)
    assert all(left is not None and left < 0.9 - 0.001 for left in backend.remaining_s)


async def test_a_caller_without_a_deadline_gets_the_methods_default(channel: Any, backend: Backend) -> None:
    await eventually(lambda: method(channel, FEATURES, "GetOnlineFeatures")(b""))
    assert all(left is not None and left <= 1.0 for left in backend.remaining_s)


async def test_a_caller_may_give_more_time_than_the_methods_default(channel: Any, backend: Backend) -> None:
    await eventually(lambda: method(channel, FEATURES, "GetOnlineFeatures")(b"", timeout=9))
    assert all(left is not None and left > 5 for left in backend.remaining_s)


async def test_a_callers_deadline_is_cut_to_the_methods_maximum(channel: Any, backend: Backend) -> None:
    await method(channel, FEATURES, "GetOnlineFeatures")(b"", timeout=3600)
    (left,) = backend.remaining_s
    assert left is not None and left <= 10.0


async def test_a_deadline_that_passes_ends_the_call_behind_the_gateway(
    channel: Any, backend: Backend
) -> None:
    async def never(_: bytes, call: Call) -> None:
        await asyncio.Event().wait()

    backend.on["DownloadArtifact"] = never
    error = await failure(method(channel, REGISTRY, "DownloadArtifact")(b"x", timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: backend.cancelled == len(backend.requests))


async def test_16_mib_pass_and_one_byte_more_is_refused_and_the_connection_lives(
    channel: Any, backend: Backend
) -> None:
    async def size(request: bytes, _: Call) -> bytes:
        return str(len(request)).encode()

    backend.on["WriteFeatures"] = size
    call = method(channel, FEATURES, "WriteFeatures")
    assert await call(bytes(LIMIT_BYTES), timeout=30) == str(LIMIT_BYTES).encode()
    error = await failure(call(bytes(LIMIT_BYTES + 1), timeout=30))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await call(b"four", timeout=30) == b"4"
    assert backend.count("WriteFeatures") == 2


async def test_an_answer_over_16_mib_is_refused_and_the_connections_live(
    gateway: Any, backend: Backend, stack: AsyncExitStack
) -> None:
    channel = await stack.enter_async_context(open_channel(gateway.target, max_receive_message_length=-1))

    async def grow(request: bytes, _: Call) -> bytes:
        return bytes(int(request))

    backend.on["GetOnlineFeatures"] = grow
    call = method(channel, FEATURES, "GetOnlineFeatures")
    assert len(await call(str(LIMIT_BYTES).encode(), timeout=10)) == LIMIT_BYTES
    error = await failure(call(str(LIMIT_BYTES + 1).encode(), timeout=10))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert Details(error).reason in ("TOO_LARGE", "")
    assert await call(b"4", timeout=10) == bytes(4)
