"""Runs the suite: every process of the plan, the span receiver, the models; and ends them in order."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby

import grpc.aio

from trunkline_hop.clock import Clock, SystemClock
from trunkline_local import catalog, indexes
from trunkline_local.keeper import Keeper
from trunkline_local.otlp import receiving
from trunkline_local.spans import SpanStore
from trunkline_local.state import DataDirectory, Health, Phase, SuiteState
from trunkline_local.suite import Options, Plan, plan

START_TIMEOUT_S = 60.0
VERSIONS_POLL_S = 5.0
STOP_GRACE_S = 12.0
"""More than a service's own drain, which ends it within its grace."""


class SuiteFailed(RuntimeError):
    """The suite cannot run. The message is the reason, with log lines."""


class Supervisor:
    """One suite in one data directory.

    Args:
        options: what to run.
        changed: called with the state after every change of it.
        clock: for durations.
    """

    def __init__(
        self, options: Options, changed: Callable[[SuiteState], None], clock: Clock | None = None
    ) -> None:
        self._options = options
        self._report = changed
        self._clock = clock or SystemClock()
        self._data = DataDirectory(options.data_dir)
        self._keepers: list[tuple[int, Keeper]] = []
        self._state = SuiteState(pid=os.getpid(), options=str(options), started=time.time())

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set, then ends everything in order.

        Raises:
            AlreadyRunning: a suite runs from this data directory.
            WrongOptions: the options cannot be.
            SuiteFailed: it did not come to serve.
        """
        with self._data.held(), SpanStore(self._data.spans) as spans:
            async with receiving(spans.add) as otlp_port:
                try:
                    await self._run(stop, otlp_port)
                except BaseException as error:
                    self._state.phase = Phase.FAILED
                    self._state.reason = str(error)
                    self._changed()
                    raise

    async def _run(self, stop: asyncio.Event, otlp_port: int) -> None:
        models = catalog.bundles(self._options.models_dir)
        try:
            known = {model.name: model.task for model in models}
        except (OSError, ValueError) as error:
            raise SuiteFailed(f"the models cannot be read: {error}") from error
        planned = plan(self._options, self._data, otlp_port, known)
        self._make_keepers(planned)
        self._state.left_out = list(planned.left_out)
        self._state.gateway = planned.targets["gateway"]
        self._changed()
        failure: SuiteFailed | None = None
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(keeper.keep(), name=keeper.unit.name) for _, keeper in self._keepers]
            stopping = group.create_task(stop.wait(), name="stop")
            starting = group.create_task(self._start(planned, models), name="start")
            try:
                await asyncio.wait({stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    failure = starting.result()
                    if failure is None:
                        tasks.append(group.create_task(self._follow_versions(planned)))
                        await stopping
            finally:
                for task in (*tasks, starting, stopping):
                    task.cancel()
                await self._stop()
        if failure is not None:
            raise failure

    def _make_keepers(self, planned: Plan) -> None:
        by_name: dict[str, Keeper] = {}
        for process in planned.processes:
            keeper = Keeper(
                process.unit,
                [by_name[need] for need in process.needs],
                self._clock,
                self._changed,
                metrics_port=process.metrics_port,
            )
            by_name[process.unit.name] = keeper
            self._keepers.append((process.layer, keeper))

    async def _start(self, planned: Plan, models: list[catalog.Bundle]) -> SuiteFailed | None:
        """Brings everything to serve; what was in the way if that fails. Not raised, because the caller's task
        group would wrap it.
        """
        began = self._clock.monotonic()
        registry = _first(planned, "registry")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._serving("registry", "features", "retrieval")
                await catalog.declare_views(_first(planned, "features"), models)
                await indexes.fill(_first(planned, "retrieval"), models)
                # Last: a model that is in production finds its views and its index.
                await catalog.register(registry, models)
                await self._serving(*(keeper.unit.name for _, keeper in self._keepers))
                await self._read_versions(planned)
        except TimeoutError:
            waiting = [k.unit.name for _, k in self._keepers if not k.serving.is_set()]
            return SuiteFailed(
                f"not serving after {START_TIMEOUT_S:g} s: {', '.join(waiting)}; see {self._data.logs}"
            )
        except SuiteFailed as failed:
            return failed
        except indexes.IndexFailed as failed:
            return SuiteFailed(str(failed))
        except grpc.aio.AioRpcError as error:
            return SuiteFailed(f"the models were not put in place: {error.code().name} {error.details()}")
        except (
            OSError,
            ValueError,
            KeyError,
        ) as error:  # files of a model that are not there, or not as expected
            return SuiteFailed(f"the models cannot be read: {type(error).__name__}: {error}")
        self._state.phase = Phase.RUNNING
        self._state.serving_after_s = self._clock.monotonic() - began
        self._changed()
        return None

    async def _read_versions(self, planned: Plan) -> None:
        for service, models in planned.models.items():
            versions = await catalog.in_production(_first(planned, "registry"), models)
            for _, keeper in self._keepers:
                if keeper.unit.name.partition("-")[0] == service:
                    keeper.state.versions = versions

    async def _follow_versions(self, planned: Plan) -> None:
        """Keeps the versions in the state those that are in production. A registry that is away changes nothing."""
        while True:
            await asyncio.sleep(VERSIONS_POLL_S)
            with suppress(grpc.aio.AioRpcError):
                await self._read_versions(planned)
                self._changed()

    async def _serving(self, *names: str) -> None:
        """Waits for processes.

        Raises:
            SuiteFailed: one of all was given up meanwhile.
        """
        waits = {
            asyncio.create_task(keeper.serving.wait())
            for _, keeper in self._keepers
            if keeper.unit.name in names
        }
        given_up = asyncio.create_task(self._given_up())
        try:
            while waits:
                done, _ = await asyncio.wait({*waits, given_up}, return_when=asyncio.FIRST_COMPLETED)
                if given_up in done:
                    raise SuiteFailed(given_up.result())
                waits -= done
        finally:
            for task in (*waits, given_up):
                task.cancel()

    async def _given_up(self) -> str:
        """The reason of the first process that failed for good."""
        fails = [asyncio.create_task(keeper.failed.wait()) for _, keeper in self._keepers]
        try:
            await asyncio.wait(fails, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in fails:
                task.cancel()
        return next(k.state.reason for _, k in self._keepers if k.state.health is Health.FAILED)

    async def _stop(self) -> None:
        """From the top layer down, so that nothing loses what it needs while it drains."""
        self._state.phase = Phase.STOPPING
        self._changed()
        from_the_top = sorted(self._keepers, key=lambda pair: -pair[0])
        for _, layer in groupby(from_the_top, key=lambda pair: pair[0]):
            await asyncio.gather(*(keeper.stop(STOP_GRACE_S) for _, keeper in layer))
        self._state.phase = Phase.STOPPED
        self._changed()

    def _changed(self) -> None:
        self._state.processes = [keeper.state for _, keeper in self._keepers]
        self._data.write(self._state)
        self._report(self._state)


def _first(planned: Plan, service: str) -> str:
    """Address of the first replica."""
    return planned.targets[service].split(",")[0]
