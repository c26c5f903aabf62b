"""Health (grpc.health.v1). It stands outside the layers, so that neither admission nor a deadline of ours can
fail a probe.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
HEALTH_SERVICE: str = health.SERVICE_NAME


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Per-service health: Check, Watch and List. The empty name is the whole process.

    The package's own servicer keeps its watchers open for ever, and a server waits for open streams when it
    stops: every drain would take its whole grace. These watchers end with the drain.
    """

    def __init__(self) -> None:
        self._statuses: dict[str, Any] = {"": NOT_SERVING}
        self._draining = False
        self._ended = False
        self._changed = asyncio.Event()

    def set(self, service: str, serving: bool) -> None:
        """Sets one service's status and wakes the watchers. Nothing is serving any more once it drains."""
        self._statuses[service] = SERVING if serving and not self._draining else NOT_SERVING
        self._wake()

    def drain(self) -> None:
        """Says NOT_SERVING for every service from now on."""
        self._draining = True
        for service in self._statuses:
            self._statuses[service] = NOT_SERVING
        self._wake()

    def end(self) -> None:
        """Ends the watchers, as the server is about to go."""
        self._ended = True
        self._wake()

    def serving(self, service: str = "") -> bool:
        """True when a service is known and SERVING."""
        return bool(self._statuses.get(service) == SERVING)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: Any, context: Any) -> Any:
        """One service's status."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> None:
        """One service's status, and every change of it that lasts."""
        last, ended = None, False
        while not ended:
            # Looked at before the status: the last one is told, however soon the end follows on it.
            changed, ended = self._changed, self._ended
            status = self._statuses.get(request.service, _UNKNOWN)
            if status != last:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                last = status
            if not ended and changed is self._changed:
                await changed.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops")

    async def List(self, request: Any, context: Any) -> Any:
        """Every service's status."""
        return health_pb2.HealthListResponse(
            statuses={name: health_pb2.HealthCheckResponse(status=s) for name, s in self._statuses.items()}
        )

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves grpc.health.v1.Health."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)
