"""Tracing on the OpenTelemetry SDK: W3C trace context in and out, spans to an OTLP gRPC endpoint.

Sampling follows the parent (gRFC A66 names, W3C Trace Context). Where nothing records, a span costs one
context lookup, so that spans can stand on hot paths.
"""

from __future__ import annotations

import re
import threading
from contextvars import Token
from types import TracebackType

import grpc
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

_FLUSH_MS = 2_000
# Version 00 ends after the flags; a later one may go on (W3C Trace Context, section 3.2.2). ff is no version.
_TRACEPARENT = re.compile(
    r"(?:00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})"
    r"|(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?)"
)
_ERRORS_ON_THE_SERVER = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


class Tracing:
    """The spans of one process, or of one server inside a test.

    Args:
        service: `service.name` of the resource.
        sample_ratio: share of traces without a parent that are recorded, 0 to 1.
        exporter: where spans go; None records nothing.
    """

    def __init__(self, service: str, sample_ratio: float = 0.0, exporter: SpanExporter | None = None) -> None:
        self._provider: TracerProvider | None = None
        self._ids = _Ids()
        sampler = TraceIdRatioBased(sample_ratio)
        self._bound = sampler.bound
        tracer: trace.Tracer = trace.NoOpTracer()
        if exporter is not None:
            self._provider = TracerProvider(
                sampler=ParentBased(sampler),
                id_generator=self._ids,
                resource=Resource.create({"service.name": service}),
                shutdown_on_exit=False,
            )
            self._provider.add_span_processor(
                BatchSpanProcessor(exporter, schedule_delay_millis=500, export_timeout_millis=_FLUSH_MS)
            )
            tracer = self._provider.get_tracer("trunkline_hop")
        self.tracer = tracer

    @classmethod
    def to_endpoint(cls, service: str, sample_ratio: float, endpoint: str) -> Tracing:
        """Spans to the OTLP gRPC receiver at `host:port`; an empty endpoint records nothing."""
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=2) if endpoint else None
        return cls(service, sample_ratio, exporter)

    @property
    def recording(self) -> bool:
        """False when no span can ever be recorded."""
        return self._provider is not None

    def server_span(self, name: str, traceparent: str | None) -> Span | None:
        """The span of a call that arrived, below its caller's; None when there is no trace to carry on.

        Most calls are not sampled. For those it decides what the SDK's sampler would, by the same bits of the
        trace id, without the cost of asking it.
        """
        parent = parent_of(traceparent) if traceparent is not None else None
        if parent is not None:
            above = trace.get_current_span(parent)
            if self._provider is None or not above.get_span_context().trace_flags.sampled:
                return above
            return self.tracer.start_span(name, context=parent, kind=SpanKind.SERVER)
        if self._provider is None:
            return None
        trace_id = self._ids.generate_trace_id()
        if (trace_id & TraceIdRatioBased.TRACE_ID_LIMIT) >= self._bound:
            span_id = self._ids.generate_span_id()
            return NonRecordingSpan(SpanContext(trace_id, span_id, False, trace_flags=_NOT_SAMPLED))
        self._ids.given.trace_id = trace_id
        try:
            return self.tracer.start_span(name, context=_ROOT, kind=SpanKind.SERVER)
        finally:
            self._ids.given.trace_id = None

    def flush(self) -> None:
        """Exports what is pending, within two seconds."""
        if self._provider is not None:
            self._provider.force_flush(_FLUSH_MS)

    def shutdown(self) -> None:
        """Flushes, then stops the exporter."""
        if self._provider is not None:
            self._provider.force_flush(_FLUSH_MS)
            self._provider.shutdown()


_NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)
_ROOT = trace.set_span_in_context(trace.INVALID_SPAN, otel.Context())


class _Ids(RandomIdGenerator):
    """Random ids, but a trace id that was drawn already when one is given, in its own thread."""

    def __init__(self) -> None:
        self.given = threading.local()

    def generate_trace_id(self) -> int:
        return getattr(self.given, "trace_id", None) or super().generate_trace_id()


_tracing_key = otel.create_key("trunkline-tracer")


def attach(span: Span, tracer: trace.Tracer) -> Token[otel.Context]:
    """Makes a span the current one; its tracer makes the spans below it."""
    context = trace.set_span_in_context(span)
    return otel.attach(otel.set_value(_tracing_key, tracer, context) if span.is_recording() else context)


def detach(token: Token[otel.Context]) -> None:
    """Undoes `attach`."""
    otel.detach(token)


class span:  # noqa: N801 - used as a statement, as in `with span("redis.mget"):`
    """A child of the current span, for work inside a handler. Free when the current one records nothing.

    An exception marks it as failed with the exception's type; its text stays out of the trace.
    """

    __slots__ = ("_attributes", "_kind", "_name", "_span", "_token")

    def __init__(
        self, name: str, *, kind: SpanKind = SpanKind.INTERNAL, **attributes: AttributeValue
    ) -> None:
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._span: Span | None = None
        self._token: Token[otel.Context] | None = None

    def __enter__(self) -> Span:
        parent = trace.get_current_span()
        tracer = otel.get_value(_tracing_key) if parent.is_recording() else None
        if not isinstance(tracer, trace.Tracer):
            return parent
        self._span = tracer.start_span(self._name, kind=self._kind, attributes=self._attributes)
        self._token = attach(self._span, tracer)
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._span is None or self._token is None:
            return
        detach(self._token)
        if kind is not None:
            self._span.set_status(Status(StatusCode.ERROR, kind.__name__))
        self._span.end()


def parent_of(traceparent: str) -> otel.Context | None:
    """The context of a W3C `traceparent` header; None when it is malformed, which starts a new trace."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    trace_id, span_id, flags = (group for group in match.groups() if group is not None)
    context = SpanContext(
        trace_id=int(trace_id, 16),
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
    )
    return trace.set_span_in_context(NonRecordingSpan(context), otel.Context()) if context.is_valid else None


def traceparent_of(context: SpanContext) -> str:
    """The W3C `traceparent` header of a span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_id() -> str:
    """The current trace id, 32 hexadecimal digits, empty outside of a trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def end_rpc(span: Span, code: grpc.StatusCode, *, kind: SpanKind) -> None:
    """Ends an RPC's span with its status code.

    A client span fails with every code but OK; a server span only where the server is to blame
    (OpenTelemetry semantic conventions for RPC).
    """
    if span.is_recording():
        span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code is not grpc.StatusCode.OK and (
            kind is not SpanKind.SERVER or code.name in _ERRORS_ON_THE_SERVER
        ):
            span.set_status(Status(StatusCode.ERROR, code.name))
    span.end()
