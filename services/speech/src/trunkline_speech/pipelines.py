"""Engines on devices: tried in order, several at once on the one in use, the next one when it fails."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock
from time import perf_counter
from typing import Final, Generic, Protocol, TypeVar

import structlog

from trunkline_hop.errors import Internal, Unavailable
from trunkline_hop.telemetry import span
from trunkline_modelstore import threads
from trunkline_speech import pipeline_threads
from trunkline_speech.meters import Meter
from trunkline_speech.recogniser import Device
from trunkline_speech.slots import Slots

W = TypeVar("W")
R = TypeVar("R")
W_contra = TypeVar("W_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

log = structlog.get_logger("trunkline.speech")

_FAILURES: Final = 2
"""So many failures, each gone on a fresh pipeline, and the device is no longer trusted."""


class Pipeline(Protocol[W_contra, R_co]):
    """An engine on a device. It does one piece of work at a time."""

    def run(self, work: W_contra, stopped: Callable[[], bool]) -> R_co:
        """Does the work, in a thread. Once `stopped()`, it returns whatever it has within two steps.

        Raises:
            Exception: it failed.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds. It is not used any more, and may be broken."""
        ...


class CannotOpen(Exception):
    """A device cannot be used. The text is for clients: it says why in words of this service."""


class Chain(Generic[W, R]):
    """Devices in order, and the pipelines on the first that works.

    Its methods block. `run` is called in one of the `pipeline_threads`; the others may be called in any other thread,
    and do their work in one of those.

    A pipeline that fails is never used again. The work is repeated on a fresh one. When that fails too, and so does
    `probe`, which once worked, the device is taken out; so it is at its second failure, while another is left. This
    work and all other goes to the next one. Work that fails where `probe` works is itself the reason.

    Args:
        name: whose pipelines they are, for logs and errors.
        devices: names, in order.
        open_on: makes a pipeline on a device. Raises CannotOpen, or anything.
        probe: work that every pipeline can do.
        slots: how many pipelines.
    """

    def __init__(
        self,
        name: str,
        devices: Sequence[str],
        open_on: Callable[[str], Pipeline[W, R]],
        probe: W,
        slots: int,
    ) -> None:
        self.name = name
        self._names = tuple(devices)
        self._open_on = open_on
        self._probe = probe
        self._lock = Lock()
        self._errors: dict[str, str] = {}
        self._failures = dict.fromkeys(self._names, 0)
        self._slots: list[tuple[str, Pipeline[W, R]] | None] = [None] * slots
        self._serving = False
        self._lost = False

    @property
    def device(self) -> str:
        """The device in use; empty when none is left."""
        return next((name for name in self._names if name not in self._errors), "")

    @property
    def lost(self) -> bool:
        """True when a device failed that was in use."""
        return self._lost

    @property
    def devices(self) -> tuple[Device, ...]:
        """All of them, in order."""
        using = self.device
        return tuple(
            Device(
                name,
                active=name == using,
                error=self._errors.get(name, ""),
                pipelines=sum(held is not None and held[0] == name for held in self._slots)
                if name == using
                else 0,
            )
            for name in self._names
        )

    def open(self) -> None:
        """Opens every pipeline and proves it.

        Raises:
            Unavailable: DEVICE_LOST, no device works.
        """
        pipeline_threads.run(self._open)

    def _open(self) -> None:
        for slot in range(len(self._slots)):
            while True:
                device, pipeline = self._held(slot)
                try:
                    pipeline.run(self._probe, _never)
                    break
                except Exception as error:
                    self._take_out(device, "a trial on it failed", error)
        self._serving = True

    def warm(self, work: Sequence[W]) -> None:
        """Does this work on every pipeline, before anybody else uses them. Raises like `run`."""
        pipeline_threads.run(lambda: self._warm(work))

    def _warm(self, work: Sequence[W]) -> None:
        for slot in range(len(self._slots)):
            for each in work:
                self.run(slot, each)

    def run(self, slot: int, work: W, stopped: Callable[[], bool] | None = None) -> tuple[R, str]:
        """What the work gives, and on which device. One call at a time a slot.

        Raises:
            Unavailable: DEVICE_LOST, no device is left.
            Internal: the work fails wherever it is done.
        """
        stopped = stopped or _never
        while True:
            device, pipeline = self._held(slot)
            try:
                return pipeline.run(work, stopped), device
            except Exception as error:
                self._drop(slot)
                if device in self._errors:
                    continue  # Others found out first.
                log.warning("a pipeline failed", recogniser=self.name, device=device, exc_info=error)
                if stopped():
                    raise
                if (again := self._again(slot, device, work, stopped)) is not None:
                    return again, device

    def close(self) -> None:
        """Closes every pipeline. Nothing runs any more."""
        pipeline_threads.run(self._close)

    def _close(self) -> None:
        for slot in range(len(self._slots)):
            self._drop(slot)

    def _again(self, slot: int, device: str, work: W, stopped: Callable[[], bool]) -> R | None:
        """What the work gives on a fresh pipeline; None when the device was taken out instead."""
        try:
            fresh = self._open_on(device)
        except Exception as error:
            self._take_out(device, "it failed, and could not be opened again", error)
            return None
        try:
            result = fresh.run(work, stopped)
        except Exception as error:
            _close(fresh)
            if self._proves(device):
                raise Internal("INTERNAL", f"{self.name} fails on this work") from error
            self._take_out(device, "it failed twice in a row", error)
            return None
        self._slots[slot] = (device, fresh)
        with self._lock:
            self._failures[device] += 1
            failures = self._failures[device]
        # The last one that works is better than none.
        if failures >= _FAILURES and len(self._errors) + 1 < len(self._names):
            self._take_out(device, "it failed again and again")
        return result

    def _proves(self, device: str) -> bool:
        """True when a fresh pipeline on the device does what every one can."""
        fresh: Pipeline[W, R] | None = None
        try:
            fresh = self._open_on(device)
            fresh.run(self._probe, _never)
        except Exception as error:
            log.warning("a probe failed", recogniser=self.name, device=device, exc_info=error)
            return False
        finally:
            if fresh is not None:
                _close(fresh)
        return True

    def _held(self, slot: int) -> tuple[str, Pipeline[W, R]]:
        """The pipeline of a slot on a device that works, opened if need be."""
        while (held := self._slots[slot]) is None or held[0] in self._errors:
            self._drop(slot)
            if not (device := self.device):
                raise Unavailable(
                    "DEVICE_LOST", f"{self.name} has no device left", metadata={"model": self.name}
                )
            try:
                self._slots[slot] = (device, self._open_on(device))
            except CannotOpen as error:
                self._take_out(device, str(error))
            except Exception as error:
                self._take_out(device, "it could not be opened", error)
        return held

    def _drop(self, slot: int) -> None:
        held, self._slots[slot] = self._slots[slot], None
        if held is not None:
            _close(held[1])

    def _take_out(self, device: str, why: str, error: Exception | None = None) -> None:
        with self._lock:
            if device in self._errors:
                return
            self._errors[device] = why
            self._lost = self._lost or self._serving
        if self._serving or error is not None:
            log.error("device taken out", recogniser=self.name, device=device, why=why, exc_info=error)


@dataclass(frozen=True, slots=True)
class Ran(Generic[R]):
    """What came of a piece of work."""

    result: R
    device: str
    device_lost: bool
    """True when a device failed that was in use, now or earlier."""


class Pool(Generic[W, R]):
    """The pipelines of a chain, each in a thread while it works; waiting work runs the earliest due first.

    Args:
        chain: opened.
        count: its slots.
        queue_limit: how much may wait.
        meter: what is told of it.
    """

    def __init__(self, chain: Chain[W, R], count: int, queue_limit: int, meter: Meter) -> None:
        self.chain = chain
        self._meter = meter
        self._slots = Slots(count, queue_limit, meter.waiting)
        meter.devices(chain.devices)

    async def run(self, work: W, due: float = math.inf) -> Ran[R]:
        """Does the work. When cancelled, it stops the engine and returns once the thread is out of it.

        Raises:
            Overloaded: SHED.
            TooLate: DEADLINE_UNMEETABLE, EXPIRED_IN_QUEUE.
            Unavailable: DEVICE_LOST.
            Internal: the work cannot be done.
        """
        slot = await self._slots.take(due)
        stop = Event()
        worked_s: float | None = None
        began = perf_counter()
        try:
            with span("compute.recognise", model=self.chain.name):
                future = asyncio.get_running_loop().run_in_executor(
                    pipeline_threads.EXECUTOR, self.chain.run, slot, work, stop.is_set
                )
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    stop.set()
                    await threads.settle(future)
                    if (error := future.exception()) is not None:
                        log.info("stopped work failed", recogniser=self.chain.name, exc_info=error)
                    raise
                result, device = future.result()
            worked_s = perf_counter() - began
            self._meter.ran(worked_s)
            return Ran(result, device, self.chain.lost)
        except Unavailable:
            self._meter.failed("device_lost")
            raise
        except Internal:
            self._meter.failed("runtime")
            raise
        finally:
            self._slots.give(slot, worked_s)
            self._meter.devices(self.chain.devices)

    def close(self) -> None:
        """Gives the pipelines' memory back. Nothing runs any more."""
        self.chain.close()
        self._meter.close()


def _close(pipeline: Pipeline[W, R]) -> None:
    try:
        pipeline.close()
    except Exception:
        # It is out of use either way, and what it was used for goes on.
        log.exception("a pipeline did not close")


def _never() -> bool:
    return False
