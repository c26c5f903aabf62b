"""A pipeline in a process of its own, as the service holds it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Final, TypeAlias

from trunkline_translate.genai_messages import Broke, CannotOpen, Open, Opened, decode, encode

_MODULE: Final = f"{__package__}.genai_worker"
"""By name: what it imports belongs into its process alone."""
_OPEN_S: Final = 120.0
_END_S: Final = 5.0


class NotHere(Exception):
    """The machine has no such device. The text says so."""


class Process:
    """A process that runs a pipeline; it works when this returns. All but `connect` and `kill` blocks.

    Args:
        order: which pipeline.
        open_s: longest that it may take to open it.

    Raises:
        NotHere: this machine has no such device.
        RuntimeError: the pipeline could not be opened.
    """

    def __init__(self, order: Open, open_s: float = _OPEN_S) -> None:
        ours, theirs = socket.socketpair()
        # Only the process keeps its end, so that this one learns when it is gone.
        with theirs:
            end = theirs.fileno()
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-m", _MODULE, str(end)], stdin=subprocess.DEVNULL, pass_fds=[end]
            )
        self._socket = ours
        try:
            self._open(order, open_s)
        except BaseException:
            self.kill()
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def connect(self) -> socket.socket:
        """What speaks with it, see `genai_messages`. It is the caller's to close.

        Raises:
            OSError: the process was ended.
        """
        return self._socket.dup()

    def end(self) -> str:
        """Lets it end, or waits until it has. It takes a step at most, and a process that hangs is killed.

        Returns:
            The signal that ended it, such as SIGSEGV, or its exit status.
        """
        self._let_go()
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            try:
                status = self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                # In the middle of a call to a driver. Nobody can do more, and it ends when that returns.
                return "it cannot be killed"
        return _ending(status)

    def kill(self) -> None:
        """Ends it at once, and waits for nothing: `end` does."""
        self._let_go()
        self._process.kill()

    def _let_go(self) -> None:
        # An error says that it has ended already.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _open(self, order: Open, open_s: float) -> None:
        self._socket.settimeout(open_s)
        try:
            self._socket.sendall(encode(order))
            with self._socket.makefile("rb") as lines:
                answer = lines.readline()
        except TimeoutError as late:
            raise RuntimeError(f"it was not open after {open_s:g} s") from late
        except OSError as error:
            raise RuntimeError(f"its process ended ({self.end()})") from error
        self._socket.setblocking(False)
        match decode(answer) if answer else None:
            case Opened():
                return
            case CannotOpen(why):
                raise NotHere(why)
            case Broke(why):
                raise RuntimeError(why)
            case _:
                raise RuntimeError(f"its process ended ({self.end()})")


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        # Those for real time have no names.
        return f"signal {-status}"


Opens: TypeAlias = Callable[[str], Process]
"""What opens a pipeline on a device. Raises NotHere, or anything."""
