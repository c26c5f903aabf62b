"""A service of the suite as a child process: `python -m trunkline_<name>` with its own settings and no others."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trunkline_local.processes import Answer, Command, Process

PREFIX = "TRUNKLINE_"
HEALTH_TIMEOUT_S = 2.0


async def ask(target: str, timeout_s: float = HEALTH_TIMEOUT_S) -> Answer:
    """What grpc.health.v1 says of the whole process."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return Answer.NONE
        serving = answer.status == health_pb2.HealthCheckResponse.SERVING
        return Answer.SERVING if serving else Answer.NOT_SERVING


async def is_serving(target: str) -> bool:
    """Whether grpc.health.v1 of the whole process says SERVING."""
    return await ask(target) is Answer.SERVING


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment with these settings in place of all inherited ones.

    A service refuses settings it does not know, so one that is meant for another must not reach it.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return inherited | {PREFIX + name: value for name, value in settings.items()}


class Service:
    """One replica of a service.

    Args:
        name: of the replica, such as `ranking-2`.
        module: what `python -m` runs.
        port: of its gRPC server.
        settings: by name without the prefix.
        log: where its output goes.
    """

    def __init__(self, name: str, module: str, port: int, settings: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.port = port
        self.process = Process(name, log)
        self._command = Command([sys.executable, "-m", module], environment(settings))

    async def prepare(self) -> None:
        """Nothing: a service keeps no data of its own."""

    def command(self) -> Command:
        """How it is started."""
        return self._command

    async def ask(self) -> Answer:
        """What its health check says."""
        return await ask(f"127.0.0.1:{self.port}")

    async def kill(self) -> None:
        """kill -9."""
        await self.process.kill()
