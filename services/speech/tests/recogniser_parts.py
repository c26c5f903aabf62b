"""What tests of the recognisers share."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread, current_thread

import numpy as np

from trunkline_hop.metrics import Metrics
from trunkline_speech.meters import Meters
from trunkline_speech.pipelines import CannotOpen, Chain
from trunkline_speech.recogniser import Device, Heard, Samples, Task
from trunkline_speech.transcript import RATE_HZ, Hypothesis, Word

BOUND_S = 30.0
ARTIFACT = Path(
    os.environ.get("WHISPER_ARTIFACT") or Path(__file__).parents[3] / "models" / "whisper-micro" / "artifact"
)
"""The model that ships, or another one to test with."""
PROBE = "probe"


def noise(seconds: float, seed: int = 0) -> Samples:
    """Quiet noise."""
    return np.random.default_rng(seed).normal(0, 0.05, round(seconds * RATE_HZ)).astype(np.float32)


def meters() -> Meters:
    return Meters("speech", Metrics())


async def until(condition: Callable[[], object]) -> None:
    """Waits for a condition, with a bound."""
    async with asyncio.timeout(BOUND_S):
        while not condition():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.002)


class Machine:
    """Devices that do as they are told, and what was done on them."""

    def __init__(self, *here: str) -> None:
        self.here = set(here)
        self.broken: set[str] = set()
        """Devices on which everything fails."""
        self.cannot_open: set[str] = set()
        self.failures: dict[str, int] = {}
        """By device, how many more pieces of work fail there."""
        self.poison: set[str] = set()
        """Work that fails everywhere."""
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.done: list[tuple[str, str]] = []
        self.hold: Event | None = None
        """While it is given and not set, work goes on until it is stopped."""
        self.began: list[str] = []
        self.stopped: list[str] = []
        self.threads: set[Thread] = set()
        """In which pipelines were opened, run or closed."""

    def open_on(self, device: str) -> Scripted:
        self.threads.add(current_thread())
        if device not in self.here:
            raise CannotOpen("there is none")
        if device in self.cannot_open:
            raise RuntimeError("/secret/path/plugin.cpp: no driver")
        self.opened.append(device)
        return Scripted(self, device)

    def chain(self, *devices: str, slots: int = 1) -> Chain[str, str]:
        return Chain("models/m/versions/1", devices, self.open_on, PROBE, slots)


class Scripted:
    """A pipeline of a machine. It must not be used by two threads at once, nor after it failed or was closed."""

    def __init__(self, machine: Machine, device: str) -> None:
        self.machine = machine
        self.device = device
        self.usable = True
        self.busy = False

    def run(self, work: str, stopped: Callable[[], bool]) -> str:
        self.machine.threads.add(current_thread())
        assert self.usable
        assert not self.busy
        self.busy = True
        try:
            return self._run(work, stopped)
        except BaseException:
            self.usable = False
            raise
        finally:
            self.busy = False

    def _run(self, work: str, stopped: Callable[[], bool]) -> str:
        machine = self.machine
        machine.began.append(work)
        if self.device in machine.broken or work in machine.poison:
            raise RuntimeError("Infer request failed")
        if work != PROBE and machine.failures.get(self.device, 0):
            machine.failures[self.device] -= 1
            raise RuntimeError("Infer request failed")
        if work != PROBE and machine.hold is not None:
            while not machine.hold.wait(0.002):
                if stopped():
                    machine.stopped.append(work)
                    return ""
        machine.done.append((work, self.device))
        return work.upper()

    def close(self) -> None:
        self.machine.threads.add(current_thread())
        self.usable = False
        self.machine.closed.append(self.device)


class Listener:
    """A recogniser that hears its own name."""

    digest = "d"
    window = 8 * RATE_HZ
    size_bytes = 1
    word_times = True

    def __init__(
        self,
        name: str,
        languages: tuple[str, ...] = ("en",),
        tasks: tuple[Task, ...] = (Task.TRANSCRIBE,),
        engine: str = "openvino",
        degradations: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.languages = languages
        self.tasks = tasks
        self.engine = engine
        self.degradations = degradations
        self.devices: tuple[Device, ...] = (Device("CPU", active=True, pipelines=1),)

    def standing_in(self) -> Listener:
        return Listener(self.name, self.languages, self.tasks, self.engine, ("fallback_engine",))

    async def hear(self, samples: Samples, hearing: object) -> Heard:
        words = (Word(self.name, 0, len(samples)),)
        return Heard(Hypothesis(words, self.languages[0]), "CPU", self.degradations)
