"""A registry on a real database and a real directory, without a socket of its own."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from trunkline_hop.clock import SystemClock
from trunkline_registry.artifacts import Artifacts
from trunkline_registry.blobs import DirectoryBlobs
from trunkline_registry.formats import Format
from trunkline_registry.models import Models, ModelText
from trunkline_registry.postgres.database import Database
from trunkline_registry.postgres.feed import Feed
from trunkline_registry.versions import ModelVersion, NewVersion, Versions
from trunkline_registry.watch import Watch

TEXT = ModelText("Fraud", "Scores transactions", {"team": "risk"})
ONNX = b"\x08\x0a\x3a\x02\x0a\x00"
"""The smallest file with an IR version and a graph."""


@dataclass
class Registry:
    """All of it, wired as a process does."""

    database: Database
    feed: Feed
    blobs: DirectoryBlobs
    artifacts: Artifacts
    models: Models
    versions: Versions
    watch: Watch

    async def store(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        await self.artifacts.upload(sha256, len(content), stream(content))
        return sha256

    async def model(self, model_id: str = "fraud") -> str:
        await self.models.create(model_id, TEXT, None)
        return model_id

    async def version(
        self, model_id: str = "fraud", content: bytes = ONNX, **changes: object
    ) -> ModelVersion:
        files = [("model.onnx", await self.store(content))]
        new = NewVersion(**{"format": Format.ONNX, "files": files, "card": "", "labels": {}} | changes)
        return await self.versions.create(model_id, new, None)


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def eventually(true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Returns when it is true; fails when that takes too long."""
    async with asyncio.timeout(timeout_s):
        turn = asyncio.Event()
        while not true():
            asyncio.get_running_loop().call_later(0.005, turn.set)
            await turn.wait()
            turn.clear()


@asynccontextmanager
async def open_registry(dsn: str, directory: Path, *, pool_size: int = 4) -> AsyncIterator[Registry]:
    async with Database.open(dsn, pool_size=pool_size) as store:
        feed = Feed(store, poll_s=0.5)
        following = asyncio.create_task(feed.run())
        try:
            await eventually(lambda: feed.connected or following.done())
            if following.done():
                following.result()
            blobs = DirectoryBlobs.open(directory)
            artifacts = Artifacts(blobs, limit_bytes=2**30)
            clock = SystemClock()
            versions = Versions(store, artifacts, clock)
            yield Registry(
                store, feed, blobs, artifacts, Models(store, clock), versions, Watch(feed, feed.recent)
            )
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
