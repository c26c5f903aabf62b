"""A backend that shows what reaches it and answers as a test says, and a gateway in front of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from trunkline.features.v1 import features_pb2
from trunkline.ranking.v1 import ranking_pb2
from trunkline.registry.v1 import registry_pb2
from trunkline.retrieval.v1 import retrieval_pb2
from trunkline_hop.call import Call
from trunkline_hop.server import Server
from trunkline_hop.settings import ServiceSettings

FEATURES = features_pb2.DESCRIPTOR.services_by_name["FeatureService"]
RANKING = ranking_pb2.DESCRIPTOR.services_by_name["RankingService"]
REGISTRY = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"]
RETRIEVAL = retrieval_pb2.DESCRIPTOR.services_by_name["VectorService"]
EVERY = (FEATURES, RANKING, REGISTRY, RETRIEVAL)

ODD = b"\x0a\x03abc" + b"\xfa\x3f\x05\x00\xff\xfe\x80\x01" + bytes(range(256))
"""Bytes that no contract of the suite describes."""


class Backend:
    """Serves contracts as bytes. It keeps every request, and answers what `on` says for a method."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.metadata: list[tuple[tuple[str, str | bytes], ...]] = []
        self.remaining_s: list[float | None] = []
        self.cancelled = 0
        self.healthy = True
        self.on: dict[str, Callable[[bytes, Call], Awaitable[Any]]] = {}
        self.server: Server | None = None

    @property
    def target(self) -> str:
        assert self.server is not None
        return self.server.target

    async def build(self, server: Server, settings: ServiceSettings) -> None:
        self.server = server
        for service in EVERY:
            server.add_proxy(service, self, lambda: self.healthy)

    def count(self, name: str) -> int:
        """How often a method was called."""
        return sum(path.endswith(f"/{name}") for path, _ in self.requests)

    def _arrived(self, request: bytes, call: Call) -> None:
        self.requests.append((call.method.path, request))
        self.metadata.append(tuple(call.transport.invocation_metadata() or ()))
        self.remaining_s.append(call.transport.time_remaining())

    async def unary(self, request: bytes, call: Call) -> bytes:
        self._arrived(request, call)
        answer = self.on.get(call.method.name)
        return request if answer is None else await answer(request, call)

    async def stream(self, call: Call) -> None:
        """Answers a stream with the length-prefixed parts it got, and one request with its single bytes."""
        parts = [part async for part in call.requests()] if call.method.client_streaming else [call.request]
        for part in parts:
            self._arrived(part, call)
        answer = self.on.get(call.method.name)
        try:
            if answer is not None:
                await answer(parts[0] if parts else b"", call)
            elif call.method.server_streaming:
                for part in parts:
                    for byte in part:
                        await call.write(bytes([byte]))
            else:
                call.response = b"|".join(parts)
        except BaseException:
            self.cancelled += 1
            raise


def method(channel: grpc.aio.Channel, service: ServiceDescriptor, name: str) -> Any:
    """A method of a contract as a callable over bytes."""
    found = service.methods_by_name[name]
    kind = "_".join(
        "stream" if many else "unary" for many in (found.client_streaming, found.server_streaming)
    )
    return getattr(channel, kind)(f"/{service.full_name}/{name}")
