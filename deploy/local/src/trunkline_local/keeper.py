"""Keeps one process running: starts it, watches its health, restarts it with backoff, gives up with a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from trunkline_hop.clock import Clock
from trunkline_local.embedded import EmbeddedServerFailed
from trunkline_local.processes import Command
from trunkline_local.state import Health, ProcessState

STARTING_POLL_S = 0.05
SERVING_POLL_S = 0.5
LOG_LINES = 12


class Child(Protocol):
    """What a keeper asks of a process; `processes.Process` is one."""

    @property
    def pid(self) -> int | None: ...

    def start(self, command: Command) -> None: ...

    async def exited(self) -> int: ...

    async def stop(self, grace_s: float = ...) -> None: ...

    def log_tail(self, lines: int) -> list[str]: ...


class Unit(Protocol):
    """Something to keep running: an embedded server or a service."""

    @property
    def name(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def process(self) -> Child: ...

    async def prepare(self) -> None:
        """Makes what the process needs before its first start."""
        ...

    def command(self) -> Command: ...

    async def ready(self) -> bool:
        """Whether it serves right now. Bounded in time, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to start again what died."""

    first_delay_s: float = 0.1
    maximum_delay_s: float = 5.0
    deaths: int = 5
    """This many in a row are the end."""
    stable_s: float = 10.0
    """A process that served for this long starts a new row."""

    def delay_s(self, deaths: int) -> float | None:
        """How long to wait after the n-th death in a row, doubling each time; None: give up."""
        if deaths >= self.deaths:
            return None
        return min(self.first_delay_s * 2.0 ** (deaths - 1), self.maximum_delay_s)


class Keeper:
    """Keeps a unit running until it is stopped, or has died too often.

    Args:
        unit: what to run.
        needs: keepers whose units must be serving before this one is started for the first time.
        changed: called after every change of `state`.
    """

    def __init__(
        self,
        unit: Unit,
        needs: Sequence[Keeper],
        clock: Clock,
        changed: Callable[[], None],
        *,
        metrics_port: int | None = None,
        policy: RestartPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.unit = unit
        self.state = ProcessState(name=unit.name, port=unit.port, metrics_port=metrics_port)
        self.serving = asyncio.Event()
        """Set while it serves."""
        self.failed = asyncio.Event()
        """Set when it was given up."""
        self._needs = needs
        self._clock = clock
        self._changed = changed
        self._policy = policy or RestartPolicy()
        self._sleep = sleep
        self._serving_since: float | None = None

    async def keep(self) -> None:
        """Runs the unit until it is cancelled or has failed."""
        for need in self._needs:
            await need.serving.wait()
        try:
            await self.unit.prepare()
            await self._keep()
        except (OSError, EmbeddedServerFailed) as error:
            self._set(Health.FAILED, f"{self.unit.name} cannot be started: {error}")

    async def stop(self, grace_s: float) -> None:
        """Ends the process in order. Call it after `keep` was cancelled."""
        await self.unit.process.stop(grace_s)
        if self.state.health is not Health.FAILED:
            self._set(Health.STOPPED)

    async def _keep(self) -> None:
        deaths = 0
        while True:
            self._serving_since = None
            self.unit.process.start(self.unit.command())
            self.state.started = time.time()
            self._set(Health.STARTING)
            code = await self._until_exit()
            deaths = 1 if self._served_s() >= self._policy.stable_s else deaths + 1
            reason = self._obituary(code)
            delay_s = self._policy.delay_s(deaths)
            if delay_s is None:
                self._set(Health.FAILED, f"{reason}\nIt died {deaths} times in a row: given up.")
                return
            self.state.restarts += 1
            self._set(Health.RESTARTING, reason)
            await self._sleep(delay_s)

    async def _until_exit(self) -> int:
        probe = asyncio.create_task(self._probe(), name=f"health of {self.unit.name}")
        try:
            return await self.unit.process.exited()
        finally:
            probe.cancel()
            with suppress(asyncio.CancelledError):
                await probe

    async def _probe(self) -> None:
        while True:
            if await self.unit.ready():
                if self._serving_since is None:
                    self._serving_since = self._clock.monotonic()
                self._set(Health.SERVING)
            elif self._serving_since is not None:
                self._set(Health.NOT_SERVING, "its health check does not say SERVING")
            await self._sleep(SERVING_POLL_S if self.serving.is_set() else STARTING_POLL_S)

    def _served_s(self) -> float:
        """Since the running process first served."""
        return 0.0 if self._serving_since is None else self._clock.monotonic() - self._serving_since

    def _obituary(self, code: int) -> str:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        lines = "\n".join(f"  | {line}" for line in self.unit.process.log_tail(LOG_LINES))
        return f"{self.unit.name} {how}. The end of its log:\n{lines}"

    def _set(self, health: Health, reason: str = "") -> None:
        if (self.state.health, self.state.reason) == (health, reason):
            return
        self.state.health = health
        self.state.reason = reason
        self.state.pid = self.unit.process.pid
        if self.state.pid is None:
            self.state.started = None
        if health is Health.SERVING:
            self.serving.set()
        else:
            self.serving.clear()
        if health is Health.FAILED:
            self.failed.set()
        self._changed()
