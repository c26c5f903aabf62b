"""Spans, metrics and log lines of calls, whatever way they end."""

from __future__ import annotations

import asyncio
import io
import json
import re
import urllib.error
import urllib.request

import grpc
import pytest
import structlog
from hop_conditions import failure, until, whole
from hop_echo import EchoRequest, EchoResponse
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from trunkline_hop import errors, logs, telemetry

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def raised(*_):
    raise ValueError("x")


async def fault(*_):
    raise errors.NotFound("MODEL_UNKNOWN", "no", resource_type="model", resource_name="models/x")


async def unavailable(*_):
    raise errors.Unavailable("LOADING", "wait")


async def forever(*_):
    await asyncio.Event().wait()


async def by_iteration(requests, call):
    async for request in requests:
        await call.write(EchoResponse(text=request.text))


async def by_reading(requests, call):
    while (request := await call.read()) is not None:
        await call.write(EchoResponse(text=request.text))


def one_span(echo):
    [span] = [span for span in echo.spans() if span.kind is SpanKind.SERVER]
    return span


async def ended(echo):
    await until(lambda: any(span.kind is SpanKind.SERVER for span in echo.spans()))
    return one_span(echo)


async def call_of(echo, kind, handler, timeout=None):
    """Begins a call whose handler is given."""
    setattr(echo.servicer, f"on_{kind.lower()}", handler)
    method = getattr(echo.stub, kind)
    if kind in ("Echo", "Split"):
        return method(EchoRequest(text="a b"), timeout=timeout)
    # One that is answered before it was read must not be written to: the client would report its own failure.
    return method(
        [EchoRequest(text="a b")] if handler in (None, by_iteration, by_reading) else None, timeout=timeout
    )


@pytest.mark.parametrize(
    ("kind", "handler"),
    [("Echo", None), ("Split", None), ("Join", None), ("Chat", by_iteration), ("Chat", by_reading), ("Converse", None)],
)  # fmt: skip
async def test_a_call_that_works_is_a_span_without_an_error(echo, kind, handler):
    call = await call_of(echo, kind, handler)
    await whole(call)
    assert await call.code() is grpc.StatusCode.OK
    span = await ended(echo)
    assert span.name == f"hop_tests.v1.EchoService/{kind}"
    assert dict(span.attributes) == {
        "rpc.system": "grpc",
        "rpc.service": "hop_tests.v1.EchoService",
        "rpc.method": kind,
        "rpc.grpc.status_code": 0,
    }
    assert span.status.status_code is StatusCode.UNSET and span.parent is None


@pytest.mark.parametrize("kind", ["Echo", "Split", "Join", "Chat", "Converse"])
@pytest.mark.parametrize(
    ("handler", "code", "ours"), [(raised, 13, True), (fault, 5, False), (unavailable, 14, True)]
)
async def test_a_call_that_fails_has_the_code_its_caller_sees(echo, kind, handler, code, ours):
    error = await failure(await call_of(echo, kind, handler))
    assert error.code().value[0] == code
    span = await ended(echo)
    assert span.attributes["rpc.grpc.status_code"] == code
    assert span.status.status_code is (StatusCode.ERROR if ours else StatusCode.UNSET)
    assert not span.events, "no exception text in a trace"


@pytest.mark.parametrize("kind", ["Echo", "Split", "Join", "Chat"])
async def test_a_call_that_runs_out_of_time_says_so(echo, kind):
    entered = asyncio.Event()

    async def handler(*_):
        entered.set()
        await forever()

    for timeout in (0.1, 1, 10):  # on a busy machine a short one may run out on its way here
        error = await failure(await call_of(echo, kind, handler, timeout=timeout))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if entered.is_set():
            break
    span = await ended(echo)
    assert span.attributes["rpc.grpc.status_code"] == 4


@pytest.mark.parametrize("kind", ["Echo", "Split", "Join", "Chat", "Converse"])
async def test_a_call_whose_caller_goes_away_is_cancelled(echo, kind):
    entered = asyncio.Event()

    async def handler(*_):
        entered.set()
        await forever()

    call = await call_of(echo, kind, handler)
    await asyncio.wait_for(entered.wait(), 20)
    call.cancel()
    span = await ended(echo)
    assert span.attributes["rpc.grpc.status_code"] == 1
    assert span.status.status_code is StatusCode.UNSET


