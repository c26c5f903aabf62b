"""Ranking between a real registry, a real feature store and an index in numpy: four servers in this process."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import recommender_parts as parts
import redis

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
from trunkline_ranking.__main__ import build
from trunkline_ranking.settings import Settings
from trunkline_registry.__main__ import build as build_registry
from trunkline_registry.settings import Settings as RegistrySettings

BOUND_S = 30.0
POLL_S = 0.005
NOON = datetime(2026, 3, 7, 12, 30, tzinfo=UTC)  # a Saturday
CREATE_TIMEOUT_S = 10.0


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Waits until a condition holds, with a bound; returns what it gave."""
    async with asyncio.timeout(BOUND_S):
        while not (value := await condition()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), POLL_S)
        return value


class Suite:
    """The four servers, each of which can be stopped and started, and their stubs."""

    def __init__(self, redis_url: str, dsn: str, directory: Path, **options: Any) -> None:
        self._stacks: dict[str, AsyncExitStack] = {}
        self._channels = AsyncExitStack()
        self._redis_url = redis_url
        self._dsn = dsn
        self.directory = directory
        self.index = parts.NumpyIndex()
        self.options = options
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


@asynccontextmanager
async def opened(
    valkey: Valkey, dsn: str, directory: Path, names: Sequence[str], **options: Any
) -> AsyncIterator[Suite]:
    """These servers on stores that are empty before."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    suite = Suite(valkey.url, dsn, directory, **options)
    try:
        for name in names:
            await suite.start(name)
        yield suite
    finally:
        await suite.close()
