"""What the command shows: progress as lines, the status as a table."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trunkline_local.spans import Trace
from trunkline_local.state import Health, SuiteState

COLOUR = {
    Health.SERVING: "green",
    Health.FAILED: "bold red",
    Health.NOT_SERVING: "red",
    Health.RESTARTING: "yellow",
}


class Progress:
    """Prints what changed from one state to the next."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._seen: dict[str, Health] = {}
        self.announced = False
        """Whether it was said that everything serves."""

    def update(self, state: SuiteState) -> None:
        """Prints a line for every process whose health changed to something worth knowing, and once what is left
        out.
        """
        for sentence in state.left_out if not self._seen else ():
            self._console.print(escape(sentence), style="yellow", highlight=False)
        for process in state.processes:
            if self._seen.get(process.name) == process.health:
                continue
            self._seen[process.name] = process.health
            at = f"{time.monotonic() - self._began:5.1f} s"
            colour = COLOUR.get(process.health)
            if colour is None:
                continue
            self._console.print(
                f"{at}  [{colour}]{process.health:<11}[/] {process.name:<10} 127.0.0.1:{process.port}",
                highlight=False,
            )
            if process.health is Health.RESTARTING:
                self._console.print(escape(process.reason.splitlines()[0]), style="dim", highlight=False)


def status_table(state: SuiteState) -> Table:
    """One row a process."""
    table = Table(box=None, pad_edge=False)
    for heading in ("process", "health", "pid", "port", "metrics", "restarts", "uptime", "versions"):
        table.add_column(
            heading, justify="right" if heading in ("pid", "port", "metrics", "restarts") else "left"
        )
    for process in state.processes:
        table.add_row(
            process.name,
            f"[{COLOUR.get(process.health, 'default')}]{process.health}[/]",
            str(process.pid or "-"),
            str(process.port),
            str(process.metrics_port or "-"),
            str(process.restarts),
            _span_of_time(time.time() - process.started) if process.started else "-",
            ", ".join(_version(name) for name in process.versions) or "-",
        )
    return table


def traces_table(traces: list[Trace]) -> Table:
    """One row a trace."""
    table = Table(box=None, pad_edge=False)
    for heading in ("trace", "began with", "ms", "spans", "errors"):
        table.add_column(heading, justify="right" if heading in ("ms", "spans", "errors") else "left")
    for trace in traces:
        table.add_row(
            trace.trace_id,
            f"{trace.service} {trace.name}",
            f"{trace.duration_ns / 1e6:.2f}",
            str(trace.spans),
            str(trace.errors),
        )
    return table


def _version(name: str) -> str:
    """`fraud v3` of `models/fraud/versions/3`."""
    _, model, _, version = name.split("/")
    return f"{model} v{version}"


def _span_of_time(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"
