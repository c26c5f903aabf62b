"""What a caller sees of whatever goes wrong, on a real connection."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from hop_conditions import Details, failure
from hop_echo import EchoRequest, EchoResponse

from trunkline_hop import errors, status
from trunkline_hop.server import MESSAGE_LIMIT_BYTES

_SECRET = "password=hunter2"


def raising(error):
    async def handler(*_):
        raise error

    return handler


async def of_a_task_that_was_cancelled(*_):
    task = asyncio.ensure_future(asyncio.Event().wait())
    task.cancel()
    await task


async def in_a_task_group(*_):
    async with asyncio.TaskGroup() as group:
        group.create_task(raising(errors.NotAllowed("STAGE_POLICY", "not yet", subject="models/x"))())


async def in_a_task_group_with_a_defect(*_):
    async with asyncio.TaskGroup() as group:
        group.create_task(raising(errors.TooLate("IDLE", "x"))())
        group.create_task(raising(ValueError(_SECRET))())


async def too_much(*_):
    return EchoResponse(text="x" * (MESSAGE_LIMIT_BYTES + 1))


DEFECTS = {
    "an exception": raising(ValueError(_SECRET)),
    "an internal fault": raising(errors.Internal("INTERNAL", _SECRET)),
    "an upstream's internal text": raising(status.from_rpc(grpc.StatusCode.INTERNAL, _SECRET, ())),
    "a timeout of its own": raising(TimeoutError(_SECRET)),
    "a cancellation that is not the call's": of_a_task_that_was_cancelled,
    "a group with a defect": in_a_task_group_with_a_defect,
    "the wrong type": raising(TypeError(_SECRET)),
}


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
async def test_a_defect_tells_its_caller_nothing_but_an_id_that_is_in_the_log(echo, events, defect):
    echo.servicer.on_echo = defect
    error = await failure(echo.stub.Echo(EchoRequest()))
    details = Details(error)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert _SECRET not in error.details() and _SECRET.encode() not in details.raw
    assert details.ErrorInfo.reason == "INTERNAL" and not details.ErrorInfo.metadata
    assert details.RequestInfo.request_id in [event.get("request_id") for event in events]


@pytest.mark.parametrize("kind", ["Split", "Join", "Chat", "Converse"])
@pytest.mark.parametrize(
    "error", [ValueError(_SECRET), errors.BadRequest.field("text", "expected less")], ids=str
)
async def test_streams_end_with_the_same_statuses(echo, kind, error):
    setattr(echo.servicer, f"on_{kind.lower()}", raising(error))
    call = getattr(echo.stub, kind)
    error_seen = await failure(call(EchoRequest(text="a b")) if kind == "Split" else call())
    details = Details(error_seen)
    assert _SECRET.encode() not in details.raw
    if isinstance(error, errors.Fault):
        assert error_seen.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details.BadRequest.field_violations[0].field == "text"
    else:
        assert error_seen.code() is grpc.StatusCode.INTERNAL and details.RequestInfo.request_id


async def test_a_fault_out_of_a_task_group_is_that_fault(echo):
    echo.servicer.on_echo = in_a_task_group
    details = Details(await failure(echo.stub.Echo(EchoRequest())))
    assert (details.ErrorInfo.reason, details.status.code) == ("STAGE_POLICY", 9)


async def test_details_from_another_hop_pass_untouched_and_final_says_do_not_retry(echo):
    raw = status.status_pb2.Status(code=14, message="far").SerializeToString() + b"\xfa\x06\x01x"
    fault = status.from_rpc(grpc.StatusCode.UNAVAILABLE, "far", ((status.DETAILS_KEY, raw),))
    fault.final = True
    echo.servicer.on_echo = raising(fault)
    error = await failure(echo.stub.Echo(EchoRequest()))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "far")
    assert (Details(error).raw, Details(error).pushback) == (raw, "-1")


async def test_a_very_long_error_arrives_as_itself(echo):
    long = "ж" * 50_000
    echo.servicer.on_echo = raising(
        errors.BadRequest(
            long, [errors.FieldViolation(long, long)] * 16, metadata={"field": long, "a" * 9000: "b"}
        )
    )
    error = await failure(echo.stub.Echo(EchoRequest()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith("жжж") and Details(error).ErrorInfo.reason == "FIELD_INVALID"


async def test_a_rule_that_is_broken_names_the_field(echo):
    details = Details(await failure(echo.stub.Echo(EchoRequest(value=float("nan")))))
    assert details.ErrorInfo.reason == "FIELD_INVALID"
    assert [violation.field for violation in details.BadRequest.field_violations] == ["value"]


@pytest.mark.parametrize("kind", ["Echo", "Split", "Join", "Chat"])
async def test_malformed_bytes_are_the_callers_mistake_and_the_connection_survives(echo, kind):
    peers = set()

    async def note(request, call):
        peers.add(call.transport.peer())
        return EchoResponse()

    echo.servicer.on_echo = note
    await echo.stub.Echo(EchoRequest())
    broken = b"\x0a\xff\xff\xff\xff\x0f"
    method = getattr(echo.raw, kind)
    call = method(broken) if kind in ("Echo", "Split") else method()
    if kind in ("Join", "Chat"):
        await call.write(broken)
    error = await failure(call)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert Details(error).ErrorInfo.reason == "MALFORMED_REQUEST"
    await echo.stub.Echo(EchoRequest())
    assert len(peers) == 1, "the second call came over another connection"


async def test_a_message_over_the_limit_is_refused_and_the_connection_survives(echo):
    peers = set()

    async def note(request, call):
        peers.add(call.transport.peer())
        return EchoResponse(text=str(len(request.payload)))

    echo.servicer.on_echo = note
    await echo.stub.Echo(EchoRequest())
    # Tag and length take five bytes: this is the limit exactly, and one byte more.
    fits = await echo.stub.Echo(EchoRequest(payload=bytes(MESSAGE_LIMIT_BYTES - 5)))
    assert fits.text == str(MESSAGE_LIMIT_BYTES - 5)
    error = await failure(echo.stub.Echo(EchoRequest(payload=bytes(MESSAGE_LIMIT_BYTES - 4))))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await echo.stub.Echo(EchoRequest())
    assert len(peers) == 1, "the last call came over another connection"
    assert isinstance(status.from_rpc(error.code(), error.details(), ()), errors.Overloaded)


async def test_an_answer_over_the_limit_is_said_to_be_too_large(echo):
    echo.servicer.on_echo = too_much
    error = await failure(echo.stub.Echo(EchoRequest()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert Details(error).ErrorInfo.reason == "TOO_LARGE"


@pytest.mark.parametrize("path", ["/hop_tests.v1.EchoService/Nothing", "/no.Service/Method", "/odd"])
@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
async def test_a_method_that_nobody_serves_is_unimplemented_with_details(echo, path, kind):
    call = getattr(echo.channel, kind)(path)
    error = await failure(call(b"") if kind.startswith("unary") else call())
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    info = Details(error).ErrorInfo
    assert (info.reason, info.metadata["method"]) == ("METHOD_UNKNOWN", path)


async def test_trailers_name_versions_and_degradations(echo):
    async def handler(request, call):
        call.provenance("models/fraud/versions/7")
        call.provenance("models/other/versions/1")
        call.degraded("features_unavailable")
        call.degraded("features_unavailable")
        return EchoResponse()

    echo.servicer.on_echo = handler
    call = echo.stub.Echo(EchoRequest())
    await call
    assert list(await call.trailing_metadata()) == [
        ("x-trunkline-model-version", "models/fraud/versions/7"),
        ("x-trunkline-model-version", "models/other/versions/1"),
        ("x-trunkline-degraded", "features_unavailable"),
    ]


async def test_the_first_value_of_a_key_is_the_one_a_handler_sees(echo):
    seen = {}

    async def handler(request, call):
        seen.update(call.metadata)
        return EchoResponse()

    echo.servicer.on_echo = handler
    await echo.stub.Echo(EchoRequest(), metadata=(("x-a", "1"), ("x-a", "2"), ("x-bin", b"\x00")))
    assert (seen["x-a"], seen["x-bin"]) == ("1", b"\x00")


async def test_a_priority_that_does_not_exist_is_a_bad_field(echo):
    error = await failure(echo.stub.Echo(EchoRequest(), metadata=(("x-trunkline-priority", "now"),)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert Details(error).ErrorInfo.metadata["field"] == "x-trunkline-priority"


async def test_a_servicer_without_a_method_of_its_contract_does_not_start(start):
    class Lacking:
        from hop_echo import SERVICE as descriptor

    async def build(server, settings):
        server.add(Lacking())

    with pytest.raises(TypeError, match="lacks"):
        await start(build=build)