async def test_a_span_hangs_below_its_callers(echo):
    await echo.stub.Echo(EchoRequest(), metadata=(("traceparent", f"00-{TRACE}-{SPAN}-01"),))
    span = await ended(echo)
    assert f"{span.context.trace_id:032x}" == TRACE and f"{span.parent.span_id:016x}" == SPAN


async def test_a_caller_that_is_not_sampled_is_followed(echo):
    await echo.stub.Echo(EchoRequest(), metadata=(("traceparent", f"00-{TRACE}-{SPAN}-00"),))
    await echo.stub.Echo(EchoRequest(text="another"))
    assert f"{(await ended(echo)).context.trace_id:032x}" != TRACE


async def test_a_sampled_caller_is_followed_whatever_the_ratio(start):
    echo = await start(ratio=0.0)
    await echo.stub.Echo(EchoRequest())
    await echo.stub.Echo(EchoRequest(), metadata=(("traceparent", f"00-{TRACE}-{SPAN}-01"),))
    assert f"{(await ended(echo)).context.trace_id:032x}" == TRACE


MALFORMED = [
    "", "00", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-01-more", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-0x{TRACE[2:]}-{SPAN}-01", f"00-{TRACE[:-2]}_1-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-0", f"00-{TRACE}-{SPAN}-zz", f" 00-{TRACE}-{SPAN}-01",
]  # fmt: skip


@pytest.mark.parametrize("header", MALFORMED)
def test_a_malformed_traceparent_is_no_parent(header):
    assert telemetry.parent_of(header) is None


async def test_a_malformed_traceparent_starts_a_new_trace(echo):
    await echo.stub.Echo(EchoRequest(), metadata=(("traceparent", f"00-{TRACE}-{SPAN}-zz"),))
    span = await ended(echo)
    assert span.parent is None and f"{span.context.trace_id:032x}" != TRACE


def test_a_later_version_of_traceparent_may_say_more():
    assert telemetry.parent_of(f"01-{TRACE}-{SPAN}-01-more") is not None


async def test_a_vendors_tracestate_travels_on_unchanged(echo):
    seen = []

    async def handler(request, call):
        seen.append(call.context.forwarded)
        return EchoResponse()

    echo.servicer.on_echo = handler
    await echo.stub.Echo(EchoRequest(), metadata=(("tracestate", "vendor=1"),))
    assert ("tracestate", "vendor=1") in seen[0]


async def test_work_inside_a_handler_is_a_child(echo):
    async def handler(request, call):
        with telemetry.span("redis.mget", rows=3), pytest.raises(ValueError), telemetry.span("inner"):
            raise ValueError("secret")
        return EchoResponse()

    echo.servicer.on_echo = handler
    await echo.stub.Echo(EchoRequest())
    server = await ended(echo)
    inner, outer = (next(s for s in echo.spans() if s.name == name) for name in ("inner", "redis.mget"))
    assert (outer.parent.span_id, inner.parent.span_id) == (server.context.span_id, outer.context.span_id)
    assert outer.attributes["rows"] == 3
    assert (inner.status.status_code, inner.status.description) == (StatusCode.ERROR, "ValueError")


async def test_waiting_in_the_queue_is_a_child(start):
    echo = await start(concurrency_limit=1)
    go = asyncio.Event()

    async def handler(request, call):
        await go.wait()
        return EchoResponse()

    echo.servicer.on_echo = handler
    calls = [echo.stub.Echo(EchoRequest()) for _ in range(2)]
    await until(lambda: echo.server.admission.queued == 1)
    go.set()
    await asyncio.gather(*calls)
    await until(lambda: len(echo.spans()) == 3)
    assert sorted(span.name for span in echo.spans())[-1] == "queue"


