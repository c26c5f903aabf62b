"""Requests that were never sent before, and what they need to be answered in full."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
from google.protobuf.message import Message
from redis.asyncio import Redis
from stage import CUSTOMER, TERMINAL, Stage, opened
from suite_parts import MODEL, SPOKEN, into, rows, score, segment, session, shipped, spoken, talk

from trunkline.features.v1 import features_pb2 as fv
from trunkline.registry.v1 import registry_pb2 as rg
from trunkline.retrieval.v1 import retrieval_pb2 as rv
from trunkline.speech.v1 import speech_pb2 as sp
from trunkline.translate.v1 import translate_pb2 as tr
from trunkline_local import catalog
from trunkline_local.embedded import PostgreSQL, Valkey
from trunkline_local.indexes import until_active

WHOLE_FILE = bytes(range(256)) * 48 * 1024
"""12 MiB: more than all buffers on its way hold, so that a download is still under way after its first chunk."""
HALF = 200_000
INDEX = "indexes/scratch"

Ask = Callable[[Stage], Awaitable[Any]]
"""Makes a request that was never sent before, and whatever it needs to be answered in full."""


@asynccontextmanager
async def furnished(
    valkey: Valkey, postgres: PostgreSQL, directory: Path, hop: Mapping[str, Any]
) -> AsyncIterator[Stage]:
    """A stage on empty stores, with everything in it that the requests here are about."""
    name = f"faults_{uuid.uuid4().hex}"
    async with Redis.from_url(valkey.url) as redis:
        await redis.flushall()
    admin = await psycopg.AsyncConnection.connect(postgres.dsn_of("postgres"), autocommit=True)
    async with admin:
        await admin.execute(f"CREATE DATABASE {name}".encode())
        async with opened(directory, valkey, postgres.dsn_of(name), hop) as stage:
            await _furnish(stage)
            yield stage
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def parts(content: bytes) -> AsyncIterator[rg.UploadArtifactRequest]:
    yield header(content)
    for start in range(0, len(content), HALF):
        yield rg.UploadArtifactRequest(chunk=content[start : start + HALF])


def header(content: bytes) -> rg.UploadArtifactRequest:
    digest = hashlib.sha256(content).hexdigest()
    return rg.UploadArtifactRequest(header=rg.ArtifactHeader(sha256=digest, size_bytes=len(content)))


def given(request: Message) -> Ask:
    async def ask(stage: Stage) -> Message:
        return request

    return ask


def _view(stage: Stage) -> fv.CreateFeatureViewRequest:
    return fv.CreateFeatureViewRequest(
        feature_view_id=f"scratch_{stage.fresh()}",
        feature_view=fv.FeatureView(
            entity_type="customer", fields=[fv.Field(name="spent", type=fv.FIELD_TYPE_FLOAT64)]
        ),
    )


async def create_view(stage: Stage) -> Message:
    return _view(stage)


async def _viewed(stage: Stage) -> fv.FeatureView:
    view: fv.FeatureView = (
        await stage.direct["features"].features.CreateFeatureView(_view(stage))
    ).feature_view
    return view


async def update_view(stage: Stage) -> Message:
    view = await _viewed(stage)
    view.description = "changed"
    request = fv.UpdateFeatureViewRequest(feature_view=view)
    request.update_mask.paths.append("description")
    return request


async def delete_view(stage: Stage) -> Message:
    return fv.DeleteFeatureViewRequest(name=(await _viewed(stage)).name)


async def write(stage: Stage) -> Message:
    return rows("customer_activity", [CUSTOMER])


def _model(stage: Stage) -> rg.CreateModelRequest:
    return rg.CreateModelRequest(model_id=f"scratch-{stage.fresh()}")


async def create_model(stage: Stage) -> Message:
    return _model(stage)


async def update_model(stage: Stage) -> Message:
    made = (await stage.direct["registry"].registry.CreateModel(_model(stage))).model
    made.description = "changed"
    request = rg.UpdateModelRequest(model=made)
    request.update_mask.paths.append("description")
    return request


def _version_of(model: str, files: dict[str, str]) -> rg.CreateModelVersionRequest:
    return rg.CreateModelVersionRequest(
        parent=model,
        model_version=rg.ModelVersion(
            format=rg.FORMAT_ONNX,
            files=[rg.ModelFile(path=path, sha256=sha256) for path, sha256 in files.items()],
        ),
    )


async def _files(stage: Stage) -> dict[str, str]:
    """Digests by path of files that are no version yet: the fraud model's, a byte longer each time."""
    files = shipped()[0].files()
    files[catalog.SIGNATURE] += b" " * (1 + stage.fresh())
    for content in files.values():
        await stage.direct["registry"].registry.UploadArtifact(parts(content))
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


async def create_version(stage: Stage) -> Message:
    return _version_of("models/scratch", await _files(stage))


