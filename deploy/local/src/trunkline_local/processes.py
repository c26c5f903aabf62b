"""One child process: spawned in a session of its own, its output in one file, gone when its parent is gone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

ROTATE_BYTES = 16 * 1024 * 1024
"""A log that is larger when its process starts is put aside, as the one `.1` before it."""
POLL_S = 0.02
"""How often an exit is looked for. Polled, because asyncio's own child transports die with their loop."""


class Answer(Enum):
    """What a process says when it is asked whether it serves."""

    SERVING = "serving"
    NOT_SERVING = "not serving"
    """It says no: it lives."""
    NONE = "none"
    """Nothing, in the time it had."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system account that a process runs under, for programs that refuse to run as root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """What to run."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """The whole environment."""
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks for an orderly end."""
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends when the parent dies without stopping it (PR_SET_PDEATHSIG)."""
    account: Account | None = None
    """None: the caller's own."""

    def launched(self) -> list[str]:
        """The command line behind util-linux `setpriv`, which becomes the program.

        It sets the parent-death signal after the change of account, which would clear it. CAP_DAC_OVERRIDE
        stays so that a program under another account can be run from, and keep its data in, directories
        that only the caller can enter, such as a checkout in /root, without changing their modes. Where
        there is no setpriv (macOS), children of a killed parent stay.
        """
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            return list(self.argv)
        options = ["--pdeathsig", self.orphan_signal.name.removeprefix("SIG")]
        if self.account is not None:
            options += ["--reuid", str(self.account.uid), "--regid", str(self.account.gid), "--clear-groups"]
            options += ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
        return [setpriv, *options, "--", *self.argv]


class Process:
    """At most one running child at a time, started again by `start`.

    The parent-death signal comes when the *thread* that started the child ends, so start it from a thread
    that lives as long as the child should.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._command: Command | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """Of the running child, None when there is none."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """Of the last child: its exit status, or minus the signal that ended it. None while it runs."""
        return None if self._child is None else self._child.poll()

    def start(self, command: Command) -> None:
        """Spawns the child. Its standard output and error are appended to the log.

        Raises:
            RuntimeError: one is running.
            OSError: the program cannot be run.
        """
        if self.pid is not None:
            raise RuntimeError(f"{self.name} is running already, pid {self.pid}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > ROTATE_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._child = subprocess.Popen(  # noqa: S603 - a program of our own table, no shell
                command.launched(),
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # ctrl-C in the terminal reaches the parent only, which stops in order
            )
        self._command = command

    async def exited(self) -> int:
        """Waits for the child's end; its return code."""
        while self._child is not None and self._child.poll() is None:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        code = self.returncode
        if code is None:
            raise RuntimeError(f"{self.name} was never started")
        return code

    async def stop(self, grace_s: float = 10.0) -> None:
        """Asks it to end, and kills it after the grace. Nothing happens when it does not run."""
        if self.pid is None or self._child is None or self._command is None:
            return
        self._child.send_signal(self._command.stop_signal)
        try:
            async with asyncio.timeout(grace_s):
                await self.exited()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """kill -9, and waits for the end."""
        if self.pid is not None and self._child is not None:
            self._child.kill()
            await self.exited()

    def log_tail(self, lines: int) -> list[str]:
        """The last lines that this child, not one before it, wrote; without those that are empty."""
        return log_tail(self.log, lines, self._log_start)


def log_tail(log: Path, lines: int, start: int = 0) -> list[str]:
    """The last lines of a log file from an offset on, without those that are empty; none when it is not there."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(start, file.tell() - 256 * 1024))
        text = file.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-lines:]
