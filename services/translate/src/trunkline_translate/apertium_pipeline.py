"""The programs of one pair of languages, kept running."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import suppress
from typing import Final, Self

from trunkline_translate.apertium_modes import Mode
from trunkline_translate.apertium_stream import Framed, Garbage

_ANSWER_BYTES: Final = 1024 * 1024
"""Longest answer."""


class Gone(Exception):
    """A program ended, or could not be started."""


class Pipeline:
    """Programs that read one another, in a process group of their own; one text at a time.

    When one of them ends, the answer ends without its NUL: everything has to be started anew. When this process
    ends, however it does, they read the end of their input and end as well.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], output: asyncio.StreamReader, input_: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._input = input_
        self._output = output
        self._number = 0

    @classmethod
    async def open(cls, mode: Mode) -> Self:
        """Starts the programs of a mode.

        Raises:
            Gone: there is no shell, or no process more.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            output, input_ = await asyncio.open_connection(sock=ours, limit=_ANSWER_BYTES)
            try:
                process = _start(mode, theirs.fileno())
            except OSError as error:
                input_.close()
                raise Gone(f"its programs cannot be started: {type(error).__name__}") from error
        return cls(process, output, input_)

    @property
    def group(self) -> int:
        """The process group."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """True when it is known that the last program ended."""
        return self._output.at_eof() or self._process.poll() is not None

    async def translate(self, text: str) -> str:
        """One sentence's translation. A call that was cancelled leaves the answer in the pipe: close it then.

        Raises:
            Gone: a program ended.
            Garbage: what was answered is not the translation.
        """
        self._number += 1
        framed = Framed(text, self._number)
        try:
            self._input.write(framed.request)
            await self._input.drain()
            answer = await self._output.readuntil(b"\0")
        except (OSError, EOFError):
            raise Gone("one of its programs ended") from None
        except asyncio.LimitOverrunError:
            raise Garbage("the answer has no end") from None
        return framed.read(answer[:-1])

    async def close(self) -> None:
        """Ends the programs, whatever they are doing."""
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        self._input.close()
        with suppress(OSError):
            await self._input.wait_closed()
        await asyncio.to_thread(self._process.wait)


def _start(mode: Mode, end: int) -> subprocess.Popen[bytes]:
    """Starts the programs on one end of a socket. It takes a millisecond, however much memory this process has.

    Not by the event loop: uvloop forks, and what gRPC does in the child then may end it. This one does not.
    """
    return subprocess.Popen(  # noqa: S603 - the shell, with what a mode file of the system says
        ["/bin/sh", "-c", mode.command],
        stdin=end,
        stdout=end,
        # What they say of a text that they cannot read holds that text.
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
