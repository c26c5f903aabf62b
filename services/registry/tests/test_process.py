from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from registry_parts import ONNX

from trunkline.registry.v1 import registry_pb2 as pb
from trunkline.registry.v1.registry_pb2_grpc import RegistryServiceStub
from trunkline_local.embedded import free_port

SHA256 = hashlib.sha256(ONNX).hexdigest()


@asynccontextmanager
async def process(
    dsn: str, directory: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, RegistryServiceStub]]:
    """The registry as it is started everywhere, and a stub that waits until it answers."""
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TRUNKLINE_")}
    environment |= {
        "TRUNKLINE_PORT": str(port),
        "TRUNKLINE_METRICS_PORT": "0",
        "TRUNKLINE_POSTGRES_DSN": dsn,
        "TRUNKLINE_BLOB_DIR": str(directory),
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trunkline_registry", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(60):
            stub = RegistryServiceStub(channel)
            while True:
                try:
                    await stub.ListModels(pb.ListModelsRequest(), wait_for_ready=True, timeout=20)
                    break
                except grpc.aio.AioRpcError as error:  # it answers before its schema is there
                    if error.code() is not grpc.StatusCode.UNAVAILABLE or started.returncode is not None:
                        raise
            yield started, stub
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


def part(content: bytes) -> pb.UploadArtifactRequest:
    return pb.UploadArtifactRequest(chunk=content)


@pytest.mark.parametrize("seed", range(3))
async def test_kill_9_in_an_upload_leaves_nothing_half_and_the_next_start_cleans_up(
    database: str, tmp_path: Path, seed: int
) -> None:
    content = random.Random(seed).randbytes(3 * 2**20)
    sha256 = hashlib.sha256(content).hexdigest()
    async with process(database, tmp_path) as (killed, stub):
        if seed == 0:
            await stub.CreateModel(pb.CreateModelRequest(model_id="fraud"))
        call = stub.UploadArtifact()
        header = pb.ArtifactHeader(sha256=sha256, size_bytes=len(content))
        await call.write(pb.UploadArtifactRequest(header=header))
        for start in range(0, random.Random(seed).randint(1, len(content) - 1), 2**17):
            await call.write(part(content[start : start + 2**17]))
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    assert not (tmp_path / sha256[:2] / sha256).exists()
    async with process(database, tmp_path) as (_, stub):
        assert list((tmp_path / "incoming").iterdir()) == []
        if seed:
            await stub.CreateModel(pb.CreateModelRequest(model_id="fraud"))
        version = pb.ModelVersion(
            format=pb.FORMAT_ONNX, files=[pb.ModelFile(path="model.onnx", sha256=sha256)]
        )
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.CreateModelVersion(
                pb.CreateModelVersionRequest(parent="models/fraud", model_version=version)
            )
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        listed = await stub.ListModelVersions(pb.ListModelVersionsRequest(parent="models/fraud"))
        assert not listed.model_versions


async def test_two_processes_race_for_production_and_sigterm_ends_them_in_order(
    database: str, tmp_path: Path
) -> None:
    async with process(database, tmp_path) as (one, first), process(database, tmp_path) as (two, second):
        await first.CreateModel(pb.CreateModelRequest(model_id="fraud"))
        call = first.UploadArtifact()
        header = pb.ArtifactHeader(sha256=SHA256, size_bytes=len(ONNX))
        await call.write(pb.UploadArtifactRequest(header=header))
        await call.write(part(ONNX))
        await call.done_writing()
        await call
        version = pb.ModelVersion(
            format=pb.FORMAT_ONNX, files=[pb.ModelFile(path="model.onnx", sha256=SHA256)]
        )
        for n in range(1, 7):
            await first.CreateModelVersion(
                pb.CreateModelVersionRequest(parent="models/fraud", model_version=version)
            )
            await first.TransitionModelVersionStage(
                pb.TransitionModelVersionStageRequest(
                    name=f"models/fraud/versions/{n}", stage=pb.STAGE_STAGING
                )
            )
        await asyncio.gather(
            *(
                (first, second)[n % 2].TransitionModelVersionStage(
                    pb.TransitionModelVersionStageRequest(
                        name=f"models/fraud/versions/{n}", stage=pb.STAGE_PRODUCTION
                    )
                )
                for n in range(1, 7)
            )
        )
        listed = await second.ListModelVersions(pb.ListModelVersionsRequest(parent="models/fraud"))
        stages = sorted(each.stage for each in listed.model_versions)
        assert stages == [pb.STAGE_PRODUCTION] + [pb.STAGE_ARCHIVED] * 5
        for each in (one, two):
            each.send_signal(signal.SIGTERM)
            assert await each.wait() == 0
