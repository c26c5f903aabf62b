from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from registry_parts import ONNX, eventually

from trunkline.registry.v1 import registry_pb2 as pb
from trunkline.registry.v1.registry_pb2_grpc import RegistryServiceStub
from trunkline_hop.server import Server, running
from trunkline_local.embedded import PostgreSQL
from trunkline_registry.__main__ import build
from trunkline_registry.settings import Settings

SHA256 = hashlib.sha256(ONNX).hexdigest()


@pytest.fixture
async def server(database: str, tmp_path: Path) -> AsyncIterator[Server]:
    settings = Settings(
        port=0, metrics_port=0, postgres_dsn=database, blob_dir=tmp_path / "blobs", drain_grace_s=5
    )
    async with running("registry", settings, build) as started:
        await eventually(started.ready)
        yield started


@pytest.fixture
async def stub(server: Server) -> AsyncIterator[RegistryServiceStub]:
    # A bare channel: what any client sees, retries and all left out.
    async with grpc.aio.insecure_channel(server.target) as channel:
        yield RegistryServiceStub(channel)


async def upload(stub: RegistryServiceStub, content: bytes, *, sha256: str = "") -> pb.UploadArtifactResponse:
    async def parts() -> AsyncIterator[pb.UploadArtifactRequest]:
        header = pb.ArtifactHeader(
            sha256=sha256 or hashlib.sha256(content).hexdigest(), size_bytes=len(content)
        )
        yield pb.UploadArtifactRequest(header=header)
        for start in range(0, len(content), 2**20):
            yield pb.UploadArtifactRequest(chunk=content[start : start + 2**20])

    return await stub.UploadArtifact(parts())


async def in_production(stub: RegistryServiceStub) -> pb.ModelVersion:
    await upload(stub, ONNX)
    version = pb.ModelVersion(
        format=pb.FORMAT_ONNX, files=[pb.ModelFile(path="model.onnx", sha256=SHA256)], card="# Card"
    )
    created = await stub.CreateModelVersion(
        pb.CreateModelVersionRequest(parent="models/fraud", model_version=version)
    )
    name = created.model_version.name
    await stub.TransitionModelVersionStage(
        pb.TransitionModelVersionStageRequest(name=name, stage=pb.STAGE_STAGING)
    )
    done = await stub.TransitionModelVersionStage(
        pb.TransitionModelVersionStageRequest(name=name, stage=pb.STAGE_PRODUCTION)
    )
    return done.model_version


