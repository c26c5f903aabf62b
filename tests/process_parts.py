"""The suite as processes, as `trunkline up` runs it, and callers that keep it busy."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from conditions import BOUND_S, Details, tick, until
from suite_parts import DEGRADED_KEY, MODEL, SPOKEN, Client, into, rows, score, session

from trunkline.features.v1 import features_pb2 as fv
from trunkline.registry.v1 import registry_pb2 as rg
from trunkline.speech.v1 import speech_pb2 as sp
from trunkline.translate.v1 import translate_pb2 as tr
from trunkline_local.daemon import arguments
from trunkline_local.processes import Command, Process
from trunkline_local.services import environment
from trunkline_local.state import DataDirectory, Health, Phase, SuiteState
from trunkline_local.suite import Options

HANG_S = 25.0
"""No call may take this long, whatever happens: the suite's own deadlines are far below."""

CALLS: dict[str, Callable[[Client], Any]] = {
    "score": lambda client: client.ranking.ScoreTransaction(score()),
    "read": lambda client: client.features.GetOnlineFeatures(
        fv.GetOnlineFeaturesRequest(
            features=["customer_activity:count_1d"],
            entities=[fv.EntityIds(entity_type="customer", ids=["c1"])],
        )
    ),
    "write": lambda client: client.features.WriteFeatures(rows("customer_activity", ["c1"])),
    "registry": lambda client: client.registry.GetModel(rg.GetModelRequest(name=MODEL)),
    "speech": lambda client: client.speech.Recognize(
        sp.RecognizeRequest(audio=SPOKEN.read_bytes(), options=session().config.options)
    ),
    "translate": lambda client: client.translate.Translate(
        tr.TranslateRequest(options=into("es"), texts=["Where is the station?"])
    ),
}
"""One way through each of the services."""


class Processes:
    """A supervisor in a process of its own, with everything that it keeps running."""

    def __init__(self, directory: Path) -> None:
        self.options = Options(
            data_dir=directory, port_base=0, replicas={"ranking": 2, "features": 2}, sample_ratio=0
        )
        self._data = DataDirectory(directory)
        self._supervisor = Process("supervisor", directory.with_suffix(".log"))

    def start(self) -> None:
        """Starts it; it ends with this process, however that ends. Call it from the main thread."""
        self._supervisor.start(
            Command(arguments(self.options), environment({}), orphan_signal=signal.SIGTERM)
        )

    async def running(self) -> None:
        """Returns when everything serves."""

        def runs() -> bool:
            assert self._supervisor.pid is not None, "\n".join(self._supervisor.log_tail(20))
            state = self._data.read()
            return state is not None and state.phase is Phase.RUNNING

        await until(runs, 60)

    async def stop(self) -> None:
        await self._supervisor.stop(30)

    @property
    def state(self) -> SuiteState:
        state = self._data.read()
        assert state is not None
        return state

    @property
    def pids(self) -> dict[str, int | None]:
        """By the name of the process."""
        return {process.name: process.pid for process in self.state.processes}

    def client(self) -> Client:
        """One that comes back soon to a gateway that was away."""
        return Client(
            self.state.gateway,
            initial_reconnect_backoff_ms=50,
            min_reconnect_backoff_ms=50,
            max_reconnect_backoff_ms=200,
        )

    async def replaced(self, name: str, before: int | None) -> None:
        """Returns when a process was started again, and everything serves."""

        def again() -> bool:
            processes = self.state.processes
            return self.pids[name] not in (None, before) and all(
                process.health is Health.SERVING for process in processes
            )

        await until(again, 60)

    def signal(self, name: str, number: signal.Signals) -> int:
        """Signals a process; returns its id."""
        pid = self.pids[name]
        assert pid is not None
        os.kill(pid, number)
        return pid


@dataclass
class Load:
    """Callers that call, one call after the other, until told to stop."""

    client: Client
    kinds: tuple[str, ...] = tuple(CALLS)
    callers: int = 2
    """Of each kind."""
    answers: Counter[str] = field(default_factory=Counter)
    """By kind, of those that were whole."""
    degraded: Counter[str] = field(default_factory=Counter)
    errors: list[tuple[str, grpc.aio.AioRpcError]] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _over: bool = False

    async def __aenter__(self) -> Load:
        self._tasks = [
            asyncio.create_task(self._call(kind)) for kind in self.kinds for _ in range(self.callers)
        ]
        await self.whole_again()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Every call that was begun is waited for."""
        self._over = True
        async with asyncio.timeout(BOUND_S):
            await asyncio.gather(*self._tasks)

    async def _call(self, kind: str) -> None:
        while not self._over:
            call = CALLS[kind](self.client)
            try:
                async with asyncio.timeout(HANG_S):
                    await call
                    trailers = dict(await call.trailing_metadata())
            except grpc.aio.AioRpcError as error:
                self.errors.append((kind, error))
            except TimeoutError:
                self.hung.append(kind)
            else:
                (self.degraded if DEGRADED_KEY in trailers else self.answers)[kind] += 1
            await tick()

    async def whole_again(self, more: int = 5) -> None:
        """Returns when every kind of call was answered so many times more, with nothing missing."""
        before = Counter(self.answers)
        await until(lambda: all(self.answers[kind] >= before[kind] + more for kind in self.kinds), 60)

    def outside_the_catalogue(self, *, gateway_was_gone: bool = False) -> list[str]:
        """Errors that no caller should see.

        While the gateway itself is gone, the transport answers for it, with UNAVAILABLE and nothing else.
        """
        allowed = {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }
        odd = []
        for kind, error in self.errors:
            known = error.code() in allowed and bool(Details(error).reason)
            gone = gateway_was_gone and error.code() is grpc.StatusCode.UNAVAILABLE
            if not known and not gone:
                odd.append(f"{kind}: {error.code().name} {Details(error).reason} {error.details()}")
        return odd + [f"{kind}: hung" for kind in self.hung]
