"""What the local suite runs: a table of services, and the plan that options make of it.

    name       port    layer   needs             settings of its own
    gateway    base    3                         features, ranking, registry, retrieval, speech, translate
    features   base+1  1       valkey            redis_url
    retrieval  base+2  1                         blob_dir
    ranking    base+3  2                         features, registry, retrieval, models, model_cache_dir
    speech     base+4  2       valkey            registry, redis_url, models, model_cache_dir
    translate  base+5  2       valkey            registry, redis_url, models, model_cache_dir, triton*, vllm*, probe_s
    registry   base+6  1       postgres          postgres_dsn, blob_dir

A service that serves models is left out when there is none of its tasks. Layer 0 are the embedded servers. Everything starts as early as its needs allow; layers stop from the top.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trunkline_local.embedded import HOST, EmbeddedServer, PostgreSQL, Valkey, free_port
from trunkline_local.services import PREFIX, Service
from trunkline_local.state import DataDirectory

PORT_BASE = 50050
METRICS_OFFSET = 1000
SAMPLE_RATIO = 0.01
REDIS_URL = "TRUNKLINE_REDIS_URL"
POSTGRES_DSN = "TRUNKLINE_POSTGRES_DSN"
LOG_LEVEL = "TRUNKLINE_LOG_LEVEL"
ENGINES = ("TRUNKLINE_TRITON", "TRUNKLINE_VLLM", "TRUNKLINE_PROBE_S")
"""What starts with one of these goes to the translation service as it is."""


class WrongOptions(ValueError):
    """The suite cannot be planned. The message says what to change."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose."""

    data_dir: Path = Path(".trunkline")
    port_base: int = PORT_BASE
    """Port of the gateway; the others follow. 0: free ports for all."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Processes of a service; one unless named."""
    sample_ratio: float = SAMPLE_RATIO
    """Share of traces that are kept of callers that do not say."""
    models_dir: Path | None = None
    """Directory with `*/artifact`; None: the one of this checkout."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things are, for the settings of others."""

    data: DataDirectory
    redis_url: str
    postgres_dsn: str
    models: Mapping[str, Sequence[str]]
    """Names of the models that it serves, by service."""
    targets: Mapping[str, str]
    """Address list by service."""
    engines: Mapping[str, str]
    """Settings of translation engines outside of the suite."""


@dataclass(frozen=True, slots=True)
class Row:
    """One service of the table."""

    name: str
    offset: int
    layer: int
    needs: str | None
    settings: Callable[[Addresses, str], Mapping[str, str]]
    """Given the addresses and the replica's name."""
    tasks: tuple[str, ...] = ()
    """Of the models that it serves; empty: it serves none."""


TABLE = (
    Row(
        "gateway",
        0,
        3,
        None,
        lambda at, _: {name.upper(): target for name, target in at.targets.items() if name != "gateway"},
    ),
    Row("features", 1, 1, "valkey", lambda at, _: {"REDIS_URL": at.redis_url}),
    Row("retrieval", 2, 1, None, lambda at, _: {"BLOB_DIR": str(at.data.path / "indexes")}),
    Row(
        "ranking",
        3,
        2,
        None,
        lambda at, replica: {
            "FEATURES": at.targets["features"],
            "REGISTRY": at.targets["registry"],
            "RETRIEVAL": at.targets["retrieval"],
            "MODELS": ",".join(at.models["ranking"]),
            "MODEL_CACHE_DIR": str(at.data.path / "models" / replica),
        },
        ("score_transaction", "recommend"),
    ),
    Row(
        "speech",
        4,
        2,
        "valkey",
        lambda at, replica: {
            "REGISTRY": at.targets["registry"],
            "REDIS_URL": at.redis_url,
            "MODELS": ",".join(at.models["speech"]),
            "MODEL_CACHE_DIR": str(at.data.path / "models" / replica),
        },
        ("recognize_speech",),
    ),
    Row(
        "translate",
        5,
        2,
        "valkey",
        lambda at, replica: {
            "REGISTRY": at.targets["registry"],
            "REDIS_URL": at.redis_url,
            "MODELS": ",".join(at.models["translate"]),
            "MODEL_CACHE_DIR": str(at.data.path / "models" / replica),
            **at.engines,
        },
        ("translate",),
    ),
    Row(
        "registry",
        6,
        1,
        "postgres",
        lambda at, _: {"POSTGRES_DSN": at.postgres_dsn, "BLOB_DIR": str(at.data.path / "blobs")},
    ),
)


