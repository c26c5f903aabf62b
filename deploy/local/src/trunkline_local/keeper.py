"""Keeps one process running: starts it, watches its health, restarts what died or hangs, gives up with a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trunkline_hop.clock import Clock
from trunkline_local.embedded import EmbeddedServerFailed
from trunkline_local.processes import Answer, Command
from trunkline_local.state import Health, ProcessState

STARTING_POLL_S = 0.05
SERVING_POLL_S = 1.0
"""A process that ends is noticed at once, and one that hangs is given longer than this anyway."""
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

    async def ask(self) -> Answer:
        """Whether it serves right now. Bounded in time, never raises."""
        ...

    async def kill(self) -> None:
        """kill -9, with whatever it started."""
        ...


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to start again what died, and when to take what hangs for dead."""

    first_delay_s: float = 0.1
    maximum_delay_s: float = 5.0
    deaths: int = 5
    """This many in a row are the end."""
    stable_s: float = 10.0
    """A process that served for this long starts a new row."""
    silent_s: float = 15.0
    """A process whose health check answered before, and does not for this long, hangs: it is killed."""
    starting_s: float = 60.0
    """The same of one that has not answered yet."""
    silent_checks: int = 3
    """Fewest checks without an answer, so that a supervisor that was stopped itself blames nobody."""

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
        self._hung_s: float | None = None
        """How long it was silent when it was killed for that."""

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
            self._serving_since = self._hung_s = None
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
            if self._hung_s is None:  # else it is about to kill: what the process started, too
                probe.cancel()
            await asyncio.wait({probe})
            if not probe.cancelled():
                probe.result()

    async def _probe(self) -> None:
        answered, silent, since = False, 0, 0.0
        while True:
            began = self._clock.monotonic()
            answer = await self.unit.ask()
            if answer is Answer.SERVING and self._serving_since is None:
                self._serving_since = self._clock.monotonic()
            self._heard(answer)
            if answer is not Answer.NONE:
                answered, silent = True, 0
            else:
                silent += 1
                since = began if silent == 1 else since
                silence_s = self._clock.monotonic() - since
                limit_s = self._policy.silent_s if answered else self._policy.starting_s
                if silent >= self._policy.silent_checks and silence_s >= limit_s:
                    self._hung_s = silence_s
                    await self.unit.kill()
                    return
            await self._sleep(SERVING_POLL_S if self.serving.is_set() else STARTING_POLL_S)

    def _heard(self, answer: Answer) -> None:
        if answer is Answer.SERVING:
            self._set(Health.SERVING)
        elif self._serving_since is not None:
            said = "does not say SERVING" if answer is Answer.NOT_SERVING else "does not answer"
            self._set(Health.NOT_SERVING, f"its health check {said}")

    def _served_s(self) -> float:
        """Since the running process first served."""
        return 0.0 if self._serving_since is None else self._clock.monotonic() - self._serving_since

    def _obituary(self, code: int) -> str:
        if self._hung_s is not None:
            how = f"did not answer its health check for {self._hung_s:.0f} s and was killed"
        else:
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
