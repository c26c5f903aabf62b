"""Engines that do as they are told, and an event loop whose time passes only while everybody waits."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypeVar

import pytest

from trunkline_hop.errors import Fault
from trunkline_hop.metrics import Metrics
from trunkline_translate.chain import Chain
from trunkline_translate.checks import Finding
from trunkline_translate.engine import Ask, Delta, Done, EngineFailed, Exchange, FinishReason, Identity, Piece
from trunkline_translate.language import Direction
from trunkline_translate.meters import Meters
from trunkline_translate.translation import Options, Outcome, Partial, Task, Translated
from trunkline_translate.translator import Checks as Looks
from trunkline_translate.translator import Translator

EN_ES = Direction("en", "es")
EN_DE = Direction("en", "de")
BEFORE = (Exchange("Good day", "Buenos días"),)
DEAD = EngineFailed("connection refused")
FULL = EngineFailed("its queue is full", counts=False)
T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer when nobody has anything to do. No real time passes."""

    def __init__(self) -> None:
        super().__init__(_Jumping(self))
        self.seconds = 1000.0

    def time(self) -> float:
        return self.seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        self._loop.seconds += max(0.0, timeout)
        return super().select(0)


class VirtualPolicy(asyncio.DefaultEventLoopPolicy):
    """Every loop is a virtual one."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualLoop()


def virtually(work: Coroutine[Any, Any, T]) -> T:
    """Runs it in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def now() -> float:
    return asyncio.get_running_loop().time()


class LoopClock:
    """The event loop's time."""

    def monotonic(self) -> float:
        return now()

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=now())


@dataclass(frozen=True)
class Wait:
    """Nothing is said for so many seconds."""

    seconds: float


class Gone:
    """The answer ends without its last piece."""


Step: TypeAlias = str | Wait | Gone | Done | Exception
"""What an engine does next: it says something, waits, fails, or is done."""
Script: TypeAlias = Sequence[Step]


@dataclass
class ScriptedEngine:
    """Answers with its scripts one after the other, the last one again and again.

    A script that does not say how it ends is done then.
    """

    name: str
    scripts: Sequence[Script]
    directions: Collection[Direction] = (EN_ES,)
    takes_context: bool = True
    error: str = ""
    asks: list[Ask] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    live: int = 0
    """Answers that are being given."""
    probes: int = 0
    down: str = ""
    """Why it does not answer probes."""
    silent: bool = False
    """It never answers a probe."""

    def identity(self, model: str = "") -> Identity:
        return Identity(self.name, f"{model or 'models/' + self.name}/versions/1", "digest", "CPU")

    async def translate(self, ask: Ask, model: str = "") -> AsyncGenerator[Piece, None]:
        script = self.scripts[min(len(self.asks), len(self.scripts) - 1)]
        self.asks.append(ask)
        self.models.append(model)
        self.live += 1
        try:
            for step in script:
                if isinstance(step, str):
                    yield Delta(step)
                elif isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                elif isinstance(step, Gone):
                    return
                elif isinstance(step, Done):
                    yield step
                    return
                else:
                    raise step
            yield Done(FinishReason.STOP, 3, 2)
        finally:
            self.live -= 1

    async def probe(self) -> None:
        self.probes += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.down:
            raise EngineFailed(self.down)


def engine(name: str, *script: Step, **more: Any) -> ScriptedEngine:
    """An engine with one script."""
    return ScriptedEngine(name, [script], **more)


class Opinions:
    """Checks that find what they are told to find in answers that contain something."""

    def __init__(self, **found: Finding) -> None:
        self._found = found
        self.seen: list[tuple[str, str, bool]] = []

    def find(self, source: str, answer: str, direction: Direction, *, finished: bool) -> Finding | None:
        self.seen.append((source, answer, finished))
        if not answer.strip():
            return Finding("empty", hard=True)
        return next((finding for part, finding in self._found.items() if part in answer), None)


HARD = Finding("language", hard=True)
SOFT = Finding("length", hard=False)


@dataclass
class Bench:
    """A translator over scripted engines, and what it shows of itself."""

    engines: Sequence[ScriptedEngine]
    chain: Chain
    translator: Translator
    metrics: Metrics

    @classmethod
    async def of(
        cls,
        *engines: ScriptedEngine,
        checks: Looks | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> Bench:
        """Of engines that were probed once, just now."""
        metrics = Metrics()
        meters = Meters("translate", metrics)
        chain = Chain(engines, LoopClock(), meters, on_change=on_change)
        translator = Translator(chain, checks or Opinions(), meters)
        async with chain:
            pass
        return cls(engines, chain, translator, metrics)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def outcomes(self, task: Task) -> list[Outcome]:
        outcomes = [outcome async for outcome in self.translator.translate(task)]
        assert not any(each.live for each in self.engines)
        return outcomes

    async def answer(self, task: Task) -> Translated:
        return answered(await self.outcomes(task))


def task(text: str = "Hello", *, source: str = "en", target: str = "es", **more: Any) -> Task:
    """A sentence to translate; what is no field of a task is an option."""
    given = {key: more.pop(key) for key in ("context", "priority", "due") if key in more}
    return Task(text, Options(target=target, **more), source, **given)


async def fault_of(bench: Bench, *args: str, **more: object) -> Fault:
    with pytest.raises(Fault) as failed:
        await bench.outcomes(task(*args, **more))
    assert not any(each.live for each in bench.engines)
    return failed.value


def answered(outcomes: Sequence[Outcome]) -> Translated:
    """The translation, which is what the partials said."""
    *partials, last = outcomes
    assert isinstance(last, Translated)
    assert said(partials, last.revision) == last.text
    revisions = [each.revision for each in partials if isinstance(each, Partial)]
    assert len(revisions) == len(partials)
    assert revisions == sorted(revisions)
    assert not revisions or revisions[-1] == last.revision
    assert all(isinstance(each, Partial) and each.text for each in partials)
    return last


def said(outcomes: Sequence[Outcome], revision: int) -> str:
    return "".join(each.text for each in outcomes if isinstance(each, Partial) and each.revision == revision)
