"""The `trunkline` command."""

from __future__ import annotations

import json
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from trunkline_local import daemon, report
from trunkline_local.processes import log_tail
from trunkline_local.spans import SpanStore, UnknownTrace
from trunkline_local.state import AlreadyRunning, DataDirectory, SuiteState
from trunkline_local.suite import PORT_BASE, SAMPLE_RATIO, Options, WrongOptions
from trunkline_local.supervisor import SuiteFailed
from trunkline_local.transcribe import transcribe
from trunkline_local.translate import translate
from trunkline_local.waterfall import waterfall

COMMANDS = "trunkline.commands"
"""Entry points of other packages: each a typer app, which becomes a group of subcommands."""
FOLLOW_S = 0.2

app = typer.Typer(
    name="trunkline",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""The whole suite on one machine.

    Start with [bold]trunkline demo[/] to see it work, or [bold]trunkline up --detach[/] to keep it running;
    then [bold]status[/], [bold]logs[/] and [bold]trace[/] look into it and [bold]down[/] ends it.
    [bold]transcribe[/] and [bold]translate[/] use it: speech to text, and text to other languages.""",
)
console = Console(highlight=False)

DataDir = Annotated[Path, typer.Option(help="Where data, logs, spans and state are kept.")]


def _fail(reason: str) -> typer.Exit:
    # Not wrapped: a reason is searched for and its paths are copied.
    console.print(f"[bold red]trunkline:[/] {escape(reason)}", soft_wrap=True)
    return typer.Exit(1)


def _replicas(given: list[str]) -> dict[str, int]:
    replicas: dict[str, int] = {}
    for text in given:
        name, _, count = text.partition("=")
        if not count.isdecimal():
            raise typer.BadParameter(f"{text!r}: write it as ranking=2", param_hint="--replicas")
        replicas[name] = int(count)
    return replicas


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything serves.")] = False,
    data_dir: DataDir = Path(".trunkline"),
    port_base: Annotated[
        int, typer.Option(min=0, max=64000, help="Port of the gateway, others follow; 0: free ports.")
    ] = PORT_BASE,
    replicas: Annotated[list[str] | None, typer.Option(help="Such as ranking=2. May be repeated.")] = None,
    trace_sample_ratio: Annotated[
        float, typer.Option(min=0, max=1, help="Share of traces kept of callers that do not say.")
    ] = SAMPLE_RATIO,
    models: Annotated[Path | None, typer.Option(help="Directory with */artifact to register.")] = None,
) -> None:
    """Start the suite: embedded Valkey and PostgreSQL, then every service.

    Returns (or says so) when every health check says SERVING. Set TRUNKLINE_REDIS_URL or
    TRUNKLINE_POSTGRES_DSN to use servers of your own instead of the embedded ones.
    """
    options = Options(
        data_dir.resolve(),
        port_base,
        _replicas(replicas or []),
        trace_sample_ratio,
        models and models.resolve(),
    )
    progress = report.Progress(console)
    try:
        if not detach:
            daemon.run(options, lambda state: _foreground(progress, state))
        elif (running := DataDirectory(data_dir).running()) is not None:
            if running.options != str(options):
                raise _fail(f"already running from {data_dir} with other options: `trunkline down` first")
            console.print(f"already running from {data_dir}")
            console.print(report.status_table(running))
        else:
            _announce(daemon.start(options, progress.update))
    except (AlreadyRunning, WrongOptions, SuiteFailed, OSError) as error:
        raise _fail(str(error)) from error


def _foreground(progress: report.Progress, state: SuiteState) -> None:
    progress.update(state)
    if state.serving_after_s is not None and not progress.announced:
        progress.announced = True
        _announce(state)


def _announce(state: SuiteState) -> None:
    console.print(
        f"[bold]serving[/] after {state.serving_after_s:.1f} s; one door for every service: "
        f"[bold]{state.gateway}[/]"
    )


@app.command()
def down(data_dir: DataDir = Path(".trunkline")) -> None:
    """Stop the suite in order: gateway first, stores last. Accepted calls are answered."""
    try:
        console.print("stopped" if daemon.stop(data_dir) else f"nothing runs from {data_dir}")
    except SuiteFailed as error:
        raise _fail(str(error)) from error


@app.command()
def status(
    data_dir: DataDir = Path(".trunkline"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show every process: health, pid, ports, restarts, uptime, model versions. Exit status 3: none runs."""
    state = DataDirectory(data_dir).running()
    if as_json:
        typer.echo(json.dumps({"running": False}) if state is None else _as_json(state))
    elif state is None:
        console.print(f"nothing runs from {data_dir}; start it with `trunkline up --detach`")
    else:
        console.print(f"{state.phase}, supervisor pid {state.pid}, gateway {state.gateway}")
        console.print(report.status_table(state))
        for sentence in state.left_out:
            console.print(escape(sentence), style="yellow")
        for process in state.processes:
            if process.reason:
                console.print(escape(process.reason), style="yellow")
    if state is None:
        raise typer.Exit(3)


def _as_json(state: SuiteState) -> str:
    value = state.model_dump(mode="json") | {"running": True}
    for process in value["processes"]:
        process["uptime_s"] = time.time() - process["started"] if process["started"] else None
    return json.dumps(value, indent=2)


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A process, such as features; all without it.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines appear.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many to begin with.")] = 50,
    data_dir: DataDir = Path(".trunkline"),
) -> None:
    """Show what processes wrote."""
    data = DataDirectory(data_dir)
    files = sorted(data.logs.glob("*.log")) if name is None else [data.log(name)]
    if not files or not all(file.exists() for file in files):
        known = ", ".join(sorted(file.stem for file in data.logs.glob("*.log"))) or "none"
        raise _fail(f"no log of {name or 'anything'} in {data.logs}; there is: {known}")
    width = max(len(file.stem) for file in files)
    places = {file: file.stat().st_size for file in files}
    for file in files:
        for line in log_tail(file, lines) if lines else []:
            typer.echo(line if name else f"{file.stem:<{width}} | {line}")
    while follow:
        for file in files:
            with file.open("rb") as source:
                if file.stat().st_size < places[file]:  # it was put aside and begun again
                    places[file] = 0
                source.seek(places[file])
                # Whole lines only: the rest of the last one is still to come.
                text, end, _ = source.read().rpartition(b"\n")
                places[file] += len(text) + len(end)
            for line in text.decode(errors="replace").splitlines():
                typer.echo(line if name else f"{file.stem:<{width}} | {line}")
        time.sleep(FOLLOW_S)


