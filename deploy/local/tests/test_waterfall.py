"""A trace as a picture: every span once, and the time where it was spent."""

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from trunkline_local.spans import Span
from trunkline_local.waterfall import hops, lines, waterfall


def span(span_id, parent, service, kind, start, end, name="trunkline.v1.Service/Method", error=""):
    return Span("t" * 32, span_id, parent, service, name, kind, start, end, error)


TRACE = [
    span("1", "", "gateway", "server", 0, 100),
    span("2", "1", "gateway", "client", 10, 90),
    span("3", "2", "ranking", "server", 20, 80),
    span("4", "3", "ranking", "internal", 30, 50),
    span("5", "3", "ranking", "internal", 40, 70),
]


def test_self_time_counts_parallel_children_once():
    assert {line.span.span_id: line.self_ns for line in lines(TRACE)} == {
        "1": 20,
        "2": 20,
        "3": 20,
        "4": 20,
        "5": 30,
    }


def test_the_way_between_two_services_has_a_line_of_its_own():
    assert hops(TRACE) == {"gateway": 20, "gateway → ranking": 20, "ranking": 70}


def test_a_span_without_its_parent_stands_at_the_top():
    assert [(line.span.span_id, line.depth) for line in lines(TRACE[2:])] == [("3", 0), ("4", 1), ("5", 1)]


def test_a_child_that_outlives_its_parent_takes_no_more_than_there_is():
    spans = [span("1", "", "a", "server", 0, 10), span("2", "1", "a", "internal", 5, 50)]
    assert lines(spans)[0].self_ns == 5


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(0, 20)), min_size=1, max_size=20)
)
def test_every_span_is_drawn_once_and_no_self_time_is_negative(drawn):
    spans = [
        span(str(number), str(parent % number) if number else "", "a", "internal", start, start + length)
        for number, (start, length, parent) in enumerate(drawn)
    ]
    found = lines(spans)
    assert sorted(line.span.span_id for line in found) == sorted(s.span_id for s in spans)
    assert all(0 <= line.self_ns <= line.span.end_ns - line.span.start_ns for line in found)


def test_the_picture_names_services_methods_errors_and_times():
    console = Console(width=100, record=True)
    console.print(waterfall([*TRACE, span("6", "3", "ranking", "client", 60, 75, error="UNAVAILABLE")]))
    text = console.export_text()
    for part in ("trace tttt", "gateway", "ranking", "→ Method", "UNAVAILABLE", "gateway → ranking", "█"):
        assert part in text


def test_no_spans_are_a_sentence():
    console = Console(width=40, record=True)
    console.print(waterfall([]))
    assert "no spans" in console.export_text()
