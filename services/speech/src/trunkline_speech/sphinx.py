"""pocketsphinx as an engine of this server."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final, TypeAlias

import numpy as np

from trunkline_hop.errors import Unavailable
from trunkline_speech import sphinx_worker
from trunkline_speech.fit import fits, unfit
from trunkline_speech.meters import Meters
from trunkline_speech.pipelines import Chain, Pool
from trunkline_speech.recogniser import Device, Heard, Hearing, Samples, Task
from trunkline_speech.transcript import RATE_HZ, Hypothesis, Word

NAME: Final = "engines/pocketsphinx"
MEMORY_BYTES: Final = 140 * 1024 * 1024
"""Of one worker: its language model is 27 MB on disk, its dictionary has 134,000 words."""
FALLBACK: Final = "fallback_engine"
"""Degradation: it answers because no model that should is there."""
HINTS_IGNORED: Final = "hints_ignored"
_LOOK_S: Final = 0.02
_END_S: Final = 5.0
_SILENCE: Final = np.zeros(RATE_HZ // 2, np.float32)

Words: TypeAlias = tuple[Word, ...]


class SphinxPipeline:
    """A worker process. See `Pipeline`."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        # Only the worker keeps its end, so that this one learns when it is gone.
        with theirs:
            end = theirs.fileno()
            command = [sys.executable, "-m", sphinx_worker.__name__, str(end)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[end])  # noqa: S603 - ourselves
        self._connection = Connection(ours.detach())

    def run(self, work: Samples, stopped: Callable[[], bool]) -> Words:
        """See `Pipeline.run`.

        Raises:
            EOFError, OSError: the process is gone.
        """
        self._connection.send_bytes((np.clip(work, -1, 1) * 32767).astype("<i2").tobytes() or b"\0\0")
        told = False
        while not self._connection.poll(_LOOK_S):
            if stopped() and not told:
                self._connection.send_bytes(sphinx_worker.STOP)
                told = True
        return tuple(Word(*found) for found in self._connection.recv())

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Workers:
    """The processes of pocketsphinx, started when they are first needed.

    Args:
        pipelines: pieces of speech that are heard at once.
        queue_limit: how much may wait.
        meters: what is told of it.
        open_one: starts a process.
    """

    def __init__(
        self,
        pipelines: int,
        queue_limit: int,
        meters: Meters,
        open_one: Callable[[], SphinxPipeline] = SphinxPipeline,
    ) -> None:
        self._count = pipelines
        self._queue_limit = queue_limit
        self._meters = meters
        self._open_one = open_one
        self._pool: Pool[Samples, Words] | None = None
        self._starting: asyncio.Task[Pool[Samples, Words]] | None = None

    async def __aenter__(self) -> Workers:
        """Starts nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends them."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._pool is not None:
            await asyncio.to_thread(self._pool.close)

    @property
    def size_bytes(self) -> int:
        """What they take of memory; nothing until they are needed."""
        return 0 if self._pool is None else self._count * MEMORY_BYTES

    @property
    def devices(self) -> tuple[Device, ...]:
        """The CPU."""
        return (Device("CPU", active=True),) if self._pool is None else self._pool.chain.devices

    async def pool(self) -> Pool[Samples, Words]:
        """Them, started once for all who ask meanwhile; it goes on when one of those goes away.

        Raises:
            Unavailable: LOADING, they cannot be started.
        """
        if self._pool is not None:
            return self._pool
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name=f"start {NAME}")
        starting = self._starting
        await asyncio.wait([starting])
        if self._starting is starting:
            self._starting = None
        if (error := starting.exception()) is not None:
            raise Unavailable("LOADING", f"{NAME} could not be started") from error
        return starting.result()

    async def _start(self) -> Pool[Samples, Words]:
        chain: Chain[Samples, Words] = Chain(
            NAME, ("CPU",), lambda _: self._open_one(), _SILENCE, self._count
        )
        await asyncio.to_thread(chain.open)
        self._pool = Pool(chain, self._count, self._queue_limit, self._meters.of(NAME))
        return self._pool


class Sphinx:
    """pocketsphinx, which hears English. See `Recogniser` and `choice.Engine`.

    Args:
        workers: do its work.
        degradations: said of everything that it hears.
    """

    name = NAME
    digest = ""
    engine = "pocketsphinx"
    languages = ("en",)
    tasks = (Task.TRANSCRIBE,)
    window = 30 * RATE_HZ
    word_times = True

    def __init__(self, workers: Workers, degradations: tuple[str, ...] = ()) -> None:
        self._workers = workers
        self._degradations = degradations

    @property
    def size_bytes(self) -> int:
        """See `Recogniser.size_bytes`."""
        return self._workers.size_bytes

    @property
    def devices(self) -> tuple[Device, ...]:
        """See `Recogniser.devices`."""
        return self._workers.devices

    def standing_in(self) -> Sphinx:
        """See `choice.Engine.standing_in`."""
        return Sphinx(self._workers, (FALLBACK,))

    async def hear(self, samples: Samples, hearing: Hearing) -> Heard:
        """See `Recogniser.hear`. Hints change nothing, and it says so.

        Raises:
            ValueError: more samples than the window.
        """
        if not fits(self, hearing.language, hearing.task):
            raise unfit(hearing.language, hearing.task, [self])
        if len(samples) > self.window:
            raise ValueError(f"expected at most {self.window} samples, not {len(samples)}")
        ran = await (await self._workers.pool()).run(samples, hearing.due)
        ignored = (HINTS_IGNORED,) if hearing.hints else ()
        return Heard(Hypothesis(ran.result, "en"), ran.device, self._degradations + ignored)
