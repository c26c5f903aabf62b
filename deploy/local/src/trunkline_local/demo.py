"""`trunkline demo`: acts on a private suite.

An act is an object behind an entry point of the group `trunkline.acts`; other packages add theirs. Acts run in
the order of `order`; each gets the stage, prints what it does and raises `ActFailed` when an expectation does
not hold.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape

from trunkline_local.daemon import arguments
from trunkline_local.embedded import HOST, free_port
from trunkline_local.processes import Command, Process
from trunkline_local.report import Progress
from trunkline_local.services import environment
from trunkline_local.spans import Span, SpanStore, UnknownTrace
from trunkline_local.state import DataDirectory, Health, Phase, ProcessState
from trunkline_local.suite import Options, WrongOptions, check_environment
from trunkline_local.supervisor import START_TIMEOUT_S, SuiteFailed

ACTS = "trunkline.acts"
POLL_S = 0.05
TRACE_TIMEOUT_S = 5.0


class ActFailed(RuntimeError):
    """An expectation did not hold. The message says which."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What an act has: a running suite that it may break."""

    console: Console
    gateway: str
    """`host:port` of the one door."""
    data: DataDirectory
    engine_port: int = 0
    """Where the suite's translation service looks for a better engine than its own; an act may start one there."""

    def process(self, name: str) -> ProcessState:
        """One process of the suite as it is now."""
        state = self.data.read()
        if state is None:
            raise ActFailed("the suite is gone")
        return state.process(name)

    def kill(self, name: str) -> ProcessState:
        """kill -9 of one process; the process it was."""
        process = self.process(name)
        if process.pid is None:
            raise ActFailed(f"{name} does not run")
        os.kill(process.pid, signal.SIGKILL)
        return process

    def restored(self, killed: ProcessState) -> bool:
        """Whether a process that was killed serves again, as another one."""
        process = self.process(killed.name)
        return process.health is Health.SERVING and process.pid != killed.pid

    async def trace(self, trace_id: str, services: Sequence[str]) -> Sequence[Span]:
        """The spans of a trace, once those of all these services have arrived.

        Raises:
            ActFailed: they did not within five seconds.
        """
        missing = set(services)
        with SpanStore(self.data.spans) as store:
            give_up = time.monotonic() + TRACE_TIMEOUT_S
            while time.monotonic() < give_up:
                try:
                    spans = store.trace(trace_id)
                except UnknownTrace:
                    spans = ()
                missing = set(services) - {span.service for span in spans}
                if not missing:
                    return spans
                await asyncio.sleep(POLL_S)
        raise ActFailed(f"trace {trace_id} has no spans of {', '.join(sorted(missing))}")


class Act(Protocol):
    """One act of the demo."""

    title: str
    order: int
    """Acts with smaller numbers come first."""

    async def play(self, stage: Stage) -> None:
        """Shows it.

        Raises:
            ActFailed: an expectation did not hold.
        """
        ...


def traceparent() -> tuple[str, str]:
    """A new trace that is recorded for sure: its id, and the W3C `traceparent` header that begins it."""
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-{secrets.token_hex(8)}-01"


def acts() -> list[Act]:
    """Every installed act, in order."""
    found: list[Act] = [point.load()() for point in entry_points(group=ACTS)]
    return sorted(found, key=lambda act: (act.order, act.title))


def run_demo(console: Console) -> bool:
    """Brings up a suite of its own, plays the acts, takes it down. False when something is wrong."""
    began = time.monotonic()
    try:
        check_environment(os.environ)
        with tempfile.TemporaryDirectory(prefix="trunkline-demo-") as directory:
            asyncio.run(_play(console, Path(directory)))
    except (ActFailed, SuiteFailed, WrongOptions) as error:
        console.print(f"[bold red]failed:[/] {escape(str(error))}")
        return False
    console.print(f"\n[bold green]everything held[/], {time.monotonic() - began:.1f} s")
    return True


async def _play(console: Console, directory: Path) -> None:
    options = Options(directory / "suite", port_base=0)
    data = DataDirectory(options.data_dir)
    supervisor = Process("supervisor", data.log("supervisor"))
    console.rule("the suite", align="left")
    # Its own Valkey and PostgreSQL even where others are configured: a demo writes, and breaks things.
    engine_port = free_port()
    # Looked for every second, because an act waits for it.
    engine = {"VLLM": f"http://{HOST}:{engine_port}/v1", "VLLM_PROMPT": "codes", "PROBE_S": "1"}
    command = Command(arguments(options), environment(engine), orphan_signal=signal.SIGTERM)
    supervisor.start(command)
    try:
        gateway = await _serving(console, data, supervisor)
        stage = Stage(console, gateway, data, engine_port)
        for act in acts():
            console.print()
            console.rule(act.title, align="left")
            began = time.monotonic()
            await act.play(stage)
            console.print(f"[dim]{time.monotonic() - began:.1f} s[/]")
    finally:
        await supervisor.stop(grace_s=30)


async def _serving(console: Console, data: DataDirectory, supervisor: Process) -> str:
    """Follows the start; the gateway's address once everything serves."""
    progress = Progress(console)
    async with asyncio.timeout(2 * START_TIMEOUT_S):
        while True:
            alive = supervisor.pid is not None  # before the state is read: the last one says why it ended
            state = data.read()
            if state is not None:
                progress.update(state)
                if state.phase is Phase.RUNNING:
                    console.print(f"everything serves after {state.serving_after_s:.1f} s at {state.gateway}")
                    return state.gateway
            if not alive:
                said = "\n".join(supervisor.log_tail(12))
                raise SuiteFailed((state.reason if state is not None else "") or said)
            await asyncio.sleep(POLL_S)
