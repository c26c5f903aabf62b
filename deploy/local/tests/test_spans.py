"""Spans: exported over OTLP, kept within bounds, found by the beginning of their trace's id."""

import asyncio

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from trunkline_local.otlp import receiving
from trunkline_local.spans import Span, SpanStore, UnknownTrace


def span(trace="a" * 32, number=1, start=0):
    return Span(trace, f"{number:016x}", "", "gateway", "work", "server", start, start + 10, "")


@pytest.fixture
def store(tmp_path):
    with SpanStore(tmp_path / "spans.sqlite", maximum=10) as store:
        yield store


def test_the_oldest_go_when_there_are_too_many(store):
    store.add(span("a" * 32, number) for number in range(8))
    store.add(span("b" * 32, number) for number in range(8))
    assert len(store.trace("a")) == 2
    assert len(store.trace("b")) == 8


def test_an_export_that_is_repeated_changes_nothing(store):
    store.add([span()])
    store.add([span()])
    assert store.trace("a" * 32) == [span()]


def test_a_trace_is_found_by_how_its_id_begins(store):
    store.add([span("ab" + "0" * 30), span("ac" + "0" * 30)])
    assert store.trace("AB")[0].trace_id == "ab" + "0" * 30
    for prefix, reason in (("a", "more than one"), ("f", "no trace")):
        with pytest.raises(UnknownTrace, match=reason):
            store.trace(prefix)


def test_the_latest_traces_come_first_with_their_root_and_length(store):
    store.add([span("a" * 32), span("b" * 32, 1, start=5), span("b" * 32, 2, start=20)])
    latest = store.latest(5)
    assert [(trace.trace_id[0], trace.spans, trace.duration_ns) for trace in latest] == [
        ("b", 2, 25),
        ("a", 1, 10),
    ]


def test_another_process_reads_while_one_writes(store, tmp_path):
    store.add([span()])
    with SpanStore(tmp_path / "spans.sqlite") as reader:
        store.add([span(number=2)])
        assert len(reader.trace("a")) == 2


async def test_what_the_sdk_exports_arrives(store):
    async with receiving(store.add) as port:
        provider = TracerProvider(
            resource=Resource.create({"service.name": "ranking"}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=f"127.0.0.1:{port}", insecure=True)
        provider.add_span_processor(SimpleSpanProcessor(exporter))

        def work():
            with provider.get_tracer("test").start_as_current_span("parent", kind=SpanKind.SERVER) as parent:
                with provider.get_tracer("test").start_as_current_span(
                    "child", kind=SpanKind.CLIENT
                ) as child:
                    child.set_status(Status(StatusCode.ERROR, "UNAVAILABLE"))
                return f"{parent.get_span_context().trace_id:032x}"

        trace_id = await asyncio.to_thread(work)
        await asyncio.to_thread(provider.shutdown)
    parent, child = store.trace(trace_id)
    assert (parent.service, parent.name, parent.kind, parent.error) == ("ranking", "parent", "server", "")
    assert (child.name, child.kind, child.error) == ("child", "client", "UNAVAILABLE")
    assert child.parent_id == parent.span_id
