"""The store on the real registry, over the wire."""

import hashlib
from contextlib import AsyncExitStack

import pytest

from trunkline.registry.v1 import registry_pb2 as pb
from trunkline.registry.v1.registry_pb2_grpc import RegistryServiceStub
from trunkline_hop import connect, running
from trunkline_hop.errors import NotFound
from trunkline_modelstore import ModelStore, State
from trunkline_modelstore.grpc_registry import GrpcRegistry
from trunkline_registry.__main__ import build
from trunkline_registry.settings import Settings

MODEL = "models/fraud"


class RealRegistry:
    """A registry process's server in this one, which can stop and start on the same port."""

    def __init__(self, dsn, blobs, until):
        self.blobs = blobs
        self.port = 0
        self._dsn = dsn
        self._until = until
        self._running = AsyncExitStack()

    async def start(self):
        settings = Settings(
            port=self.port, metrics_port=0, postgres_dsn=self._dsn, blob_dir=self.blobs, drain_grace_s=1.0
        )
        server = await self._running.enter_async_context(running("registry", settings, build))
        self.port = server.port
        await self._until(server.health.serving)

    async def stop(self):
        await self._running.aclose()

    async def publish(self, content, *stages):
        """A version of models/fraud with one file, moved through stages; its name."""
        async with connect("registry", f"127.0.0.1:{self.port}") as channel:
            stub = RegistryServiceStub(channel)
            if not (await stub.ListModels(pb.ListModelsRequest())).models:
                await stub.CreateModel(pb.CreateModelRequest(model_id="fraud"))
            files = {"model.bin": content, "trees.txt": b"tree\nversion=v4\n"}
            for part in files.values():
                header = pb.ArtifactHeader(sha256=_sha256(part), size_bytes=len(part))
                parts = [pb.UploadArtifactRequest(header=header), pb.UploadArtifactRequest(chunk=part)]
                await stub.UploadArtifact(iter(parts))
            entries = [pb.ModelFile(path=path, sha256=_sha256(part)) for path, part in files.items()]
            version = pb.ModelVersion(format=pb.FORMAT_LIGHTGBM_TEXT, files=entries)
            created = await stub.CreateModelVersion(
                pb.CreateModelVersionRequest(parent=MODEL, model_version=version)
            )
            name = created.model_version.name
            for stage in stages:
                await stub.TransitionModelVersionStage(
                    pb.TransitionModelVersionStageRequest(name=name, stage=stage)
                )
            return name


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


PRODUCTION = (pb.STAGE_STAGING, pb.STAGE_PRODUCTION)


@pytest.fixture
async def real(database, tmp_path, until):
    registry = RealRegistry(database, tmp_path / "blobs", until)
    await registry.start()
    yield registry
    await registry.stop()


@pytest.fixture
async def store(real, engine, tmp_path):
    async with (
        connect("registry", f"127.0.0.1:{real.port}") as channel,
        ModelStore(
            engine,
            GrpcRegistry(channel),
            models=[MODEL],
            cache_dir=tmp_path / "cache",
            budget_bytes=1 << 24,
            wait_s=20.0,
            used_share=lambda: 0.1,
        ) as opened,
    ):
        yield opened


def in_force(store):
    resident = store.find(MODEL)
    return resident and resident.key[0]


CONTENT = bytes(range(256)) * 10_000


async def test_what_goes_into_production_is_served_and_replaced(real, store, engine, until):
    first = await real.publish(CONTENT, *PRODUCTION)
    await until(lambda: in_force(store) == first)
    async with store.lease(MODEL) as lease:
        assert lease.model == (first, CONTENT)
    second = await real.publish(CONTENT + b"2", *PRODUCTION)
    await until(lambda: in_force(store) == second)
    await until(lambda: engine.alive == [second])


async def test_a_version_outside_the_serving_set_is_loaded_by_name(real, store):
    name = await real.publish(CONTENT)
    async with store.lease(name) as lease:
        assert lease.model == (name, CONTENT)
    with pytest.raises(NotFound, match="VERSION_UNKNOWN"):
        await store.lease(f"{MODEL}/versions/9").__aenter__()


async def test_a_registry_that_comes_back_is_followed_again(real, store, until):
    first = await real.publish(CONTENT, *PRODUCTION)
    await until(lambda: in_force(store) == first)
    await real.stop()
    async with store.lease(MODEL) as lease:
        assert lease.version == first
    await real.start()
    second = await real.publish(CONTENT + b"2", *PRODUCTION)
    await until(lambda: in_force(store) == second)


async def test_a_blob_that_rots_in_the_registry_is_never_loaded(real, store, engine, until):
    first = await real.publish(CONTENT, *PRODUCTION)
    await until(lambda: in_force(store) == first)
    second = await real.publish(CONTENT + b"2")
    sha256 = _sha256(CONTENT + b"2")
    (blob,) = [
        path for path in real.blobs.rglob("*") if path.is_file() and sha256 in str(path).replace("/", "")
    ]
    blob.chmod(0o644)
    blob.write_bytes(CONTENT + b"3")
    async with connect("registry", f"127.0.0.1:{real.port}") as channel:
        stub = RegistryServiceStub(channel)
        for stage in PRODUCTION:
            await stub.TransitionModelVersionStage(
                pb.TransitionModelVersionStageRequest(name=second, stage=stage)
            )
    await until(lambda: any(entry.state is State.FAILED for entry in store.status()))
    assert in_force(store) == first
    assert engine.loaded == [first]
    blob.write_bytes(CONTENT + b"2")
    await until(lambda: in_force(store) == second)