async def refusal(call: object) -> tuple[grpc.StatusCode, str, Status]:
    """Code, reason and the whole status of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    metadata = dict(error.value.trailing_metadata())
    status = Status.FromString(metadata["grpc-status-details-bin"])
    info = ErrorInfo()
    for detail in status.details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
    return error.value.code(), info.reason, status


async def test_a_model_goes_from_its_creation_to_a_watcher(stub: RegistryServiceStub) -> None:
    created = await stub.CreateModel(
        pb.CreateModelRequest(model_id="fraud", model=pb.Model(display_name="Fraud"), request_id="r1")
    )
    assert created.model.name == "models/fraud"
    watch = stub.WatchModels(pb.WatchModelsRequest())
    assert (await watch.read()).serving_set == pb.ServingSet(model="models/fraud")
    assert (await watch.read()).synced.whole
    version = await in_production(stub)
    assert (version.name, version.stage, version.card) == (
        "models/fraud/versions/1",
        pb.STAGE_PRODUCTION,
        "# Card",
    )
    event = await watch.read()
    assert [v.name for v in event.serving_set.model_versions] == [version.name]
    assert event.resume_token
    watch.cancel()

    updated = await stub.UpdateModel(
        pb.UpdateModelRequest(
            model=pb.Model(name="models/fraud", description="d", etag=created.model.etag),
            update_mask=FieldMask(paths=["description"]),
        )
    )
    assert (updated.model.display_name, updated.model.description) == ("Fraud", "d")
    assert (await stub.GetModel(pb.GetModelRequest(name="models/fraud"))).model == updated.model
    assert list((await stub.ListModels(pb.ListModelsRequest())).models) == [updated.model]
    listed = await stub.ListModelVersions(pb.ListModelVersionsRequest(parent="models/fraud"))
    assert list(listed.model_versions) == [version]
    assert (await stub.GetModelVersion(pb.GetModelVersionRequest(name=version.name))).model_version == version


async def test_a_file_of_several_messages_comes_back_whole(stub: RegistryServiceStub) -> None:
    content = bytes(range(256)) * 20_000
    assert (await upload(stub, content)).created
    assert not (await upload(stub, content)).created
    sha256 = hashlib.sha256(content).hexdigest()
    request = pb.DownloadArtifactRequest(sha256=sha256, offset_bytes=1000)
    chunks = [message.chunk async for message in stub.DownloadArtifact(request)]
    assert b"".join(chunks) == content[1000:]


async def test_what_is_wrong_says_so_in_the_catalogue_s_words(stub: RegistryServiceStub) -> None:
    async def parts(*messages: pb.UploadArtifactRequest) -> AsyncIterator[pb.UploadArtifactRequest]:
        for message in messages:
            yield message

    header = pb.UploadArtifactRequest(header=pb.ArtifactHeader(sha256=SHA256, size_bytes=1))
    chunk = pb.UploadArtifactRequest(chunk=b"x")
    wrong = {
        "INVALID_ARGUMENT": [
            stub.GetModel(pb.GetModelRequest(name="fraud")),
            stub.CreateModel(pb.CreateModelRequest(model_id="Fraud")),
            stub.ListModels(pb.ListModelsRequest(page_token="x")),
            stub.WatchModels(pb.WatchModelsRequest(resume_token="x")).read(),
            stub.UploadArtifact(parts()),
            stub.UploadArtifact(parts(chunk)),
            stub.UploadArtifact(parts(header, header)),
            stub.UploadArtifact(parts(header, pb.UploadArtifactRequest())),
        ],
        "NOT_FOUND": [
            stub.GetModel(pb.GetModelRequest(name="models/none")),
            stub.GetModelVersion(pb.GetModelVersionRequest(name="models/none/versions/1")),
            stub.DownloadArtifact(pb.DownloadArtifactRequest(sha256="0" * 64)).read(),
        ],
        "FAILED_PRECONDITION": [upload(stub, b"x", sha256=SHA256)],
    }
    for code, calls in wrong.items():
        for call in calls:
            found, reason, _ = await refusal(call)
            assert (found.name, bool(reason)) == (code, True)
    _, _, status = await refusal(stub.ListModels(pb.ListModelsRequest(page_token="x")))
    violations = BadRequest()
    assert any(detail.Unpack(violations) for detail in status.details)
    assert violations.field_violations[0].field == "page_token"


async def test_an_upload_whose_client_goes_away_leaves_nothing(
    stub: RegistryServiceStub, tmp_path: Path
) -> None:
    call = stub.UploadArtifact()
    await call.write(pb.UploadArtifactRequest(header=pb.ArtifactHeader(sha256=SHA256, size_bytes=100)))
    await call.write(pb.UploadArtifactRequest(chunk=b"x" * 10))
    incoming = tmp_path / "blobs" / "incoming"
    await eventually(lambda: len(list(incoming.iterdir())) == 1)
    call.cancel()
    await eventually(lambda: not list(incoming.iterdir()))
    assert not list((tmp_path / "blobs").glob("??/*"))


async def test_a_watch_is_told_to_move_on_when_its_server_stops(database: str, tmp_path: Path) -> None:
    settings = Settings(port=0, metrics_port=0, postgres_dsn=database, blob_dir=tmp_path, drain_grace_s=5)
    async with running("registry", settings, build) as first:
        await eventually(first.ready)
        channel = grpc.aio.insecure_channel(first.target)
        watch = RegistryServiceStub(channel).WatchModels(pb.WatchModelsRequest())
        token = (await watch.read()).resume_token
    last = await watch.read()
    assert (last.WhichOneof("event"), last.resume_token) == ("draining", token)
    assert await watch.read() is grpc.aio.EOF
    await channel.close()
    async with running("registry", settings, build) as second:
        await eventually(second.ready)
        async with grpc.aio.insecure_channel(second.target) as other:
            again = RegistryServiceStub(other).WatchModels(pb.WatchModelsRequest(resume_token=token))
            event = await again.read()
            assert (event.WhichOneof("event"), event.synced.whole) == ("synced", False)
            again.cancel()


async def test_health_follows_the_database(tmp_path: Path) -> None:
    async with PostgreSQL(tmp_path / "postgres", durable=False) as postgres:
        settings = Settings(
            port=0, metrics_port=0, postgres_dsn=postgres.dsn, blob_dir=tmp_path / "blobs", drain_grace_s=5
        )
        async with (
            running("registry", settings, build) as server,
            grpc.aio.insecure_channel(server.target) as channel,
            asyncio.timeout(60),
        ):
            stub = RegistryServiceStub(channel)
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service="trunkline.registry.v1.RegistryService")
            )

            async def becomes(status: int) -> None:
                while (await watch.read()).status != status:
                    pass

            await becomes(health_pb2.HealthCheckResponse.SERVING)
            await stub.ListModels(pb.ListModelsRequest())
            await postgres.kill()
            await becomes(health_pb2.HealthCheckResponse.NOT_SERVING)
            code, reason, status = await refusal(stub.ListModels(pb.ListModelsRequest()))
            assert (code.name, reason) == ("UNAVAILABLE", "STORE_UNREACHABLE")
            assert any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details)
            await postgres.start()
            await becomes(health_pb2.HealthCheckResponse.SERVING)
            await stub.ListModels(pb.ListModelsRequest())
            watch.cancel()
