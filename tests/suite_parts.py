"""The whole suite inside a test: its servers on real stores, wired by their own `build`."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conditions import open_channel, until
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import trunkline_features.__main__ as features_main
import trunkline_features.settings as features_settings
import trunkline_gateway.__main__ as gateway_main
import trunkline_gateway.settings as gateway_settings
import trunkline_ranking.__main__ as ranking_main
import trunkline_ranking.settings as ranking_settings
import trunkline_registry.__main__ as registry_main
import trunkline_registry.settings as registry_settings
import trunkline_retrieval.__main__ as retrieval_main
import trunkline_retrieval.settings as retrieval_settings
import trunkline_speech.__main__ as speech_main
import trunkline_speech.settings as speech_settings
import trunkline_translate.__main__ as translate_main
import trunkline_translate.settings as translate_settings
from trunkline.features.v1 import features_pb2 as fv
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline.ranking.v1 import ranking_pb2 as rk
from trunkline.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from trunkline.registry.v1.registry_pb2_grpc import RegistryServiceStub
from trunkline.retrieval.v1.retrieval_pb2_grpc import VectorServiceStub
from trunkline.speech.v1 import speech_pb2 as sp
from trunkline.speech.v1.speech_pb2_grpc import SpeechServiceStub
from trunkline.translate.v1 import translate_pb2 as tr
from trunkline.translate.v1.translate_pb2_grpc import TranslateServiceStub
from trunkline_hop.channel import Channel
from trunkline_hop.server import Server, running
from trunkline_hop.telemetry import Tracing
from trunkline_local import catalog

BUF = Path(__file__).parents[1] / "node_modules" / ".bin" / "buf"
"""An outside client, where Node brought it."""

VERSION_KEY = "x-trunkline-model-version"
DEGRADED_KEY = "x-trunkline-degraded"
MODEL = "models/fraud"
RECOMMENDER = "models/recommender"
WHISPER = "models/whisper-micro"
TRANSLATOR = "models/phrase-translator"
SPOKEN = Path(__file__).parents[1] / "models" / "whisper-micro" / "samples" / "en-10.ogg"
"""A sentence of two seconds."""


class Client:
    """The generated stubs over one plain channel, as an outside program uses them."""

    def __init__(self, target: str, **options: Any) -> None:
        self.channel = open_channel(target, **options)
        self.features: Any = FeatureServiceStub(self.channel)
        self.ranking: Any = RankingServiceStub(self.channel)
        self.registry: Any = RegistryServiceStub(self.channel)
        self.retrieval: Any = VectorServiceStub(self.channel)
        self.speech: Any = SpeechServiceStub(self.channel)
        self.translate: Any = TranslateServiceStub(self.channel)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()


@dataclass
class Suite:
    """Servers in this process: four for the fraud model, retrieval where recommendations are asked for, speech where
    somebody speaks, and translation where it is wanted.
    """

    directory: Path
    settings: dict[str, Any]
    servers: dict[str, Server] = field(default_factory=dict)
    stacks: dict[str, AsyncExitStack] = field(default_factory=dict)
    exporters: dict[str, InMemorySpanExporter] = field(default_factory=dict)
    built: dict[str, list[Any]] = field(default_factory=dict)
    """What each server owns, in the order it was opened."""
    channels: dict[str, list[Channel]] = field(default_factory=dict)
    """To the servers behind each one."""

    @property
    def target(self) -> str:
        """Of the gateway."""
        return self.servers["gateway"].target

    async def start(self, name: str, kind: Any, build: Any, **settings: Any) -> Server:
        """Starts a server; `name` may be that of a second replica."""
        stack = self.stacks[name] = AsyncExitStack()
        exporter = self.exporters[name] = InMemorySpanExporter()
        tracing = Tracing(name, 1.0, exporter)
        stack.callback(tracing.shutdown)
        owned = self.built[name] = []
        channels = self.channels[name] = []

        async def watched(server: Server, given: Any) -> None:
            own, connect = server.own, server.connect

            async def own_and_tell(manager: Any) -> Any:
                entered = await own(manager)
                owned.append(entered)
                return entered

            def connect_and_tell(upstream: str, target: str) -> Channel:
                channels.append(connect(upstream, target))
                return channels[-1]

            server.own = own_and_tell  # type: ignore[method-assign]
            server.connect = connect_and_tell  # type: ignore[method-assign]
            await build(server, given)

        given = {"port": 0, "metrics_port": 0, "drain_grace_s": 3.0} | settings
        server = await stack.enter_async_context(running(name, kind(**given), watched, tracing=tracing))
        self.servers[name] = server
        return server

    async def start_ranking(self, name: str = "ranking", **settings: Any) -> Server:
        # A busy machine is no reason for defaults; tests that want them make the feature store fail.
        patient: dict[str, Any] = {"features_timeout_s": 5.0, "retrieval_timeout_s": 5.0}
        given = {"models": MODEL}
        if "retrieval" in self.servers:
            given = {"models": f"{MODEL},{RECOMMENDER}", "retrieval": self.servers["retrieval"].target}
        return await self.start(
            name,
            ranking_settings.Settings,
            ranking_main.build,
            features=self.servers["features"].target,
            registry=self.servers["registry"].target,
            model_cache_dir=self.directory / name,
            **(patient | given | settings),
        )

    async def start_retrieval(self, **settings: Any) -> Server:
        return await self.start(
            "retrieval",
            retrieval_settings.Settings,
            retrieval_main.build,
            blob_dir=self.directory / "indexes",
            **settings,
        )

    async def start_speech(self, name: str = "speech", **settings: Any) -> Server:
        given = {"redis_timeout_s": 5.0, "pipelines": 1} | settings
        return await self.start(
            name,
            speech_settings.Settings,
            speech_main.build,
            redis_url=self.settings["redis_url"],
            registry=self.servers["registry"].target,
            model_cache_dir=self.directory / name,
            **given,
        )

    async def start_translate(self, name: str = "translate", **settings: Any) -> Server:
        # The model that ships and nothing else, whatever this machine has; and it may take its time.
        given = {
            "redis_timeout_s": 5.0,
            "device_threads": 1,
            "first_token_s": 20.0,
            "stall_s": 20.0,
            "apertium_modes": self.directory / "none",
        }
        return await self.start(
            name,
            translate_settings.Settings,
            translate_main.build,
            redis_url=self.settings["redis_url"],
            registry=self.servers["registry"].target,
            model_cache_dir=self.directory / name,
            **(given | settings),
        )

    async def start_features(self, **settings: Any) -> Server:
        return await self.start(
            "features",
            features_settings.Settings,
            features_main.build,
            redis_url=self.settings["redis_url"],
            **settings,
        )

    async def start_gateway(self, name: str = "gateway", **settings: Any) -> Server:
        kinds = ("features", "ranking", "registry", "retrieval", "speech", "translate")
        targets = {kind: self.servers[kind].target for kind in kinds if kind in self.servers}
        return await self.start(name, gateway_settings.Settings, gateway_main.build, **(targets | settings))

    async def stop(self, name: str) -> None:
        """Drains one server."""
        await self.stacks.pop(name).aclose()

    async def close(self) -> None:
        for name in reversed(list(self.stacks)):
            await self.stop(name)

    def spans(self) -> list[Any]:
        """Every span that ended in any server, by start."""
        for server in self.servers.values():
            server.tracing.flush()
        spans = [span for exporter in self.exporters.values() for span in exporter.get_finished_spans()]
        return sorted(spans, key=lambda span: span.start_time)


@asynccontextmanager
async def opened(
    directory: Path,
    redis_url: str,
    dsn: str,
    *,
    recommending: bool = False,
    speaking: bool = False,
    translating: bool = False,
) -> AsyncIterator[Suite]:
    """A suite that serves the fraud model which ships, or both models, on stores that are empty before."""
    suite = Suite(directory, {"redis_url": redis_url})
    try:
        await suite.start(
            "registry",
            registry_settings.Settings,
            registry_main.build,
            postgres_dsn=dsn,
            blob_dir=directory / "blobs",
            postgres_pool_size=4,
        )
        await suite.start_features()
        if recommending:
            await suite.start_retrieval()
        models = shipped(MODEL, RECOMMENDER) if recommending else shipped()
        await until(lambda: all(server.health.serving() for server in suite.servers.values()))
        await catalog.declare_views(suite.servers["features"].target, models)
        await catalog.register(suite.servers["registry"].target, models)
        await suite.start_ranking()
        if speaking:
            await catalog.register(suite.servers["registry"].target, shipped(WHISPER))
            await suite.start_speech()
        if translating:
            await catalog.register(suite.servers["registry"].target, shipped(TRANSLATOR))
            await suite.start_translate()
        await suite.start_gateway()
        await serving(suite)
        yield suite
    finally:
        await suite.close()


async def serving(suite: Suite, name: str = "gateway") -> None:
    """Returns when a gateway says that everything behind it serves."""
    health = suite.servers[name].health
    services = [
        "trunkline.features.v1.FeatureService",
        "trunkline.ranking.v1.RankingService",
        "trunkline.registry.v1.RegistryService",
    ]
    if "speech" in suite.servers:
        services.append("trunkline.speech.v1.SpeechService")
    if "translate" in suite.servers:
        services.append("trunkline.translate.v1.TranslateService")
    await until(lambda: all(health.serving(service) for service in services))


def shipped(*names: str) -> list[catalog.Bundle]:
    """These models of this checkout; without names, the fraud model."""
    return [model for model in catalog.bundles() if model.name in (names or (MODEL,))]


def changed_copy(directory: Path) -> catalog.Bundle:
    """The same model in files that differ by a byte: another version."""
    artifact = directory / "models" / "fraud" / "artifact"
    shutil.copytree(shipped()[0].artifact, artifact)
    signature = artifact / "signature.json"
    signature.write_text(signature.read_text() + "\n")
    return catalog.Bundle("fraud", artifact)


def session(**options: Any) -> sp.StreamingRecognizeRequest:
    """The first message of a session in English, whose audio names its own format."""
    given = {"language_code": "en"} | options
    return sp.StreamingRecognizeRequest(config=sp.StreamingConfig(options=sp.RecognitionOptions(**given)))


def spoken(*, chunk: int = 4096) -> list[sp.StreamingRecognizeRequest]:
    """The sentence, in pieces."""
    data = SPOKEN.read_bytes()
    return [
        sp.StreamingRecognizeRequest(audio=data[start : start + chunk])
        for start in range(0, len(data), chunk)
    ]


def into(target: str, source: str = "en", **options: Any) -> tr.TranslationOptions:
    """Out of one language into another."""
    return tr.TranslationOptions(target_language_code=target, source_language_code=source, **options)


def talk(target: str = "es", source: str = "en", **config: Any) -> tr.ConverseRequest:
    """The first message of a conversation."""
    return tr.ConverseRequest(config=tr.ConverseConfig(options=into(target, source), **config))


def segment(number: int, text: str, *, end: bool = True) -> tr.ConverseRequest:
    """A segment of a transcript; it ends an utterance unless it is said otherwise."""
    said = tr.TranscriptSegment(segment_id=f"segment-{number}", text=text, end_of_utterance=end)
    return tr.ConverseRequest(segment=said)


def transaction(
    customer: str = "c1", terminal: str = "t1", amount: float = 25.0, time_s: int = 1_700_000_000
) -> rk.Transaction:
    message = rk.Transaction(customer_id=customer, terminal_id=terminal, amount=amount)
    message.time.seconds = time_s
    return message


def score(
    customer: str = "c1", terminal: str = "t1", amount: float = 25.0, model: str = ""
) -> rk.ScoreTransactionRequest:
    return rk.ScoreTransactionRequest(model=model, transaction=transaction(customer, terminal, amount))


def rows(view: str, ids: list[str], value: float = 1.0) -> fv.WriteFeaturesRequest:
    """One row an entity, with every field of a view of the model that ships."""
    (described,) = [one for one in shipped()[0].views() if one["name"] == view]
    columns = [
        fv.Column(feature=f["name"], values=fv.Values(float64=fv.Float64Values(values=[value] * len(ids))))
        for f in described["fields"]
    ]
    now_us = time.time_ns() // 1000
    return fv.WriteFeaturesRequest(
        view=f"views/{view}", entity_ids=ids, event_times_us=[now_us] * len(ids), columns=columns
    )
