"""Between the contract's messages and the domain."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from trunkline.registry.v1 import registry_pb2 as pb
from trunkline_hop.errors import BadRequest
from trunkline_registry.formats import Format
from trunkline_registry.models import Model, ModelText
from trunkline_registry.names import model_name
from trunkline_registry.requests import RequestKey
from trunkline_registry.texts import check_text
from trunkline_registry.versions import ModelVersion, NewVersion
from trunkline_registry.watch import Draining, Event, Serving, ServingSet, Synced


def request_key(method: str, request_id: str, request: Message) -> RequestKey | None:
    """Identifies a request that may come again, None when its caller did not ask for that."""
    if not request_id:
        return None
    check_text("request_id", request_id)
    return RequestKey(
        method, request_id, hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    )


def model_text(model: pb.Model) -> ModelText:
    """What people say about a model. What the server sets is not looked at."""
    return ModelText(model.display_name, model.description, dict(model.labels))


def new_version(version: pb.ModelVersion) -> NewVersion:
    """A version to be made. What the server sets is not looked at."""
    return NewVersion(
        format=Format(version.format),
        files=[(file.path, file.sha256) for file in version.files],
        card=version.card,
        labels=dict(version.labels),
    )


async def upload(requests: AsyncIterator[pb.UploadArtifactRequest]) -> pb.ArtifactHeader:
    """The header, which is the first message.

    Raises:
        BadRequest: it is none.
    """
    async for request in requests:
        if request.WhichOneof("part") == "header":
            return request.header
        break
    raise BadRequest.field("header", "must be the first message")


async def upload_chunks(requests: AsyncIterator[pb.UploadArtifactRequest]) -> AsyncIterator[bytes]:
    """The bytes after the header.

    Raises:
        BadRequest: another header comes.
    """
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise BadRequest.field("chunk", "must be in every message after the first")
        yield request.chunk


def model(model: Model) -> pb.Model:
    """As a message."""
    return pb.Model(
        name=model_name(model.model_id),
        display_name=model.display_name,
        description=model.description,
        labels=model.labels,
        create_time=_time(model.create_time),
        update_time=_time(model.update_time),
        etag=model.etag,
    )


def version(version: ModelVersion) -> pb.ModelVersion:
    """As a message."""
    return pb.ModelVersion(
        name=version.name,
        format=pb.Format.ValueType(version.format),
        files=[
            pb.ModelFile(path=file.path, sha256=file.sha256, size_bytes=file.size_bytes)
            for file in version.files
        ],
        digest=version.digest,
        size_bytes=version.size_bytes,
        card=version.card,
        labels=version.labels,
        stage=pb.Stage.ValueType(version.stage),
        create_time=_time(version.create_time),
        stage_time=_time(version.stage_time),
        etag=version.etag,
    )


def event(event: Event) -> pb.WatchModelsResponse:
    """As a message."""
    token = event.position.token if event.position else ""
    match event:
        case Serving():
            return pb.WatchModelsResponse(resume_token=token, serving_set=_serving_set(event.serving))
        case Synced():
            return pb.WatchModelsResponse(resume_token=token, synced=pb.Synced(whole=event.whole))
        case Draining():
            return pb.WatchModelsResponse(resume_token=token, draining=pb.Draining())


def _serving_set(serving: ServingSet) -> pb.ServingSet:
    return pb.ServingSet(
        model=model_name(serving.model_id), model_versions=[version(each) for each in serving.versions]
    )


def _time(when: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(when)
    return timestamp