async def _versioned(stage: Stage, model: str) -> str:
    request = _version_of(model, await _files(stage))
    made = await stage.direct["registry"].registry.CreateModelVersion(request)
    return str(made.model_version.name)


async def get_version(stage: Stage) -> Message:
    return rg.GetModelVersionRequest(name=stage.version)


async def transition(stage: Stage) -> Message:
    name = await _versioned(stage, "models/scratch")
    return rg.TransitionModelVersionStageRequest(name=name, stage=rg.STAGE_STAGING)


async def score_version(stage: Stage) -> Message:
    return score(CUSTOMER, TERMINAL, model=await _versioned(stage, MODEL))


def _index(stage: Stage) -> rv.CreateIndexRequest:
    index = rv.Index(dimension=2, metric=rv.METRIC_INNER_PRODUCT)
    return rv.CreateIndexRequest(index_id=f"scratch-{stage.fresh()}", index=index)


async def create_index(stage: Stage) -> Message:
    return _index(stage)


def upsert(index: str) -> rv.UpsertVectorsRequest:
    return rv.UpsertVectorsRequest(index=index, vectors=[rv.Vector(id="v1", values=[1.0, 2.0])])


async def _indexed(stage: Stage, request: rv.CreateIndexRequest) -> str:
    """An index whose lease is the writer's."""
    writer = stage.direct["writer"].retrieval
    name: str = (await writer.CreateIndex(request)).index.name
    await writer.UpsertVectors(upsert(name))
    return name


async def delete_index(stage: Stage) -> Message:
    return rv.DeleteIndexRequest(name=await _indexed(stage, _index(stage)))


async def build_snapshot(stage: Stage) -> Message:
    return rv.BuildSnapshotRequest(index=INDEX, hold=True, request_id=f"build-{stage.fresh()}")


async def get_snapshot(stage: Stage) -> Message:
    return rv.GetSnapshotRequest(name=stage.snapshot)


async def activate_snapshot(stage: Stage) -> Message:
    return rv.ActivateSnapshotRequest(name=stage.snapshot)


async def recording(stage: Stage) -> Message:
    return sp.RecognizeRequest(audio=SPOKEN.read_bytes(), options=session().config.options)


async def speaking(stage: Stage) -> list[Message]:
    return [session(), *spoken()]


async def resuming(stage: Stage) -> list[Message]:
    """A session that broke off at its beginning."""
    call = stage.direct["speech"].speech.StreamingRecognize()
    await call.write(session())
    token = (await call.read()).started.resume_token
    call.cancel()
    resume = sp.Resume(resume_token=token, last_sequence=1)
    return [sp.StreamingRecognizeRequest(resume=resume), *spoken()]


async def texts(stage: Stage) -> Message:
    return tr.TranslateRequest(options=into("es"), texts=["I need a taxi."])


async def text(stage: Stage) -> Message:
    return tr.StreamTranslateRequest(options=into("es"), text="I need a taxi.")


async def talking(stage: Stage) -> list[Message]:
    return [talk(), segment(1, "I need a taxi.")]


async def talking_on(stage: Stage) -> list[Message]:
    """A conversation that broke off after its first sentence."""
    while True:
        call = stage.direct["translate"].translate.Converse()
        for request in await talking(stage):
            await call.write(request)
        started = await call.read()
        event = started
        while event.WhichOneof("event") not in ("sentence", "sentence_failed"):
            event = await call.read()
        call.cancel()
        if event.HasField("sentence"):  # a machine that is too busy for the fault before lets it fail
            break
    token = started.started.resume_token
    resume = tr.ConverseResume(resume_token=token, last_sequence=event.sequence)
    return [tr.ConverseRequest(resume=resume), segment(2, "Where is the station?")]


async def _furnish_index(stage: Stage) -> None:
    writer = stage.direct["writer"].retrieval
    request = _index(stage)
    request.index_id = INDEX.rpartition("/")[2]
    await _indexed(stage, request)
    built = (await writer.BuildSnapshot(rv.BuildSnapshotRequest(index=INDEX))).snapshot
    stage.snapshot = (await until_active(writer, built)).name


async def new_file(stage: Stage) -> bytes:
    return f"{stage.fresh():016d}".encode() * (2 * HALF // 16)


async def _furnish(stage: Stage) -> None:
    """A model with a version in production, a large file, an index with a snapshot."""
    registry = stage.direct["registry"].registry
    await registry.CreateModel(rg.CreateModelRequest(model_id="scratch"))
    stage.version = await _versioned(stage, "models/scratch")
    for to in (rg.STAGE_STAGING, rg.STAGE_PRODUCTION):
        await registry.TransitionModelVersionStage(
            rg.TransitionModelVersionStageRequest(name=stage.version, stage=to)
        )
    await registry.UploadArtifact(parts(WHOLE_FILE))
    await _furnish_index(stage)