@dataclass(frozen=True, slots=True)
class Planned:
    """One process to be kept running."""

    unit: EmbeddedServer | Service
    layer: int
    needs: tuple[str, ...] = ()
    metrics_port: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Every process of a suite, and where to find the services."""

    processes: tuple[Planned, ...]
    targets: Mapping[str, str]
    """Address list by service name."""
    models: Mapping[str, Sequence[str]]
    """Names of the models that it serves, by service."""
    left_out: Sequence[str]
    """A sentence on each service that does not run, and why."""


def plan(options: Options, data: DataDirectory, otlp_port: int, models: Mapping[str, str]) -> Plan:
    """What to run.

    Args:
        options: a person's choice.
        data: where everything is kept.
        otlp_port: of the receiver that spans go to.
        models: the task of each model that there is, by its name.

    Raises:
        WrongOptions: a replica count, a setting or a port that cannot be, or no model.
    """
    check_environment(os.environ)
    if not models:
        raise WrongOptions("no model to serve: no */artifact; say where with --models")
    served = {
        row.name: [name for name, task in models.items() if task in row.tasks] for row in TABLE if row.tasks
    }
    rows = [row for row in TABLE if served.get(row.name, True)]
    left_out = [
        f"{row.name} is left out: no */artifact has a model that does {' or '.join(row.tasks)}"
        for row in TABLE
        if row not in rows
    ]
    for name, count in options.replicas.items():
        several = [row.name for row in rows if row.name != "gateway"]
        if name not in several or count < 1:
            raise WrongOptions(f"--replicas {name}={count}: {', '.join(several)} can have 1 or more")
    servers: list[Planned] = []
    redis_url, postgres_dsn = os.environ.get(REDIS_URL), os.environ.get(POSTGRES_DSN)
    if not redis_url:
        valkey = Valkey(data.path / "valkey", port=free_port(), log=data.log("valkey"))
        redis_url = valkey.url
        servers.append(Planned(valkey, 0))
    if not postgres_dsn:
        postgres = PostgreSQL(data.path / "postgres", port=free_port(), log=data.log("postgres"))
        postgres_dsn = postgres.dsn
        servers.append(Planned(postgres, 0))
    ports = {row.name: _ports(row, options) for row in rows}
    targets = {
        name: ",".join(f"{HOST}:{port}" for _, port, _ in replicas) for name, replicas in ports.items()
    }
    engines = {
        name.removeprefix(PREFIX): value for name, value in os.environ.items() if name.startswith(ENGINES)
    }
    at = Addresses(data, redis_url, postgres_dsn, served, targets, engines)
    common = {
        "HOST": HOST,
        "OTLP_ENDPOINT": f"{HOST}:{otlp_port}",
        "TRACE_SAMPLE_RATIO": f"{options.sample_ratio:g}",
        "DRAIN_GRACE_S": "5",
        "LOG_LEVEL": os.environ.get(LOG_LEVEL, "info"),
    }
    embedded = {server.unit.name for server in servers}
    services = [
        Planned(
            Service(
                replica,
                f"trunkline_{row.name}",
                port,
                common
                # Callers hear that it goes, and turn to the others, before it stops.
                | ({"DRAIN_DELAY_S": "0.3"} if len(ports[row.name]) > 1 else {})
                | {"PORT": str(port), "METRICS_PORT": str(metrics), **row.settings(at, replica)},
                data.log(replica),
            ),
            row.layer,
            (row.needs,) if row.needs in embedded else (),
            metrics,
        )
        for row in rows
        for replica, port, metrics in ports[row.name]
    ]
    return Plan((*servers, *services), targets, served, left_out)


def check_environment(given: Mapping[str, str]) -> None:
    """Passes when every `TRUNKLINE_*` variable is one that the command reads.

    Raises:
        WrongOptions: one is not. Services get their settings from the table, so it would be ignored.
    """
    known = {REDIS_URL, POSTGRES_DSN, LOG_LEVEL}
    unknown = sorted(
        name
        for name in given
        if name.startswith(PREFIX) and name not in known and not name.startswith(ENGINES)
    )
    if unknown:
        raise WrongOptions(
            f"{', '.join(unknown)}: not read here; {', '.join((*sorted(known), *(f'{name}*' for name in ENGINES)))} are"
        )


def _ports(row: Row, options: Options) -> list[tuple[str, int, int]]:
    """Name, port and metrics port of every replica. The first has the table's ports, others free ones."""
    replicas = []
    for number in range(1, options.replicas.get(row.name, 1) + 1):
        name = row.name if number == 1 else f"{row.name}-{number}"
        if number == 1 and options.port_base:
            port = options.port_base + row.offset
            metrics = port + METRICS_OFFSET
            for taken in (port, metrics):
                _check_free(taken, name)
        else:
            port, metrics = free_port(), free_port()
        replicas.append((name, port, metrics))
    return replicas


def _check_free(port: int, name: str) -> None:
    with socket.socket() as listener:
        # As the servers do: connections that linger from an earlier run are in nobody's way.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise WrongOptions(
                f"port {port} ({name}) is not free: {error.strerror}. Choose others with --port-base"
            ) from error