async def test_without_an_exporter_nothing_is_recorded_and_the_trace_still_goes_on(start):
    echo = await start(record=False)
    seen = []

    async def handler(request, call):
        context = trace.get_current_span().get_span_context()
        seen.append((telemetry.traceparent_of(context) if context.is_valid else None, telemetry.trace_id()))
        return EchoResponse()

    echo.servicer.on_echo = handler
    await echo.stub.Echo(EchoRequest(), metadata=(("traceparent", f"00-{TRACE}-{SPAN}-01"),))
    await echo.stub.Echo(EchoRequest())
    assert seen == [(f"00-{TRACE}-{SPAN}-01", TRACE), (None, "")]
    assert echo.spans() == []


async def test_a_log_line_carries_the_trace_of_its_call(echo):
    lines = io.StringIO()

    async def handler(request, call):
        log = structlog.wrap_logger(
            structlog.WriteLogger(lines), processors=[logs._with_trace, structlog.processors.JSONRenderer()]
        )
        log.info("scored", model="models/fraud")
        return EchoResponse()

    echo.servicer.on_echo = handler
    await echo.stub.Echo(EchoRequest(), metadata=(("traceparent", f"00-{TRACE}-{SPAN}-01"),))
    assert json.loads(lines.getvalue()) == {"event": "scored", "model": "models/fraud", "trace_id": TRACE}


def get(echo, path):
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{echo.server.monitoring_port}{path}", timeout=10
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_the_metrics_page_counts_calls_by_method_and_status(echo):
    await echo.stub.Echo(EchoRequest())
    await failure(echo.channel.unary_unary("/scan/one")(b""))
    await failure(echo.channel.unary_unary("/scan/two")(b""))
    status, page = await asyncio.to_thread(get, echo, "/metrics")
    assert status == 200
    series = 'grpc_server_call_duration_seconds_count{grpc_method="%s",grpc_status="%s"} %s'
    assert series % ("hop_tests.v1.EchoService/Echo", "OK", "1.0") in page
    assert series % ("unknown/unknown", "UNIMPLEMENTED", "2.0") in page
    assert "/scan" not in page
    for name in (
        "hop_calls_in_flight 0.0",
        "hop_calls_queued 0.0",
        "hop_concurrency_limit 64.0",
        "hop_sessions 0.0",
    ):
        assert f"\n{name}\n" in page
    assert not re.search(r"^# TYPE \S+ summary$", page.replace("python_gc_duration_seconds", ""), re.M)


async def test_refusals_and_degraded_answers_are_counted(start):
    echo = await start(session_limit=1)

    async def handler(request, call):
        call.degraded("features_unavailable")
        return EchoResponse()

    echo.servicer.on_echo = handler
    await echo.stub.Echo(EchoRequest())
    first = echo.stub.Converse()
    await first.write(EchoRequest())
    await first.read()
    await failure(echo.stub.Converse())
    _, page = await asyncio.to_thread(get, echo, "/metrics")
    assert 'hop_calls_shed_total{reason="sessions"} 1.0' in page
    assert (
        'ml_degraded_answers_total{degradation="features_unavailable",grpc_method="hop_tests.v1.EchoService/Echo"} 1.0'
        in page
    )
    first.cancel()


async def test_the_probe_says_what_health_says(start):
    ready = False

    async def build(server, settings):
        server.readiness("model", lambda: ready)

    echo = await start(build=build)
    assert await asyncio.to_thread(get, echo, "/healthz") == (503, "NOT_SERVING\n")
    ready = True
    echo.server.refresh()
    await until(echo.server.health.serving)
    assert await asyncio.to_thread(get, echo, "/healthz") == (200, "SERVING\n")
    assert (await asyncio.to_thread(get, echo, "/else"))[0] == 404


def test_the_share_of_traces_that_start_here_is_the_ratio():
    spans = InMemorySpanExporter()
    tracing = telemetry.Tracing("echo", 0.25, spans)
    started = [tracing.server_span("a", None) for _ in range(4000)]
    sampled = [span for span in started if span.is_recording()]
    # Twelve standard deviations on either side.
    assert 1000 - 330 < len(sampled) < 1000 + 330
    assert len({span.get_span_context().trace_id for span in started}) == 4000
    for span in sampled:
        span.end()
    tracing.flush()
    assert len(spans.get_finished_spans()) == len(sampled)
    tracing.shutdown()
