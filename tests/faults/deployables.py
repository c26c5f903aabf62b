"""What is deployed, what each of it serves and what it depends on: one declaration a deployable."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

import trunkline
import trunkline_features.__main__ as features_main
import trunkline_gateway.__main__ as gateway_main
import trunkline_ranking.__main__ as ranking_main
import trunkline_registry.__main__ as registry_main
import trunkline_retrieval.__main__ as retrieval_main
import trunkline_speech.__main__ as speech_main
import trunkline_translate.__main__ as translate_main
from trunkline.features.v1 import features_pb2
from trunkline.ranking.v1 import ranking_pb2
from trunkline.registry.v1 import registry_pb2
from trunkline.retrieval.v1 import retrieval_pb2
from trunkline.speech.v1 import speech_pb2
from trunkline.translate.v1 import translate_pb2
from trunkline_registry.postgres import database
from trunkline_retrieval import peers

STORES = ("valkey", "postgres", "engine")
"""Servers that are not of the suite. `engine` is one with OpenAI's interface and the model that ships."""
PATIENT_S = 20.0
"""How long the services wait for what they can do without: longer than any answer takes, on a machine however busy."""
RESIGNED_S = 0.3
"""How long they wait for what will not come."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Where a process keeps how long it waits for one of its needs."""

    need: str
    holder: str | ModuleType
    """What its `__main__` makes, by its name there; or a module."""
    attribute: str
    """May lead through others: `patience.longest_s`."""
    resigned_s: float = RESIGNED_S


@dataclass(frozen=True, slots=True)
class Deployable:
    """A process of the suite."""

    name: str
    main: ModuleType
    """Its `__main__`, with `Settings` and `build`."""
    services: tuple[ServiceDescriptor, ...]
    needs: tuple[str, ...]
    """Deployables and stores that it connects to."""
    settings: Callable[[Mapping[str, str], Path], Mapping[str, Any]]
    """Its settings, given the address of everything it needs and a directory of its own."""
    limits: tuple[Limit, ...] = ()
    """Where it keeps its patience. What its settings say there is PATIENT_S."""
    leads: bool = False
    """It is no one's setting: it advertises an address, which others find where it claims its leases."""

    @property
    def methods(self) -> list[str]:
        """Names of what it serves, as `Service/Method`."""
        return [name_of(method) for service in self.services for method in service.methods]


def name_of(method: MethodDescriptor) -> str:
    """`Service/Method`. Names of services are unique in the suite."""
    return f"{method.containing_service.name}/{method.name}"


def _service(file: Any, name: str) -> ServiceDescriptor:
    found: ServiceDescriptor = file.DESCRIPTOR.services_by_name[name]
    return found


FEATURES = _service(features_pb2, "FeatureService")
RANKING = _service(ranking_pb2, "RankingService")
REGISTRY = _service(registry_pb2, "RegistryService")
RETRIEVAL = _service(retrieval_pb2, "VectorService")
SPEECH = _service(speech_pb2, "SpeechService")
TRANSLATE = _service(translate_pb2, "TranslateService")

DEPLOYABLES = (
    Deployable(
        "registry",
        registry_main,
        (REGISTRY,),
        ("postgres",),
        lambda at, directory: {
            "postgres_dsn": at["postgres"],
            "blob_dir": directory / "blobs",
            "postgres_pool_size": 4,
        },
        (Limit("postgres", database, "PATIENCE_S"),),
    ),
    Deployable(
        "features",
        features_main,
        (FEATURES,),
        ("valkey",),
        lambda at, _: {
            "redis_url": at["valkey"],
            "redis_read_timeout_s": PATIENT_S,
            "redis_write_timeout_s": PATIENT_S,
        },
        (
            Limit("valkey", "RedisRows", "_read_timeout_s"),
            Limit("valkey", "RedisRows", "_write_timeout_s"),
            Limit("valkey", "RedisViews", "_timeout_s"),
        ),
    ),
    Deployable(
        "writer",
        retrieval_main,
        (),
        (),
        lambda at, directory: {"blob_dir": directory.with_name("indexes"), "advertise": at["writer"]},
        leads=True,
    ),
    Deployable(
        "retrieval",
        retrieval_main,
        (RETRIEVAL,),
        ("writer",),
        lambda _, directory: {"blob_dir": directory.with_name("indexes")},
        (Limit("writer", peers, "_PATIENCE_S"),),
    ),
    Deployable(
        "ranking",
        ranking_main,
        (RANKING,),
        ("features", "registry", "retrieval"),
        lambda at, directory: {
            "features": at["features"],
            "registry": at["registry"],
            "retrieval": at["retrieval"],
            "models": "models/fraud,models/recommender",
            "model_cache_dir": directory,
            "features_timeout_s": PATIENT_S,
            "retrieval_timeout_s": PATIENT_S,
        },
        (
            Limit("features", "Reading", "patience.longest_s"),
            Limit("retrieval", "Recommending", "patience.longest_s"),
        ),
    ),
    Deployable(
        "speech",
        speech_main,
        (SPEECH,),
        ("registry", "valkey"),
        lambda at, directory: {
            "registry": at["registry"],
            "redis_url": at["valkey"],
            "redis_timeout_s": PATIENT_S,
            "model_cache_dir": directory,
            "pipelines": 1,
        },
        (Limit("valkey", "RedisSessions", "_timeout_s"),),
    ),
    Deployable(
        "translate",
        translate_main,
        (TRANSLATE,),
        ("engine", "registry", "valkey"),
        lambda at, directory: {
            "vllm": at["engine"],
            "vllm_prompt": "codes",
            "registry": at["registry"],
            "redis_url": at["valkey"],
            "redis_timeout_s": PATIENT_S,
            "model_cache_dir": directory,
            "device_threads": 1,
            "apertium_modes": directory / "none",
            "first_token_s": PATIENT_S,
            "stall_s": PATIENT_S,
            "probe_s": 0.1,
        },
        (
            Limit("valkey", "RedisConversations", "_timeout_s"),
            # The model behind the engine has the same limit, and is to keep it.
            Limit("engine", "Translator", "_first_token_s", resigned_s=3.0),
            Limit("engine", "Translator", "_stall_s", resigned_s=3.0),
        ),
    ),
    Deployable(
        "gateway",
        gateway_main,
        (FEATURES, RANKING, REGISTRY, RETRIEVAL, SPEECH, TRANSLATE),
        ("features", "ranking", "registry", "retrieval", "speech", "translate"),
        lambda at, _: dict(at),
    ),
)
"""In the order in which they start: each after what it needs."""


def contracts() -> list[ServiceDescriptor]:
    """Every service of every contract of the suite, `trunkline.*.v1`."""
    found = []
    for module in pkgutil.walk_packages(trunkline.__path__, "trunkline."):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(module.name).DESCRIPTOR
            found += file.services_by_name.values()
    return found


def mains() -> set[str]:
    """Names of the packages of this checkout that can be run as a service."""
    services = Path(__file__).parents[2] / "services"
    return {path.parent.name for path in services.rglob("src/trunkline_*/__main__.py")}
