"""trunkline.registry.v1.RegistryService: decode, one call of the domain, encode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from google.protobuf.descriptor import ServiceDescriptor

from trunkline.registry.v1 import registry_pb2 as pb
from trunkline_hop.call import Call
from trunkline_registry import codec
from trunkline_registry.artifacts import Artifacts
from trunkline_registry.models import Models
from trunkline_registry.names import model_of, version_of
from trunkline_registry.stages import Stage
from trunkline_registry.versions import Versions
from trunkline_registry.watch import Watch


@dataclass(frozen=True, slots=True)
class RegistryService:
    """The contract over the domain. What each method does is said there."""

    descriptor: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["RegistryService"]

    models: Models
    versions: Versions
    artifacts: Artifacts
    watch: Watch

    async def CreateModel(self, request: pb.CreateModelRequest, call: Call) -> pb.CreateModelResponse:
        """Creates a model."""
        key = codec.request_key("CreateModel", request.request_id, request)
        model = await self.models.create(request.model_id, codec.model_text(request.model), key)
        return pb.CreateModelResponse(model=codec.model(model))

    async def GetModel(self, request: pb.GetModelRequest, call: Call) -> pb.GetModelResponse:
        """Returns one model."""
        return pb.GetModelResponse(model=codec.model(await self.models.get(model_of(request.name))))

    async def ListModels(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        """Lists models."""
        page = await self.models.list(request.page_size, request.page_token)
        return pb.ListModelsResponse(
            models=[codec.model(model) for model in page.items], next_page_token=page.next_token
        )

    async def UpdateModel(self, request: pb.UpdateModelRequest, call: Call) -> pb.UpdateModelResponse:
        """Changes a model's text."""
        model = await self.models.update(
            model_of(request.model.name),
            codec.model_text(request.model),
            list(request.update_mask.paths),
            request.model.etag,
            codec.request_key("UpdateModel", request.request_id, request),
        )
        return pb.UpdateModelResponse(model=codec.model(model))

    async def UploadArtifact(
        self, requests: AsyncIterator[pb.UploadArtifactRequest], call: Call
    ) -> pb.UploadArtifactResponse:
        """Stores one file."""
        header = await codec.upload(requests)
        stored = await self.artifacts.upload(header.sha256, header.size_bytes, codec.upload_chunks(requests))
        return pb.UploadArtifactResponse(
            sha256=stored.sha256, size_bytes=stored.size_bytes, created=stored.created
        )

    async def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, call: Call
    ) -> AsyncIterator[pb.DownloadArtifactResponse]:
        """Reads one file."""
        async with aclosing(self.artifacts.download(request.sha256, request.offset_bytes)) as chunks:
            async for chunk in chunks:
                yield pb.DownloadArtifactResponse(chunk=chunk)

    async def CreateModelVersion(
        self, request: pb.CreateModelVersionRequest, call: Call
    ) -> pb.CreateModelVersionResponse:
        """Creates the next version."""
        version = await self.versions.create(
            model_of(request.parent),
            codec.new_version(request.model_version),
            codec.request_key("CreateModelVersion", request.request_id, request),
        )
        return pb.CreateModelVersionResponse(model_version=codec.version(version))

    async def GetModelVersion(
        self, request: pb.GetModelVersionRequest, call: Call
    ) -> pb.GetModelVersionResponse:
        """Returns one version."""
        version = await self.versions.get(*version_of(request.name))
        return pb.GetModelVersionResponse(model_version=codec.version(version))

    async def ListModelVersions(
        self, request: pb.ListModelVersionsRequest, call: Call
    ) -> pb.ListModelVersionsResponse:
        """Lists versions, newest first."""
        stage = Stage(request.stage) if request.stage else None
        page = await self.versions.list(
            model_of(request.parent), stage, request.page_size, request.page_token
        )
        return pb.ListModelVersionsResponse(
            model_versions=[codec.version(version) for version in page.items],
            next_page_token=page.next_token,
        )

    async def TransitionModelVersionStage(
        self, request: pb.TransitionModelVersionStageRequest, call: Call
    ) -> pb.TransitionModelVersionStageResponse:
        """Moves a version to another stage."""
        done = await self.versions.transition(
            *version_of(request.name),
            Stage(request.stage),
            request.etag,
            codec.request_key("TransitionModelVersionStage", request.request_id, request),
        )
        return pb.TransitionModelVersionStageResponse(
            model_version=codec.version(done.version),
            archived_model_version=codec.version(done.archived) if done.archived else None,
        )

    async def WatchModels(
        self, request: pb.WatchModelsRequest, call: Call
    ) -> AsyncIterator[pb.WatchModelsResponse]:
        """Streams which versions serve."""
        models = [model_of(name) for name in request.models]
        async with aclosing(self.watch.stream(models, request.resume_token, call.draining)) as events:
            async for event in events:
                yield codec.event(event)
