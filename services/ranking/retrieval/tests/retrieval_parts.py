"""Replicas as they are started everywhere: processes that share a directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
from numpy.typing import ArrayLike

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline.retrieval.v1.retrieval_pb2_grpc import VectorServiceStub
from trunkline_hop import Channel, connect
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.errors import Unavailable

BOUND_S = 60.0
DIMENSION = 8


async def until(condition: Callable[[], Awaitable[Any]], bound_s: float = BOUND_S) -> Any:
    """What the condition returns once that is true."""
    async with asyncio.timeout(bound_s):
        while not (result := await condition()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        return result


class Replica:
    """One process, and a client of it that raises Faults and never tries twice."""

    def __init__(self, directory: Path, port: int, settings: dict[str, str]) -> None:
        self.port = port
        self.target = f"127.0.0.1:{port}"
        self.process: asyncio.subprocess.Process | None = None
        self._settings = {
            "TRUNKLINE_PORT": str(port),
            "TRUNKLINE_METRICS_PORT": "0",
            "TRUNKLINE_BLOB_DIR": str(directory),
            "TRUNKLINE_LOG_LEVEL": "warning",
        } | {f"TRUNKLINE_{key}": value for key, value in settings.items()}
        self._channel: Channel | None = None
        self.stub: VectorServiceStub

    async def start(self) -> Replica:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TRUNKLINE_")}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "trunkline_retrieval",
            env=environment | self._settings,
            stdout=asyncio.subprocess.DEVNULL,
        )
        self.attach()
        await self.ready()
        await until(self._connected)
        return self

    def attach(self) -> None:
        """Opens the client, unless it is open."""
        if self._channel is None:
            settings = ClientSettings(
                attempts=1,
                health_check=False,
                breaker_failures=10**6,
                breaker_error_rate=1.0,
                breaker_calls=10**6,
            )
            self._channel = connect("retrieval", self.target, settings)
            self.stub = VectorServiceStub(self._channel)

    async def _connected(self) -> bool:
        try:
            await self.stub.ListIndexes(pb.ListIndexesRequest())
        except Unavailable:  # a channel from before a restart waits before it connects again
            return False
        return True

    async def ready(self) -> None:
        """Returns once every index was loaded."""
        async with grpc.aio.insecure_channel(self.target) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")

            async def serving() -> bool:
                assert self.process is None or self.process.returncode is None, "the process ended"
                answer: bytes = await check(b"", wait_for_ready=True, timeout=BOUND_S)
                return answer == b"\x08\x01"

            await until(serving)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> int:
        assert self.process is not None
        async with asyncio.timeout(BOUND_S):
            return await self.process.wait()

    async def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def close(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        if self._channel is not None:
            await self._channel.close()

    # What tests say often.

    async def create(self, index_id: str = "books", **fields: Any) -> pb.Index:
        given: dict[str, Any] = {"dimension": DIMENSION, "metric": pb.METRIC_SQUARED_L2} | fields
        request = pb.CreateIndexRequest(index_id=index_id, index=pb.Index(**given))
        return (await self.stub.CreateIndex(request)).index

    async def index(self, index_id: str = "books") -> pb.Index:
        return (await self.stub.GetIndex(pb.GetIndexRequest(name=f"indexes/{index_id}"))).index

    async def upsert(
        self, vectors: dict[str, ArrayLike], index_id: str = "books", timeout: float = 20, **attributes: Any
    ) -> int:
        request = pb.UpsertVectorsRequest(index=f"indexes/{index_id}")
        for name, values in vectors.items():
            vector = request.vectors.add(id=name, values=np.asarray(values, np.float32).tolist())
            if attributes:
                vector.attributes.update(attributes)
        return (await self.stub.UpsertVectors(request, timeout=timeout)).sequence

    async def delete(self, ids: Sequence[str], index_id: str = "books", timeout: float = 20) -> int:
        request = pb.DeleteVectorsRequest(index=f"indexes/{index_id}", ids=ids)
        return (await self.stub.DeleteVectors(request, timeout=timeout)).sequence

    async def search(
        self, query: ArrayLike, top_k: int = 10, index_id: str = "books", timeout: float = 20, **fields: Any
    ) -> pb.SearchResponse:
        queries = [pb.Query(values=each.tolist()) for each in np.atleast_2d(np.asarray(query, np.float32))]
        request = pb.SearchRequest(index=f"indexes/{index_id}", queries=queries, top_k=top_k, **fields)
        return await self.stub.Search(request, timeout=timeout)

    async def ids(self, index_id: str = "books", **fields: Any) -> set[str]:
        """All ids that a search finds, up to 1000."""
        answer = await self.search(np.zeros(DIMENSION), 1000, index_id, **fields)
        return set(answer.results[0].ids)

    async def build(self, index_id: str = "books", **fields: Any) -> pb.Snapshot:
        request = pb.BuildSnapshotRequest(index=f"indexes/{index_id}", **fields)
        return (await self.stub.BuildSnapshot(request)).snapshot

    async def snapshot(self, name: str) -> pb.Snapshot:
        return (await self.stub.GetSnapshot(pb.GetSnapshotRequest(name=name))).snapshot

    async def built(self, index_id: str = "books", **fields: Any) -> pb.Snapshot:
        """A snapshot that was built, and is READY, ACTIVE or FAILED."""
        name = (await self.build(index_id, **fields)).name
        wanted = pb.SNAPSHOT_STATE_READY if fields.get("hold") else pb.SNAPSHOT_STATE_ACTIVE

        async def done() -> pb.Snapshot | None:
            snapshot = await self.snapshot(name)
            return snapshot if snapshot.state in (wanted, pb.SNAPSHOT_STATE_FAILED) else None

        found: pb.Snapshot = await until(done)
        return found


def vectors(first: int, last: int) -> dict[str, ArrayLike]:
    """Vectors by id, each from its own number."""
    return {
        f"v{n}": np.random.default_rng(n).standard_normal(DIMENSION).astype(np.float32)
        for n in range(first, last + 1)
    }
