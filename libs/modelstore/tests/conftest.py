"""A registry and an engine in this process, which fail, lie and hesitate as a test tells them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from trunkline_hop.errors import NotFound, Unavailable
from trunkline_modelstore import File, LocalVersion, ModelStore, ServingSet, Version, digest_of, refused
from trunkline_modelstore.registry import Event

MODEL = "models/fraud"
BOUND_S = 20.0
POLL_S = 0.005
CHUNK = 1000


class FakeRegistry:
    """Versions, their files, and everybody who watches."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.versions: dict[str, Version] = {}
        self.history: list[Event] = []
        self.watches: list[tuple[tuple[str, ...], str]] = []
        self.downloads: list[tuple[str, int]] = []
        self.down = False
        self.deliver: Callable[[bytes, int], bytes] = lambda content, offset: content[offset:]
        """What a download of `content` from an offset sends."""
        self.gate = asyncio.Event()
        """Downloads pause after their first chunk until it is set."""
        self.gate.set()
        self._changed = asyncio.Condition()
        self.open = 0

    def version(self, number: int, content: bytes | None = None, model: str = MODEL) -> Version:
        content = f"model {number} ".encode() * 400 if content is None else content
        sha256 = hashlib.sha256(content).hexdigest()
        self.files[sha256] = content
        files = (File("model.bin", sha256, len(content)),)
        version = Version(f"{model}/versions/{number}", digest_of(files), files)
        self.versions[version.name] = version
        return version

    async def send(self, event: Event) -> None:
        async with self._changed:
            self.history.append(event)
            self._changed.notify_all()

    async def serve(self, production: Version | None, *candidates: Version, model: str = MODEL) -> None:
        versions = (*candidates, *([in_production(production)] if production else []))
        await self.send(ServingSet(model, versions, f"token-{len(self.history)}"))

    async def die(self) -> None:
        async with self._changed:
            self.down = True
            self._changed.notify_all()

    async def watch(self, models: Sequence[str], resume_token: str) -> AsyncGenerator[Event, None]:
        self.watches.append((tuple(models), resume_token))
        position = 0 if not resume_token else 1 + self._position(resume_token)

        def due() -> bool:
            return self.down or position < len(self.history)

        self.open += 1
        try:
            while True:
                async with self._changed:
                    await self._changed.wait_for(due)
                if self.down:
                    raise Unavailable("UNREACHABLE", "registry is down")
                position += 1
                yield self.history[position - 1]
        finally:
            self.open -= 1

    def _position(self, token: str) -> int:
        return next(i for i, event in enumerate(self.history) if event.resume_token == token)

    async def get(self, name: str) -> Version:
        if self.down:
            raise Unavailable("UNREACHABLE", "registry is down")
        if name not in self.versions:
            raise NotFound("VERSION_UNKNOWN", name, resource_type="version", resource_name=name)
        return self.versions[name]

    async def download(self, sha256: str, offset_bytes: int) -> AsyncGenerator[bytes, None]:
        self.downloads.append((sha256, offset_bytes))
        if self.down:
            raise Unavailable("UNREACHABLE", "registry is down")
        self.open += 1
        try:
            content = self.deliver(self.files[sha256], offset_bytes)
            for start in range(0, len(content), CHUNK):
                if start:
                    await self.gate.wait()
                if self.down:
                    raise Unavailable("UNREACHABLE", "registry is down")
                yield content[start : start + CHUNK]
        finally:
            self.open -= 1


class Engine:
    """A loader whose models are the bytes of their file; it knows which of them are alive."""

    def __init__(self) -> None:
        self.alive: list[str] = []
        self.loaded: list[str] = []
        self.refuse: set[str] = set()
        self.fail: set[str] = set()
        self.fail_to_warm: set[str] = set()
        self.gates: dict[str, threading.Event] = {}
        self.entered: dict[str, threading.Event] = {}
        self.size: int | None = None

    def hold(self, version: Version) -> threading.Event:
        """Loads of the version wait, in their thread, until the event returned is set."""
        self.entered[version.name] = threading.Event()
        return self.gates.setdefault(version.name, threading.Event())

    def load(self, version: LocalVersion) -> tuple[str, bytes]:
        if version.name in self.gates:
            self.entered[version.name].set()
            assert self.gates[version.name].wait(BOUND_S)
        if version.name in self.refuse:
            raise refused(version.name, "its graph has no output")
        if version.name in self.fail:
            raise RuntimeError("out of luck")
        self.alive.append(version.name)
        self.loaded.append(version.name)
        return version.name, version.files["model.bin"].read_bytes()

    def size_bytes(self, model: tuple[str, bytes]) -> int:
        return len(model[1]) if self.size is None else self.size

    def warm(self, model: tuple[str, bytes]) -> None:
        if model[0] in self.fail_to_warm:
            raise RuntimeError("cold")

    def unload(self, model: tuple[str, bytes]) -> None:
        self.alive.remove(model[0])


def in_production(version: Version) -> Version:
    return Version(version.name, version.digest, version.files, production=True)


async def until(condition: Callable[[], object]) -> None:
    """Waits for a condition on the event loop's state, with a bound."""
    async with asyncio.timeout(BOUND_S):
        while not condition():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), POLL_S)


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], object]], Awaitable[None]]:
    return until


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def engine() -> Engine:
    return Engine()


Make = Callable[..., ModelStore[tuple[str, bytes]]]


@pytest.fixture
def make(registry: FakeRegistry, engine: Engine, tmp_path: Path) -> Make:
    """Makes a store on that registry and engine. Pauses take no time but a turn of the loop."""

    async def pause(_: float) -> None:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)

    def make(**changes: object) -> ModelStore[tuple[str, bytes]]:
        arguments: dict[str, object] = {
            "models": [MODEL],
            "cache_dir": tmp_path / "cache",
            "budget_bytes": 100_000,
            "wait_s": BOUND_S,
            "used_share": lambda: 0.1,
            "sleep": pause,
            "rng": random.Random(7),
        }
        return ModelStore(engine, registry, **(arguments | changes))  # type: ignore[arg-type]

    return make
