"""What tests of the models on OpenVINO share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from trunkline_translate import model_files
from trunkline_translate.facts import Facts
from trunkline_translate.genai_devices import Devices
from trunkline_translate.genai_driver import Driver, Work
from trunkline_translate.genai_messages import Open
from trunkline_translate.genai_pipeline import GenaiPipeline
from trunkline_translate.genai_process import NotHere, Process
from trunkline_translate.genai_ticket import Ticket

BOUND_S = 60.0
"""How long a test waits for a condition before it is a failure. Nothing is asserted about time."""
ARTIFACT = Path(
    os.environ.get("TRANSLATOR_ARTIFACT") or Path(__file__).parents[3] / "models/phrase-translator/artifact"
)
"""The model that ships, or another one to test with."""


async def until(condition: Callable[[], object]) -> None:
    """Waits for a condition, with a bound."""
    async with asyncio.timeout(BOUND_S):
        while not condition():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.002)


@cache
def shipped() -> Facts:
    return model_files.read(ARTIFACT)


def endless() -> Facts:
    """The model without an end: its sequences are as long as they may be."""
    return replace(shipped(), ends=())


def opened(facts: Facts | None = None, *, sequences: int = 16) -> GenaiPipeline:
    return GenaiPipeline(ARTIFACT, "CPU", facts or shipped(), sequences=sequences, threads=1, cache_mb=64)


@cache
def reference(facts: Facts) -> GenaiPipeline:
    """A pipeline that one test after the other may use."""
    return opened(facts)


def prompt(text: str, direction: str = "en es") -> str:
    return f"<|system|>{direction}<|user|>{text}<|assistant|>"


def work(text: str, most: int = 32, **changes: float) -> Work:
    return replace(Work(prompt(text), most, 1), **changes)


async def read(ticket: Ticket) -> str:
    """Its whole text."""
    async with asyncio.timeout(BOUND_S):
        try:
            return "".join([text async for text in ticket])
        finally:
            ticket.close()


def alone(text: str, most: int = 32, facts: Facts | None = None) -> str:
    """What a pipeline says to a text when it has nothing else to do."""
    pipeline = reference(facts or shipped())
    generation = pipeline.add(pipeline.encode(prompt(text)), most)
    tokens: list[int] = []
    while pipeline.busy:
        pipeline.step()
        tokens += generation.read()[0]
    return pipeline.decode(tokens)


def opening(facts: Facts | None = None, *, device: str = "CPU", sequences: int = 16) -> Open:
    return Open(str(ARTIFACT), device, (facts or shipped()).to_json(), sequences, threads=1, cache_mb=64)


class Machine:
    """A machine with these devices, all of which are its CPU, and the processes that were opened on them."""

    def __init__(self, *here: str, facts: Facts | None = None, sequences: int = 16) -> None:
        self.here = set(here)
        self.out_of_order: set[str] = set()
        self.facts = facts
        self.sequences = sequences
        self.opened: list[tuple[str, Process]] = []

    def open(self, device: str) -> Process:
        if device not in self.here:
            raise NotHere("this machine has none")
        if device in self.out_of_order:
            raise RuntimeError("out of order")
        process = Process(opening(self.facts, sequences=self.sequences))
        self.opened.append((device, process))
        return process

    def send(self, number: signal.Signals) -> None:
        """Sends the last process a signal."""
        os.kill(self.opened[-1][1].pid, number)

    def driver(self, *devices: str, queue_limit: int = 64, hung_s: float = BOUND_S) -> Driver:
        named = Devices("models/m/versions/1", devices or ("CPU",), self.open)
        return Driver(
            "models/m/versions/1", named, places=self.sequences, queue_limit=queue_limit, hung_s=hung_s
        )
