"""Ranking between a real registry, a real feature store and an index in numpy, and small models that tests make."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves the tests' own parts out of it
import recommender_parts as parts

from trunkline.features.v1 import features_pb2
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline.ranking.v1 import ranking_pb2
from trunkline.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from trunkline.registry.v1 import registry_pb2
from trunkline.registry.v1.registry_pb2_grpc import RegistryServiceStub
from trunkline_features.__main__ import build as build_features
from trunkline_features.settings import Settings as FeaturesSettings
from trunkline_hop import ServiceSettings, connect, running
from trunkline_local.embedded import Valkey
from trunkline_modelstore import LocalVersion
from trunkline_ranking.__main__ import build
from trunkline_ranking.settings import Settings
from trunkline_registry.__main__ import build as build_registry
from trunkline_registry.settings import Settings as RegistrySettings

BOUND_S = 30.0
POLL_S = 0.005
ARTIFACT = next(
    parent / "models/fraud/artifact"
    for parent in Path(__file__).parents
    if (parent / "constraints.txt").exists()
)
NOON = datetime(2026, 3, 7, 12, 30, tzinfo=UTC)  # a Saturday
CREATE_TIMEOUT_S = 10.0

SIGNATURE: dict[str, Any] = {
    "task": "score_transaction",
    "entity_types": {"customer_activity": "customer", "terminal_activity": "terminal"},
    "inputs": ["request:amount", "customer_activity:count_1d", "terminal_activity:risk_1d"],
    "defaults": {"customer_activity:count_1d": 3.0, "terminal_activity:risk_1d": 0.25},
    "thresholds": {"review": 0.5, "decline": 0.75},
}


def graph(columns: int = 3, **changes: Any) -> bytes:
    """A model that answers with the sigmoid of the sum of its columns, or something broken."""
    inputs = [
        helper.make_tensor_value_info(
            changes.get("input", "features"),
            changes.get("type", TensorProto.FLOAT),
            changes.get("shape", ["N", columns]),
        )
    ]
    output = changes.get("output", "probability")
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N"])]
    nodes = [
        helper.make_node("ReduceSum", [inputs[0].name, "axes"], ["sum"], keepdims=0),
        helper.make_node(changes.get("function", "Sigmoid"), ["sum"], [output]),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    body = helper.make_graph(nodes, "test", inputs, outputs, [axes])
    opset = helper.make_opsetid("", changes.get("opset", 17))
    return bytes(helper.make_model(body, opset_imports=[opset], ir_version=8).SerializeToString())


@pytest.fixture
def local(tmp_path: Path) -> Callable[..., LocalVersion]:
    """A version on disk made of a graph and a signature; bytes, or None for a missing file."""

    def make(model: bytes | None = None, signature: Any = SIGNATURE, **changes: Any) -> LocalVersion:
        contents = {"model.onnx": graph(**changes) if model is None else model}
        if signature is not None:
            contents["signature.json"] = (
                signature if isinstance(signature, bytes) else json.dumps(signature).encode()
            )
        return on_disk("models/fraud/versions/1", contents, tmp_path)

    return make


def on_disk(name: str, contents: Mapping[str, bytes], directory: Path) -> LocalVersion:
    """A version with these files."""
    for path, content in contents.items():
        (directory / path).write_bytes(content)
    return LocalVersion(name, "d" * 64, directory, {path: directory / path for path in contents}, 1)


@pytest.fixture
def recommender(tmp_path: Path) -> Callable[..., LocalVersion]:
    """A recommender's version on disk; a keyword replaces a file (dots and slashes as `_`), None leaves it out."""

    def make(**changes: bytes | None) -> LocalVersion:
        contents = {path: changes.get(path.replace(".", "_"), now) for path, now in parts.artifact().items()}
        kept = {path: content for path, content in contents.items() if content is not None}
        return on_disk("models/recommender/versions/1", kept, tmp_path)

    return make


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Waits until a condition holds, with a bound; returns what it gave."""
    async with asyncio.timeout(BOUND_S):
        while not (value := await condition()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), POLL_S)
        return value


class Suite:
    """The three servers, each of which can be stopped and started, and their stubs."""

    def __init__(self, redis_url: str, dsn: str, directory: Path) -> None:
        self._stacks: dict[str, AsyncExitStack] = {}
        self._channels = AsyncExitStack()
        self._redis_url = redis_url
        self._dsn = dsn
        self.directory = directory
        self.index = parts.NumpyIndex()
        self.options: dict[str, Any] = {}
        """Settings of ranking, beside those that a suite needs."""
        self._ports: dict[str, int] = {}
        self.servers: dict[str, Any] = {}

    async def start(self, name: str, servicer: Any = None) -> None:
        """Starts a server, on the port it had before if it ran before; with `servicer`, one that serves that."""
        common = {"port": self._ports.get(name, 0), "metrics_port": 0, "drain_grace_s": 1.0}
        builds: Mapping[str, tuple[Any, Callable[[], Any]]] = {
            "features": (
                build_features,
                lambda: FeaturesSettings(redis_url=self._redis_url, **common),
            ),
            "registry": (
                build_registry,
                lambda: RegistrySettings(postgres_dsn=self._dsn, blob_dir=self.directory / "blobs", **common),
            ),
            "retrieval": (_serving(self.index), lambda: ServiceSettings(**common)),
            "ranking": (
                build,
                lambda: Settings(
                    **{
                        "features": f"127.0.0.1:{self._ports['features']}",
                        "registry": f"127.0.0.1:{self._ports['registry']}",
                        "retrieval": f"127.0.0.1:{self._ports['retrieval']}",
                        "models": "models/fraud",
                        "model_cache_dir": self.directory / "models",
                        "features_timeout_s": 5.0,
                        "retrieval_timeout_s": 5.0,
                    }
                    | common
                    | self.options
                ),
            ),
        }
        wire, settings = builds[name]
        if servicer is not None:
            wire, settings = _serving(servicer), lambda: ServiceSettings(**common)
        stack = AsyncExitStack()
        server = await stack.enter_async_context(running(name, settings(), wire))
        self._stacks[name] = stack
        self._ports[name] = server.port
        self.servers[name] = server
        if name != "ranking":
            await self.serving(name)

    async def stop(self, name: str) -> None:
        """Stops a server."""
        await self._stacks.pop(name).aclose()

    async def stub(self, name: str, kind: Callable[[Any], Any]) -> Any:
        """A stub of a server, through hop's client."""
        return kind(await self._channels.enter_async_context(connect(name, f"127.0.0.1:{self._ports[name]}")))

    async def close(self) -> None:
        await self._channels.aclose()
        for name in reversed(list(self._stacks)):
            await self.stop(name)

    async def declare(self, views: list[dict[str, Any]]) -> None:
        """Declares views as models/fraud lists them."""
        stub = await self.stub("features", FeatureServiceStub)
        for view in views:
            fields = [
                features_pb2.Field(
                    name=field["name"],
                    type=features_pb2.FieldType.Value(f"FIELD_TYPE_{field['type']}"),
                    dimension=field.get("dimension", 0),
                    default_value=_values(field.get("default")),
                )
                for field in view["fields"]
            ]
            request = features_pb2.CreateFeatureViewRequest(
                feature_view_id=view["name"],
                feature_view=features_pb2.FeatureView(
                    entity_type=view["entity_type"], fields=fields, ttl={"seconds": view["ttl_s"]}
                ),
            )
            await stub.CreateFeatureView(request, timeout=CREATE_TIMEOUT_S)

    async def write(self, view: str, entity: str, age_s: float = 0.0, **values: Any) -> None:
        """Writes one row: numbers, texts, and lists of numbers as vectors; None is null."""
        stub = await self.stub("features", FeatureServiceStub)
        request = features_pb2.WriteFeaturesRequest(
            view=f"views/{view}",
            entity_ids=[entity],
            event_times_us=[int((time.time() - age_s) * 1e6)],
            columns=[
                features_pb2.Column(feature=name, values=_values(value)) for name, value in values.items()
            ],
        )
        await stub.WriteFeatures(request, timeout=CREATE_TIMEOUT_S)

    async def publish(
        self, files: Mapping[str, bytes], model_id: str = "fraud", *, production: bool = True
    ) -> str:
        """Registers a version; returns its name."""
        stub: Any = await self.stub("registry", RegistryServiceStub)
        listed = await stub.ListModels(registry_pb2.ListModelsRequest())
        if f"models/{model_id}" not in [model.name for model in listed.models]:
            await stub.CreateModel(registry_pb2.CreateModelRequest(model_id=model_id))
        entries = []
        for path, content in files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            header = registry_pb2.ArtifactHeader(sha256=sha256, size_bytes=len(content))
            parts = [
                registry_pb2.UploadArtifactRequest(header=header),
                registry_pb2.UploadArtifactRequest(chunk=content),
            ]
            await stub.UploadArtifact(iter(parts))
            entries.append(registry_pb2.ModelFile(path=path, sha256=sha256))
        created = await stub.CreateModelVersion(
            registry_pb2.CreateModelVersionRequest(
                parent=f"models/{model_id}",
                model_version=registry_pb2.ModelVersion(format=registry_pb2.FORMAT_ONNX, files=entries),
            )
        )
        name = created.model_version.name
        if production:
            for stage in (registry_pb2.STAGE_STAGING, registry_pb2.STAGE_PRODUCTION):
                await stub.TransitionModelVersionStage(
                    registry_pb2.TransitionModelVersionStageRequest(name=name, stage=stage)
                )
        return str(name)

    async def score(
        self, model: str = "", timeout: float = BOUND_S, **changes: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Scores a transaction at a Saturday's noon; the reply and its trailers."""
        stub: Any = await self.stub("ranking", RankingServiceStub)
        fields = {"customer_id": "c1", "terminal_id": "t1", "amount": 12.5, "time": NOON} | changes
        request = ranking_pb2.ScoreTransactionRequest(
            model=model, transaction=ranking_pb2.Transaction(**fields)
        )
        call = stub.ScoreTransaction(request, timeout=timeout)
        reply = await call
        return reply, dict(await call.trailing_metadata())

    async def recommend(self, timeout: float = BOUND_S, **fields: Any) -> tuple[Any, dict[str, Any]]:
        """Recommends to a reader; the reply and its trailers."""
        stub: Any = await self.stub("ranking", RankingServiceStub)
        request = ranking_pb2.RecommendRequest(**{"user_id": "r1"} | fields)
        call = stub.Recommend(request, timeout=timeout)
        reply = await call
        return reply, dict(await call.trailing_metadata())

    async def rank(
        self, *item_ids: str, timeout: float = BOUND_S, **fields: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Ranks items for a reader; the reply and its trailers."""
        stub: Any = await self.stub("ranking", RankingServiceStub)
        request = ranking_pb2.RankRequest(**{"user_id": "r1", "item_ids": item_ids} | fields)
        call = stub.Rank(request, timeout=timeout)
        reply = await call
        return reply, dict(await call.trailing_metadata())

    async def serving(self, name: str) -> None:
        """Waits until a server's health says that it serves."""

        async def serves() -> bool:
            return bool(self.servers[name].health.serving())

        await until(serves)


def _serving(servicer: Any) -> Callable[..., Awaitable[None]]:
    async def wire(server: Any, settings: Any) -> None:
        server.add(servicer)

    return wire


def _values(value: Any) -> dict[str, Any] | None:
    match value:
        case None:
            return None
        case str():
            return {"string": {"values": [value]}}
        case list():
            return {"float32_vector": {"values": value}}
        case _:
            return {"float64": {"values": [value]}}


VIEWS = [
    {
        "name": "customer_activity",
        "entity_type": "customer",
        "ttl_s": 3600,
        "fields": [{"name": "count_1d", "type": "FLOAT64", "default": 0.5}],
    },
    {
        "name": "terminal_activity",
        "entity_type": "terminal",
        "ttl_s": 3600,
        "fields": [{"name": "risk_1d", "type": "FLOAT64"}],
    },
]


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    return until


@pytest.fixture(name="graph")
def graph_fixture() -> Callable[..., bytes]:
    return graph


@pytest.fixture
def signature() -> dict[str, Any]:
    return json.loads(json.dumps(SIGNATURE))  # a copy to change


@pytest.fixture
def files(signature: dict[str, Any]) -> dict[str, bytes]:
    """A version whose score is easy to work out."""
    return {"model.onnx": graph(), "signature.json": json.dumps(signature).encode()}


@pytest.fixture
def artifact() -> dict[str, bytes]:
    """The fraud model that ships."""
    return {name: (ARTIFACT / name).read_bytes() for name in ("model.onnx", "signature.json", "views.json")}


@pytest.fixture
async def empty_suite(valkey: Valkey, database: str, tmp_path: Path) -> AsyncIterator[Suite]:
    """The servers, with no view and no model."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    suite = Suite(valkey.url, database, tmp_path)
    try:
        for name in ("features", "registry", "retrieval", "ranking"):
            await suite.start(name)
        yield suite
    finally:
        await suite.close()


@pytest.fixture
async def suite(empty_suite: Suite, files: dict[str, bytes]) -> Suite:
    """The servers, with two views and a version in production."""
    await empty_suite.declare(VIEWS)
    await empty_suite.publish(files)
    await empty_suite.serving("ranking")
    return empty_suite


@pytest.fixture
async def books(
    valkey: Valkey, database: str, tmp_path: Path, files: dict[str, bytes]
) -> AsyncIterator[Suite]:
    """The servers, with a recommender and a fraud model in production, and one reader: r1 read b2 and b5."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    suite = Suite(valkey.url, database, tmp_path)
    suite.options["models"] = "models/fraud,models/recommender"
    try:
        for name in ("features", "registry", "retrieval"):
            await suite.start(name)
        await suite.declare(VIEWS + parts.VIEWS)
        await suite.publish(files)
        await suite.publish(parts.artifact(), "recommender")
        await suite.write("reader_history", "r1", books="b2 b5", ratings=[5.0, 2.0, 0.0])
        await suite.write("reader_activity", "r1", count=2.0, mean=3.5)
        await suite.start("ranking")
        await suite.serving("ranking")
        yield suite
    finally:
        await suite.close()
