"""The registry over the wire, as the store's `Registry`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import grpc.aio

from trunkline.registry.v1 import registry_pb2
from trunkline.registry.v1.registry_pb2_grpc import RegistryServiceStub
from trunkline_modelstore.registry import Draining, Event, ServingSet, Synced
from trunkline_modelstore.version import File, Version


class GrpcRegistry:
    """trunkline.registry.v1.RegistryService on a channel of hop, which raises Faults."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = RegistryServiceStub(channel)

    async def watch(self, models: Sequence[str], resume_token: str) -> AsyncGenerator[Event, None]:
        """See `Registry.watch`."""
        request = registry_pb2.WatchModelsRequest(models=models, resume_token=resume_token)
        call = self._stub.WatchModels(request)
        try:
            async for message in call:
                token = message.resume_token
                match message.WhichOneof("event"):
                    case "serving_set":
                        versions = tuple(map(_version, message.serving_set.model_versions))
                        yield ServingSet(message.serving_set.model, versions, token)
                    case "synced":
                        yield Synced(token)
                    case "draining":
                        yield Draining(token)
        finally:
            call.cancel()

    async def get(self, name: str) -> Version:
        """See `Registry.get`."""
        reply = await self._stub.GetModelVersion(registry_pb2.GetModelVersionRequest(name=name))
        return _version(reply.model_version)

    async def download(self, sha256: str, offset_bytes: int) -> AsyncGenerator[bytes, None]:
        """See `Registry.download`."""
        request = registry_pb2.DownloadArtifactRequest(sha256=sha256, offset_bytes=offset_bytes)
        call = self._stub.DownloadArtifact(request)
        try:
            async for message in call:
                yield message.chunk
        finally:
            call.cancel()


def _version(message: registry_pb2.ModelVersion) -> Version:
    return Version(
        message.name,
        message.digest,
        tuple(File(file.path, file.sha256, file.size_bytes) for file in message.files),
        production=message.stage == registry_pb2.STAGE_PRODUCTION,
    )
