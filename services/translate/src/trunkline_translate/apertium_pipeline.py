"""The programs of one pair of languages, kept running."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import IO, Final, Self

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
        self,
        processes: Sequence[subprocess.Popen[bytes]],
        input_: asyncio.StreamWriter,
        output: asyncio.StreamReader,
        held: asyncio.StreamWriter,
    ) -> None:
        self._processes = processes
        self._input = input_
        self._output = output
        self._held = held
        """Its other direction is not used; what reads ends with it."""
        self._number = 0

    @classmethod
    async def open(cls, mode: Mode) -> Self:
        """Starts the programs of a mode.

        Raises:
            Gone: a program is not there, or the machine has no process more.
        """
        with ExitStack() as stack:
            try:
                (our_input, their_input), (our_output, their_output) = _pair(stack), _pair(stack)
                _, input_ = await asyncio.open_connection(sock=our_input)
                stack.callback(input_.close)
                output, held = await asyncio.open_connection(sock=our_output, limit=_ANSWER_BYTES)
                stack.callback(held.close)
                processes = _start(mode, their_input.fileno(), their_output.fileno())
            except OSError as error:
                raise Gone(f"its programs cannot be started: {type(error).__name__}") from error
            stack.pop_all()
            their_input.close()
            their_output.close()
        return cls(processes, input_, output, held)

    @property
    def group(self) -> int:
        """The process group."""
        return self._processes[0].pid

    @property
    def gone(self) -> bool:
        """True when it is known that the last program ended, as it does when one before it ends."""
        return self._output.at_eof()

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
        _kill(self._processes)
        for end in (self._input, self._held):
            end.close()
            with suppress(OSError):
                await end.wait_closed()
        await asyncio.to_thread(_reap, self._processes)


def _pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    return stack.enter_context(ours), stack.enter_context(theirs)


def _start(mode: Mode, input_: int, output: int) -> list[subprocess.Popen[bytes]]:
    """Starts the programs between two descriptors. It takes some milliseconds, however much memory this process has.

    Not by the event loop: uvloop forks, and what gRPC does in the child then may end it. This one does not. And
    without a shell, which would hold the last one's output open when they are gone.
    """
    started: list[subprocess.Popen[bytes]] = []
    reads: int | IO[bytes] = input_
    try:
        for place, stage in enumerate(mode.stages, start=1):
            process = subprocess.Popen(  # noqa: S603 - what a mode file of the system says
                stage,
                stdin=reads,
                stdout=output if place == len(mode.stages) else subprocess.PIPE,
                # What they say of a text that they cannot read holds that text.
                stderr=subprocess.DEVNULL,
                process_group=started[0].pid if started else 0,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
            started.append(process)
            if not isinstance(reads, int):
                reads.close()
            reads = process.stdout or output
    except OSError:
        _kill(started)
        _reap(started)
        raise
    return started


def _kill(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()


def _reap(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
