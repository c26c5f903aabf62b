"""A trace as a picture: when each hop began, how long it took, and where the time went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trunkline_local.spans import Kind, Span

BAR_WIDTH = 26
COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")


@dataclass(frozen=True, slots=True)
class Line:
    """A span at its place in the tree."""

    span: Span
    depth: int
    self_ns: int
    """Its time without that of its children: the union of their times is taken off, so that parallel
    children count once."""


def lines(spans: Sequence[Span]) -> list[Line]:
    """Every span once, parents before children, siblings by start. A span whose parent is not there, because
    it was lost or belongs to the caller, stands at the top.
    """
    known = {span.span_id for span in spans}
    children: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda span: (span.start_ns, -span.end_ns)):
        parent = span.parent_id if span.parent_id in known and span.parent_id != span.span_id else ""
        children.setdefault(parent, []).append(span)
    return list(_walk("", 0, children))


def _walk(parent: str, depth: int, children: Mapping[str, Sequence[Span]]) -> Iterator[Line]:
    for span in children.get(parent, ()):
        yield Line(span, depth, _self_ns(span, children.get(span.span_id, ())))
        yield from _walk(span.span_id, depth + 1, children)


def _self_ns(span: Span, children: Sequence[Span]) -> int:
    rest = span.end_ns - span.start_ns
    covered = span.start_ns
    for child in children:
        start = max(child.start_ns, covered)
        end = min(child.end_ns, span.end_ns)
        if end > start:
            rest -= end - start
            covered = end
    return rest


def hops(spans: Sequence[Span]) -> dict[str, int]:
    """Nanoseconds by place, in order of appearance: a service's own work, and `a → b` for the way between two
    (a client span's time around the server span it caused: both transports, and waiting to be read).
    """
    callee = {span.parent_id: span.service for span in spans if span.kind == Kind.SERVER}
    spent: dict[str, int] = {}
    for line in lines(spans):
        span = line.span
        other = callee.get(span.span_id) if span.kind == Kind.CLIENT else None
        place = f"{span.service} → {other}" if other is not None else span.service
        spent[place] = spent.get(place, 0) + line.self_ns
    return spent


def waterfall(spans: Sequence[Span]) -> RenderableType:
    """The picture: one line a span with a bar on the trace's own scale, then the time in every hop.

    Durations are in milliseconds; `self` is without children.
    """
    if not spans:
        return Text("no spans")
    start = min(span.start_ns for span in spans)
    total = max(max(span.end_ns for span in spans) - start, 1)
    colour = {
        service: COLOURS[place % len(COLOURS)]
        for place, service in enumerate(dict.fromkeys(line.span.service for line in lines(spans)))
    }
    tree = Table(
        title=f"trace {spans[0].trace_id}   {total / 1e6:.2f} ms",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    tree.add_column("service")
    tree.add_column("span", no_wrap=True)
    tree.add_column("", width=BAR_WIDTH, no_wrap=True)
    for heading in ("at ms", "took", "self"):
        tree.add_column(heading, justify="right")
    for line in lines(spans):
        span = line.span
        name = Text(" " * line.depth + _label(span))
        if span.error:
            name.append(f"  {span.error}", style="bold red")
        tree.add_row(
            Text(span.service, style=colour[span.service]),
            name,
            Text(_bar(span, start, total), style=colour[span.service]),
            f"{(span.start_ns - start) / 1e6:.2f}",
            f"{(span.end_ns - span.start_ns) / 1e6:.2f}",
            f"{line.self_ns / 1e6:.2f}",
        )
    share = Table(box=None, pad_edge=False)
    share.add_column("time in")
    share.add_column("ms", justify="right")
    share.add_column("share", justify="right")
    for place, spent in hops(spans).items():
        share.add_row(place, f"{spent / 1e6:.2f}", f"{spent / total:.0%}")
    return Group(tree, Text(), share)


def _label(span: Span) -> str:
    """The method without its service, which the column before says; `→` for the side that calls."""
    method = span.name.rpartition("/")[2]
    return f"→ {method}" if span.kind == Kind.CLIENT else method


def _bar(span: Span, start: int, total: int) -> str:
    left = min(int((span.start_ns - start) / total * BAR_WIDTH), BAR_WIDTH - 1)
    width = max(1, round((span.end_ns - span.start_ns) / total * BAR_WIDTH))
    return " " * left + "█" * min(width, BAR_WIDTH - left)
