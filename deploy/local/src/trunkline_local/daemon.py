"""The supervisor as a process: run it here, start it in the background, follow it, stop it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from trunkline_local.processes import log_tail
from trunkline_local.state import DataDirectory, Phase, SuiteState
from trunkline_local.suite import Options
from trunkline_local.supervisor import START_TIMEOUT_S, SuiteFailed, Supervisor

POLL_S = 0.05
STOP_TIMEOUT_S = 60.0


def run(options: Options, changed: Callable[[SuiteState], None]) -> None:
    """Runs the suite in this process until SIGTERM, SIGINT or SIGHUP.

    Raises:
        AlreadyRunning, WrongOptions, SuiteFailed: as `Supervisor.run`.
    """
    asyncio.run(_run(options, changed))


async def _run(options: Options, changed: Callable[[SuiteState], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await Supervisor(options, changed).run(stop)


def arguments(options: Options) -> list[str]:
    """The command line that runs the suite with these options in the foreground."""
    argv = [sys.executable, "-m", "trunkline_local", "up", "--data-dir", str(options.data_dir)]
    argv += ["--port-base", str(options.port_base), "--trace-sample-ratio", str(options.sample_ratio)]
    for name, count in options.replicas.items():
        argv += ["--replicas", f"{name}={count}"]
    return [*argv, "--models", str(options.models_dir)] if options.models_dir else argv


def start(options: Options, changed: Callable[[SuiteState], None]) -> SuiteState:
    """Starts a supervisor of its own in the background, and returns when everything serves.

    Raises:
        SuiteFailed: it does not come to serve; nothing is left running then.
    """
    data = DataDirectory(options.data_dir)
    log = data.log("supervisor")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - ourselves
            arguments(options),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return _until_running(data, child, changed)
    except BaseException:
        with suppress(ProcessLookupError):
            child.terminate()
        child.wait()
        raise


def _until_running(
    data: DataDirectory, child: subprocess.Popen[bytes], changed: Callable[[SuiteState], None]
) -> SuiteState:
    give_up = time.monotonic() + START_TIMEOUT_S * 2
    while time.monotonic() < give_up:
        state = data.read()
        if state is not None and state.pid == child.pid:
            changed(state)
            if state.phase is Phase.RUNNING:
                return state
        if child.poll() is not None:
            reason = state.reason if state is not None and state.pid == child.pid else ""
            raise SuiteFailed(reason or "\n".join(log_tail(data.log("supervisor"), 12)))
        time.sleep(POLL_S)
    raise SuiteFailed(f"the supervisor did not finish its start; see {data.log('supervisor')}")


def stop(data_dir: Path) -> bool:
    """Stops the suite of a data directory in order. False when none runs.

    Raises:
        SuiteFailed: it still runs after a minute.
    """
    state = DataDirectory(data_dir).running()
    if state is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    give_up = time.monotonic() + STOP_TIMEOUT_S
    while psutil.pid_exists(state.pid) and DataDirectory(data_dir).running() is not None:
        if time.monotonic() > give_up:
            raise SuiteFailed(f"the supervisor, pid {state.pid}, does not end")
        time.sleep(POLL_S)
    return True
