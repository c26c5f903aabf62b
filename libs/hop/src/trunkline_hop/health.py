"""Health (grpc.health.v1) and reflection (v1 and v1alpha). Both stand outside the layers, so that neither
admission nor a deadline of ours can fail a probe.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HEALTH_SERVICE: str = health.SERVICE_NAME
REFLECTION_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


class Health(health.aio.HealthServicer):  # type: ignore[misc]
    """Per-service health: Check, Watch and List. The empty name is the whole process."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Any] = {}

    async def set(self, service: str, status: Any) -> None:
        """Sets one service's status and wakes its watchers."""
        self._known[service] = status
        await super().set(service, status)

    async def List(self, request: Any, context: Any) -> Any:
        """Every service's status."""
        return health_pb2.HealthListResponse(
            statuses={name: health_pb2.HealthCheckResponse(status=s) for name, s in self._known.items()}
        )

    def serving(self, service: str = "") -> bool:
        """True when a service is known and SERVING."""
        return bool(self._known.get(service) == SERVING)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves grpc.health.v1.Health."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Serves reflection under both of its names; their messages are the same on the wire."""
    servicer = reflection.aio.ReflectionServicer([*services, HEALTH_SERVICE, *REFLECTION_SERVICES])
    info: Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]] = servicer.ServerReflectionInfo
    handler = grpc.stream_stream_rpc_method_handler(
        info,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in REFLECTION_SERVICES:
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),)
        )