@app.command()
def trace(
    trace_id: Annotated[str | None, typer.Argument(help="The id, or how it begins.")] = None,
    count: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many to list.")] = 20,
    data_dir: DataDir = Path(".trunkline"),
) -> None:
    """Show one trace as a waterfall with the time in every hop; without an id, list the latest.

    To have a request traced for sure, send `traceparent: 00-<32 hex digits>-<16 hex digits>-01`.
    """
    data = DataDirectory(data_dir)
    if not data.spans.exists():
        raise _fail(f"no spans in {data.path}")
    with SpanStore(data.spans) as spans:
        try:
            if trace_id is None:
                console.print(report.traces_table(list(spans.latest(count))))
            else:
                console.print(waterfall(spans.trace(trace_id)))
        except UnknownTrace as error:
            raise _fail(str(error)) from error


app.command()(transcribe)
app.command()(translate)


@app.command()
def demo() -> None:
    """Run a private suite on free ports and show it at work, act by act. Exit status 1: something is wrong."""
    from trunkline_local.demo import run_demo

    if not run_demo(console):
        raise typer.Exit(1)


def _add_plugins() -> None:
    """Adds what other packages bring. One that cannot be loaded is named, and is in nobody else's way."""
    for plugin in sorted(entry_points(group=COMMANDS), key=lambda point: point.name):
        try:
            app.add_typer(plugin.load(), name=plugin.name)
        except Exception as error:  # code of others; `down` must still work without it
            typer.echo(f"trunkline: {plugin.value} ({plugin.name}) cannot be loaded: {error!r}", err=True)


_add_plugins()


if __name__ == "__main__":
    app()
