"""A service as a process, with the model it serves: what the benchmarks of speech and translation share.

A registry on a PostgreSQL of its own holds the model and a Valkey keeps the sessions, as in the suite, both on the
load's core; then comes `python -m trunkline_SERVICE`, and a gateway where one is asked for, on the core that is
named. Loads run in the benchmark's own process, on the last core.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from trunkline_local.catalog import Bundle, register
from trunkline_local.embedded import PostgreSQL, Valkey, free_port
from trunkline_local.services import environment, is_serving

ROOT = Path(__file__).resolve().parents[1]
READY_S = 120.0
POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Served:
    """A running service."""

    target: str
    gateway: str
    """Empty without one."""
    process: psutil.Process
    started: float
    """When the process was started, on time.perf_counter's clock."""


@dataclass(frozen=True, slots=True)
class Stores:
    """A registry with the model in production, and what keeps sessions."""

    registry: str
    redis_url: str
    model: str
    directory: Path


def parser(about: str | None, model: str = "whisper-micro") -> argparse.ArgumentParser:
    """Of a benchmark that needs the model."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--artifact",
        type=Path,
        default=ROOT / "models" / model / "artifact",
        help="directory models/NAME/artifact",
    )
    return made


def cores() -> tuple[int, int]:
    """The one of the service and the one of the load."""
    there = sorted(os.sched_getaffinity(0))
    return there[0], there[-1]


@contextmanager
def on(core: int | None) -> Iterator[None]:
    """This thread, and what it starts, on one core."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def stores(artifact: Path) -> AsyncIterator[Stores]:
    """A registry that has the artifact in production."""
    bundle = Bundle(artifact.parent.name, artifact)
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as name:
        directory = Path(name)
        with on(cores()[1]):
            valkey = Valkey(directory / "valkey", persistent=False)
            postgres = PostgreSQL(directory / "postgres", durable=False)
            async with valkey, postgres:
                settings = {"POSTGRES_DSN": postgres.dsn, "BLOB_DIR": str(directory / "blobs")}
                with child(("-m", "trunkline_registry"), settings, directory) as (port, _):
                    await serving(port)
                    await register(f"127.0.0.1:{port}", [bundle])
                    yield Stores(f"127.0.0.1:{port}", valkey.url, bundle.name, directory)


@asynccontextmanager
async def running(
    name: str,
    at: Stores,
    core: int | None,
    settings: Mapping[str, str] | None = None,
    *,
    gateway: bool = False,
    command: Sequence[str] = (),
) -> AsyncIterator[Served]:
    """The service, and a gateway, on one core or on any; returns when they serve."""
    cache = at.directory / "cache"
    given = {
        "REGISTRY": at.registry,
        "REDIS_URL": at.redis_url,
        "MODELS": at.model,
        "MODEL_CACHE_DIR": str(cache),
        **(settings or {}),
    }
    with ExitStack() as children, on(core):
        started = time.perf_counter()
        port, pid = children.enter_context(child(command or ("-m", f"trunkline_{name}"), given, at.directory))
        await serving(port)
        target, door = f"127.0.0.1:{port}", 0
        if gateway:
            door, _ = children.enter_context(
                child(("-m", "trunkline_gateway"), {name.upper(): target}, at.directory)
            )
            await serving(door)
        os.sched_setaffinity(0, {cores()[1]})
        yield Served(target, f"127.0.0.1:{door}" if door else "", psutil.Process(pid), started)


def waited_s(process: psutil.Process) -> float:
    """How long its threads were ready and had no core, so far: what other processes cost it, and its own threads."""
    waited = 0.0
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        try:
            waited += int((thread / "schedstat").read_text().split()[1]) / 1e9
        except OSError:
            continue  # it has ended
    return waited


@contextmanager
def child(command: Sequence[str], settings: Mapping[str, str], directory: Path) -> Iterator[tuple[int, int]]:
    """A server of ours; its port and its process id. What it logged is shown when it failed."""
    port = free_port()
    given = {"PORT": str(port), "METRICS_PORT": "0", "LOG_LEVEL": "warning"} | dict(settings)
    log = directory / f"{command[-1]}-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment(given), stdout=output, stderr=output, cwd=ROOT
        )
    try:
        yield port, process.pid
    finally:
        ended = process.poll()
        process.terminate()
        process.wait()
        if ended is not None:
            sys.stderr.write(f"{command} ended with {ended}: {log.read_text()[-2000:]}\n")


async def serving(port: int) -> None:
    """Returns when the server is ready."""
    async with asyncio.timeout(READY_S):
        while not await is_serving(f"127.0.0.1:{port}"):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(POLL_S)
