"""Spans of calls, and the trace context they carry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from trunkline_hop import errors, telemetry
from trunkline_hop.telemetry import Tracing


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    tracing = Tracing("test", 1.0, exporter)
    yield tracing
    tracing.shutdown()


def spans(tracing: Tracing, exporter: InMemorySpanExporter) -> dict[str, Any]:
    tracing.flush()
    return {span.name: span for span in exporter.get_finished_spans()}


READ = "hop_client_tests.v1.NoteService/Read"


async def test_a_call_is_a_span_with_one_for_every_attempt(lab: Any, tracing: Tracing, exporter: Any) -> None:
    server = await lab.server()
    failures = [errors.Unavailable("STORE_UNREACHABLE", "gone")]

    async def on(*_: Any) -> str:
        if failures:
            raise failures.pop()
        return "x"

    server.on = on
    stub = lab.Stub(await lab.channel(server, tracing=tracing))
    await stub.Read(lab.Plain())
    tracing.flush()
    finished = exporter.get_finished_spans()
    attempts = [span for span in finished if span.name == f"Attempt.{READ}"]
    (call,) = [span for span in finished if span.name == READ]
    assert [span.attributes["rpc.grpc.status_code"] for span in attempts] == [14, 0]
    assert all(span.parent.span_id == call.context.span_id for span in attempts)
    assert all(span.kind is SpanKind.CLIENT for span in attempts)
    assert call.attributes["rpc.grpc.status_code"] == 0
    assert call.attributes["trunkline.attempts"] == 2
    seen = [sent["traceparent"].split("-") for sent in server.metadata]
    assert [int(parent[2], 16) for parent in seen] == [span.context.span_id for span in attempts]
    assert {int(parent[1], 16) for parent in seen} == {call.context.trace_id}


async def test_a_call_under_a_span_is_its_child(lab: Any, tracing: Tracing, exporter: Any) -> None:
    server = await lab.server()
    stub = lab.Stub(await lab.channel(server, tracing=tracing))
    with tracing.tracer.start_as_current_span("handler") as handler:
        await stub.Read(lab.Plain())
        async for _ in stub.List(lab.Plain(text="a")):
            pass
    found = spans(tracing, exporter)
    for name in (READ, READ.replace("Read", "List")):
        assert found[name].parent.span_id == handler.get_span_context().span_id


async def test_failures_cancels_and_deadlines_end_their_spans_with_their_code(
    lab: Any, tracing: Tracing, exporter: Any
) -> None:
    server = await lab.server()

    async def on(*_: Any) -> str:
        raise errors.NotFound("VIEW_UNKNOWN", "no", resource_type="view", resource_name="x")

    server.on = on
    stub = lab.Stub(await lab.channel(server, tracing=tracing))
    await lab.fault(stub.Read(lab.Plain()))
    assert spans(tracing, exporter)[READ].attributes["rpc.grpc.status_code"] == 5
    exporter.clear()
    call = stub.Chat()
    call.cancel()
    chat = READ.replace("Read", "Chat")
    found = spans(tracing, exporter)
    assert found[chat].attributes["rpc.grpc.status_code"] == 1
    assert found[f"Attempt.{chat}"].attributes["rpc.grpc.status_code"] == 1
    exporter.clear()
    await lab.fault(stub.Read(lab.Plain(), timeout=0.0))
    assert spans(tracing, exporter)[READ].attributes["rpc.grpc.status_code"] == 4


async def test_a_trace_that_is_not_recorded_is_still_carried(lab: Any, exporter: Any) -> None:
    server = await lab.server()
    tracing = Tracing("test", 0.0, exporter)
    stub = lab.Stub(await lab.channel(server, tracing=tracing))
    parent = telemetry.parent_of("00-" + "1" * 32 + "-" + "2" * 16 + "-00")
    assert parent is not None
    token = telemetry.otel.attach(parent)
    try:
        await stub.Read(lab.Plain())
    finally:
        telemetry.otel.detach(token)
    tracing.shutdown()
    assert server.metadata[0]["traceparent"] == "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    assert exporter.get_finished_spans() == ()
