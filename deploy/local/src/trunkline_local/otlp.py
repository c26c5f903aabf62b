"""An OTLP gRPC receiver for spans, enough for one machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from trunkline_local.spans import Kind, Span

_KINDS = {
    trace_pb2.Span.SPAN_KIND_SERVER: Kind.SERVER,
    trace_pb2.Span.SPAN_KIND_CLIENT: Kind.CLIENT,
}


class _Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, add: Callable[[Iterable[Span]], None]) -> None:
        self._add = add

    async def Export(self, request: Any, context: Any) -> Any:
        self._add(decode(request))
        return trace_service_pb2.ExportTraceServiceResponse()


def decode(request: trace_service_pb2.ExportTraceServiceRequest) -> list[Span]:
    """The spans of an export."""
    return [
        Span(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            service=service,
            name=span.name,
            kind=_KINDS.get(span.kind, Kind.INTERNAL),
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            error=(span.status.message or "error")
            if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
            else "",
        )
        for resource in request.resource_spans
        for service in [_service(resource)]
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _service(resource: trace_pb2.ResourceSpans) -> str:
    for attribute in resource.resource.attributes:
        if attribute.key == "service.name":
            return str(attribute.value.string_value)
    return "unknown"


@asynccontextmanager
async def receiving(add: Callable[[Iterable[Span]], None]) -> AsyncIterator[int]:
    """Receives on a free port of loopback, which it yields, and hands every export to `add`."""
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Receiver(add), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)
