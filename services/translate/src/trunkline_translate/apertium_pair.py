"""One pair of languages of Apertium: sentences that wait, and the programs that translate them one after the other."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Final

import structlog

from trunkline_translate.apertium_modes import Mode
from trunkline_translate.apertium_pipeline import Gone, Pipeline
from trunkline_translate.apertium_stream import Garbage
from trunkline_translate.engine import EngineFailed, Priority

PROOF: Final = "1"
"""A text that every pair can translate."""

logger = structlog.get_logger("trunkline_translate")


@dataclass(frozen=True, slots=True, order=True)
class _Job:
    priority: int
    due: float
    number: int
    text: str = field(compare=False)
    answer: asyncio.Future[str] = field(compare=False)


class Pair:
    """Translates from one language into another. Needs `close`.

    They are started for the first sentence, and again for the next one after they ended. When they end while they have
    a sentence, which tells nobody whose fault it is, they are started anew and get it once more.

    Args:
        mode: the programs.
        queue: sentences that may wait.
        answer_s: longest wait for one sentence's translation, the start of the programs included.
        idle_s: the programs, which take some 100 MB, end when there was nothing to do for so long.
    """

    def __init__(self, mode: Mode, queue: int, answer_s: float, idle_s: float) -> None:
        self.mode = mode
        self.proven = False
        """True when the last sentence was translated."""
        self.failure = ""
        """Why it was not; empty also before the first one."""
        self._queue = queue
        self._answer_s = answer_s
        self._idle_s = idle_s
        self._numbers = itertools.count()
        self._jobs: asyncio.PriorityQueue[_Job] = asyncio.PriorityQueue()
        self._pipeline: Pipeline | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def close(self) -> None:
        """Ends the programs; who waits is told so."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        while not self._jobs.empty():
            _tell(self._jobs.get_nowait(), EngineFailed("it is being closed", counts=False))

    @property
    def group(self) -> int | None:
        """The process group of the programs, while they run."""
        return None if self._pipeline is None else self._pipeline.group

    async def translate(self, text: str, priority: Priority, due: float) -> str:
        """A sentence's translation. Cancelling it frees its place; what the programs have begun is thrown away.

        Raises:
            EngineFailed: too many wait (which does not count), or the programs fail.
        """
        if self._closed:
            raise EngineFailed("it is being closed", counts=False)
        most = max(1, self._queue)
        if self._jobs.qsize() >= most:
            self._drop_unwanted()
        if self._jobs.qsize() >= most:
            raise EngineFailed(f"{self._queue} sentences wait already", counts=False)
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name=f"apertium {self.mode.name}")
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self._jobs.put(_Job(priority.value, due, next(self._numbers), text, answer))
        return await answer

    def _drop_unwanted(self) -> None:
        """Takes out those that nobody waits for any more."""
        jobs = [self._jobs.get_nowait() for _ in range(self._jobs.qsize())]
        for job in jobs:
            if not job.answer.done():
                self._jobs.put_nowait(job)

    async def _work(self) -> None:
        job: _Job | None = None
        try:
            while True:
                if (job := await self._next()) is None:
                    await self._end()
                else:
                    await self._do(job)
        finally:
            if job is not None:
                _tell(job, EngineFailed("it is being closed", counts=False))
            await self._end()

    async def _next(self) -> _Job | None:
        """The next sentence; None after some time without any."""
        if self._pipeline is None:
            return await self._jobs.get()
        try:
            async with asyncio.timeout(self._idle_s):
                return await self._jobs.get()
        except TimeoutError:
            return None

    async def _do(self, job: _Job) -> None:
        if job.answer.done():
            return
        if job.due <= asyncio.get_running_loop().time():
            _tell(job, EngineFailed("its time was over before its turn came", counts=False))
            return
        try:
            async with asyncio.timeout(self._answer_s):
                text = await self._translation(job.text)
        except TimeoutError:
            await self._failed(job, f"no answer within {self._answer_s:g} s")
        except Gone as gone:
            await self._failed(job, str(gone))
        except Garbage as garbage:
            await self._failed(job, garbage.what)
        except Exception as error:
            # Its text, which may hold some of the sentence, is not for a log.
            await self._failed(job, f"it broke: {type(error).__name__}")
        else:
            self.proven, self.failure = True, ""
            if not job.answer.done():
                job.answer.set_result(text)

    async def _translation(self, text: str) -> str:
        if self._pipeline is not None and not self._pipeline.gone:
            try:
                return await self._pipeline.translate(text)
            except (Gone, Garbage) as failed:
                logger.warning("apertium is started anew", mode=self.mode.name, why=str(failed))
        await self._end()
        self._pipeline = await Pipeline.open(self.mode)
        return await self._pipeline.translate(text)

    async def _failed(self, job: _Job, why: str) -> None:
        self.proven, self.failure = False, why
        await self._end()
        _tell(job, EngineFailed(f"{self.mode.name}: {why}"))

    async def _end(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            await pipeline.close()


def _tell(job: _Job, failed: EngineFailed) -> None:
    if not job.answer.done():
        job.answer.set_exception(failed)
