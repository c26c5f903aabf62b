"""What a data directory says about the suite that runs from it: the lock, the state file, what is left of a crash."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import psutil
from pydantic import BaseModel

KILL_WAIT_S = 10.0


class AlreadyRunning(RuntimeError):
    """Another supervisor holds the data directory."""


class Health(StrEnum):
    """How a process is."""

    WAITING = "WAITING"
    """Not started yet: something that it needs is not ready."""
    STARTING = "STARTING"
    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    """It runs, but its health check says no, or nothing."""
    RESTARTING = "RESTARTING"
    """It died and will be started again."""
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    """It died too often. `reason` says how."""


class Phase(StrEnum):
    """How the suite is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class ProcessState(BaseModel):
    """One process of the suite."""

    name: str
    health: Health = Health.WAITING
    pid: int | None = None
    started: float | None = None
    """Unix time at which the running process was started."""
    port: int = 0
    metrics_port: int | None = None
    restarts: int = 0
    reason: str = ""
    """Why it is not serving, with its last log lines."""
    versions: list[str] = []
    """Model versions in production that it serves, as `models/{model}/versions/{version}`."""


class SuiteState(BaseModel):
    """The suite, as its supervisor last wrote it."""

    pid: int
    """Of the supervisor."""
    options: str = ""
    """What `up` was asked for, to tell a repeated `up` from a different one."""
    started: float
    """Unix time."""
    phase: Phase = Phase.STARTING
    reason: str = ""
    """Why it failed."""
    serving_after_s: float | None = None
    """How long it took until every health check said SERVING."""
    gateway: str = ""
    """Address of the one door, `host:port`."""
    left_out: list[str] = []
    """A sentence on each service that does not run, and why."""
    processes: list[ProcessState] = []

    def process(self, name: str) -> ProcessState:
        """One process by name.

        Raises:
            KeyError: there is none.
        """
        for process in self.processes:
            if process.name == name:
                return process
        raise KeyError(name)


class DataDirectory:
    """Where one suite keeps everything: data, logs, spans, state."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self.spans = self.path / "spans.sqlite"
        self._state = self.path / "state.json"
        self._lock = self.path / "lock"

    def log(self, name: str) -> Path:
        """The output of one process."""
        return self.logs / f"{name}.log"

    def read(self) -> SuiteState | None:
        """The state as it was last written; None when nothing ever ran here."""
        return SuiteState.model_validate_json(self._state.read_bytes()) if self._state.exists() else None

    def write(self, state: SuiteState) -> None:
        """Replaces the state file, so that a reader sees the old one or the new one."""
        descriptor, name = tempfile.mkstemp(dir=self.path, prefix="state.")
        with os.fdopen(descriptor, "w") as file:
            file.write(state.model_dump_json(indent=2))
        Path(name).replace(self._state)

    def running(self) -> SuiteState | None:
        """The state of the suite that runs right now, None when none does."""
        if not self._lock.exists():
            return None
        with self._lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return self.read()
        return None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the directory. The kernel lets go when this process ends, however it ends.

        What an earlier supervisor left running is killed first.

        Raises:
            AlreadyRunning: another process holds it.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)  # it holds passwords
        with self._lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(f"a suite already runs from {self.path}") from None
            self._kill_leftovers()
            yield

    def _kill_leftovers(self) -> None:
        """Ends the processes of the last state that still run: their start times tell them from others
        that the kernel has since given the same ids.
        """
        state = self.read()
        left: list[psutil.Process] = []
        for process in state.processes if state is not None else []:
            if process.pid is None or process.started is None:
                continue
            try:
                found = psutil.Process(process.pid)
                if abs(found.create_time() - process.started) < 2.0:
                    found.kill()
                    left.append(found)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, KILL_WAIT_S)
