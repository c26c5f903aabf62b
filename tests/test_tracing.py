"""One request, one trace: who called whom, from the spans that the servers exported."""

from __future__ import annotations

from typing import Any

from conditions import BOUND_S, eventually, until
from opentelemetry.trace import SpanKind, StatusCode
from suite_parts import DEGRADED_KEY, Client, Suite, rows, score

from trunkline_hop.errors import Unavailable
from trunkline_ranking.inference import Inference

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SCORE = "trunkline.ranking.v1.RankingService/ScoreTransaction"
READ = "trunkline.features.v1.FeatureService/GetOnlineFeatures"
RECORDED = (("traceparent", f"00-{TRACE}-{CALLER}-01"),)
KINDS = {SpanKind.SERVER: "server", SpanKind.CLIENT: "client", SpanKind.INTERNAL: "internal"}


def _tree(suite: Suite, trace_id: str = TRACE) -> list[str]:
    """The spans of a trace as indented lines, and a check that every span has its parent in it."""
    spans = [span for span in suite.spans() if f"{span.context.trace_id:032x}" == trace_id]
    ids = {span.context.span_id for span in spans}
    below: dict[int | None, list[Any]] = {}
    for span in spans:
        parent = span.parent.span_id if span.parent is not None and span.parent.span_id in ids else None
        below.setdefault(parent, []).append(span)

    def lines(parent: int | None, depth: int) -> list[str]:
        out = []
        for span in below.get(parent, []):
            service = span.resource.attributes["service.name"]
            failed = " !" if span.status.status_code is StatusCode.ERROR else ""
            out.append(f"{'  ' * depth}{service} {KINDS[span.kind]} {span.name}{failed}")
            out += lines(span.context.span_id, depth + 1)
        return out

    return lines(None, 0)


def _finished(suite: Suite, *names: str) -> bool:
    """Spans end a moment after their answer was sent: true when the outermost of these servers have."""
    ended = {
        (span.resource.attributes["service.name"], span.kind)
        for span in suite.spans()
        if f"{span.context.trace_id:032x}" == TRACE
    }
    return all((name, SpanKind.SERVER) in ended for name in names)


async def test_a_score_is_one_trace_through_three_hops_with_the_right_parents(
    suite: Suite, client: Client
) -> None:
    for view, entity in (("customer_activity", "c1"), ("terminal_activity", "t1")):
        await client.features.WriteFeatures(rows(view, [entity]), timeout=5)
    await client.ranking.ScoreTransaction(score(), timeout=5, metadata=RECORDED)
    await until(lambda: _finished(suite, "gateway", "ranking", "features"))
    assert _tree(suite) == [
        f"gateway server {SCORE}",
        f"  gateway internal {SCORE}",
        f"    gateway client Attempt.{SCORE}",
        f"      ranking server {SCORE}",
        "        ranking internal features",
        f"          ranking internal {READ}",
        f"            ranking client Attempt.{READ}",
        f"              features server {READ}",
        "                features internal redis.mget",
        "        ranking internal compute",
    ]
    outermost = next(
        span
        for span in suite.exporters["gateway"].get_finished_spans()
        if span.kind is SpanKind.SERVER and f"{span.context.trace_id:032x}" == TRACE
    )
    assert f"{outermost.parent.span_id:016x}" == CALLER


async def test_a_caller_without_a_trace_starts_one_of_its_own(suite: Suite, client: Client) -> None:
    await client.ranking.ScoreTransaction(score(), timeout=5)
    await client.ranking.ScoreTransaction(score(), timeout=5)

    def traces() -> list[set[str]]:
        by_trace: dict[str, set[str]] = {}
        for span in suite.spans():
            if span.kind is SpanKind.SERVER and span.name in (SCORE, READ):
                services = by_trace.setdefault(f"{span.context.trace_id:032x}", set())
                services.add(str(span.resource.attributes["service.name"]))
        return list(by_trace.values())

    await until(lambda: traces() == [{"gateway", "ranking", "features"}] * 2)


async def test_a_caller_that_is_not_sampled_leaves_no_span(suite: Suite, client: Client) -> None:
    unsampled = (("traceparent", f"00-{TRACE}-{CALLER}-00"),)
    await client.ranking.ScoreTransaction(score(), timeout=5, metadata=unsampled)
    await client.ranking.ScoreTransaction(score(), timeout=5)
    await until(lambda: any(s.name == SCORE and s.kind is SpanKind.SERVER for s in suite.spans()))
    assert not [span for span in suite.spans() if f"{span.context.trace_id:032x}" == TRACE]


async def test_a_trace_shows_which_hop_failed_when_the_answer_was_degraded(
    suite: Suite, client: Client
) -> None:
    await suite.stop("features")
    call = client.ranking.ScoreTransaction(score(), timeout=5, metadata=RECORDED)
    await call
    assert dict(await call.trailing_metadata())[DEGRADED_KEY] == "features_unavailable"
    await until(lambda: _finished(suite, "gateway", "ranking"))
    lines = [line.strip() for line in _tree(suite)]
    assert lines[:4] == [
        f"gateway server {SCORE}",
        f"gateway internal {SCORE}",
        f"gateway client Attempt.{SCORE}",
        f"ranking server {SCORE}",
    ]
    assert f"ranking internal {READ} !" in lines
    assert "ranking internal features !" in lines
    assert not any(line.startswith("features ") for line in lines)


async def test_a_retry_is_a_second_attempt_under_one_call(suite: Suite, monkeypatch: Any) -> None:
    tries: list[int] = []
    begin = Inference.begin

    def fail_first(self: Inference, version: str) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise Unavailable("LOADING", "once")
        return begin(self, version)

    monkeypatch.setattr(Inference, "begin", fail_first)
    async with Client(suite.target) as client:
        await client.ranking.ScoreTransaction(score(), timeout=5, metadata=RECORDED)
    assert len(tries) == 2

    def lines() -> list[str]:
        return [line for line in _tree(suite) if SCORE in line]

    await until(lambda: len(lines()) == 6)
    assert lines() == [
        f"gateway server {SCORE}",
        f"  gateway internal {SCORE}",
        f"    gateway client Attempt.{SCORE} !",
        f"      ranking server {SCORE} !",
        f"    gateway client Attempt.{SCORE}",
        f"      ranking server {SCORE}",
    ]
    attempts = [
        span.attributes["rpc.attempt"]
        for span in suite.spans()
        if span.name == f"Attempt.{SCORE}" and f"{span.context.trace_id:032x}" == TRACE
    ]
    assert attempts == [1, 2]


async def test_spans_of_the_suite_say_which_method_and_status_they_were(suite: Suite, client: Client) -> None:
    await eventually(lambda: client.ranking.ScoreTransaction(score(), timeout=BOUND_S, metadata=RECORDED))
    await until(lambda: _finished(suite, "gateway", "ranking", "features"))
    servers = [span for span in suite.spans() if span.kind is SpanKind.SERVER and span.name in (SCORE, READ)]
    for span in servers:
        service, _, method = span.name.partition("/")
        assert span.attributes["rpc.service"] == service
        assert span.attributes["rpc.method"] == method
        assert span.attributes["rpc.grpc.status_code"] == 0
