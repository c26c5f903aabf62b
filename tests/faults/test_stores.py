"""The embedded stores die, and processes hang, under the real supervisor: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from conditions import BOUND_S, tick, until
from process_parts import Load, Processes
from suite_parts import Client, shipped

from trunkline.features.v1 import features_pb2 as fv
from trunkline.registry.v1 import registry_pb2 as rg

FEATURE = "count_1d"
VIEW = "customer_activity"
WRITERS = 3
MORE = 20
"""Acknowledgements to wait for, of each kind, before and after a death."""
MODEL = "models/ledger"


# Not async: it outlives the event loop of every test.
@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    directory: Path = tmp_path_factory.mktemp("stores") / "data"
    suite = Processes(directory)
    suite.start()
    try:
        asyncio.run(suite.running())
        yield suite
    finally:
        asyncio.run(suite.stop())


class Ledger:
    """Callers that write, and what they were told had been written."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.values: dict[str, float] = {}
        """The last acknowledged one, by entity."""
        self.versions: dict[str, str] = {}
        """Request id by the name of a version that was acknowledged."""
        self.acknowledged = 0
        self._over = False
        self._files: dict[str, str] = {}

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        files = shipped()[0].files()
        self._files = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        await self._client.registry.CreateModel(rg.CreateModelRequest(model_id=MODEL.partition("/")[2]))
        for name, content in files.items():
            await self._client.registry.UploadArtifact(_parts(self._files[name], content))
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(self._features(f"customer-{number}"))
            group.create_task(self._register())
            try:
                yield
            finally:
                self._over = True

    async def more(self) -> None:
        """Returns when so much more was acknowledged of either kind."""
        values, versions = self.acknowledged + MORE, len(self.versions) + MORE
        await until(lambda: self.acknowledged >= values and len(self.versions) >= versions, 60)

    async def _features(self, entity: str) -> None:
        value = 0.0
        fields = [
            field["name"] for view in shipped()[0].views() if view["name"] == VIEW for field in view["fields"]
        ]
        while not self._over:
            value += 1
            numbers = fv.Values(float64=fv.Float64Values(values=[value]))
            request = fv.WriteFeaturesRequest(
                view=f"views/{VIEW}",
                entity_ids=[entity],
                event_times_us=[time.time_ns() // 1000],
                columns=[fv.Column(feature=name, values=numbers) for name in fields],
            )
            if await self._done(self._client.features.WriteFeatures(request, timeout=5)) is not None:
                self.values[entity] = value
                self.acknowledged += 1

    async def _register(self) -> None:
        number = 0
        while not self._over:
            number += 1
            request = rg.CreateModelVersionRequest(
                parent=MODEL,
                model_version=rg.ModelVersion(
                    format=rg.FORMAT_ONNX,
                    files=[rg.ModelFile(path=path, sha256=digest) for path, digest in self._files.items()],
                    labels={"number": str(number)},
                ),
                request_id=f"ledger-{number}",
            )
            made = await self._done(self._client.registry.CreateModelVersion(request, timeout=5))
            if made is not None:
                self.versions[made.model_version.name] = str(number)

    async def _done(self, call: Any) -> Any:
        """The answer; None when there was none, and nobody knows whether it was done."""
        try:
            async with asyncio.timeout(BOUND_S):
                return await call
        except grpc.aio.AioRpcError:
            await tick()
            return None

    async def check(self) -> None:
        """Everything that was acknowledged is there."""
        for entity, value in self.values.items():
            request = fv.GetOnlineFeaturesRequest(
                features=[f"{VIEW}:{FEATURE}"],
                entities=[fv.EntityIds(entity_type="customer", ids=[entity])],
            )
            (column,) = (await self._client.features.GetOnlineFeatures(request)).columns
            assert list(column.statuses) == [fv.FEATURE_STATUS_PRESENT]
            assert column.values.float64.values[0] >= value, entity
        for name, number in self.versions.items():
            found = await self._client.registry.GetModelVersion(rg.GetModelVersionRequest(name=name))
            assert found.model_version.labels["number"] == number


async def _parts(sha256: str, content: bytes) -> AsyncIterator[rg.UploadArtifactRequest]:
    yield rg.UploadArtifactRequest(header=rg.ArtifactHeader(sha256=sha256, size_bytes=len(content)))
    yield rg.UploadArtifactRequest(chunk=content)


async def test_kill_9_of_both_stores_loses_nothing_that_was_acknowledged(processes: Processes) -> None:
    async with processes.client() as client:
        ledger = Ledger(client)
        async with ledger.writing():
            await ledger.more()
            for name in ("valkey", "postgres", "valkey", "postgres"):
                await processes.replaced(name, processes.signal(name, signal.SIGKILL))
                await ledger.more()
        await ledger.check()


async def test_processes_that_hang_are_replaced_and_calls_are_whole_again(processes: Processes) -> None:
    hung = ("valkey", "postgres", "ranking-2")
    async with processes.client() as client, Load(client) as load:
        before = {name: processes.signal(name, signal.SIGSTOP) for name in hung}
        for name, pid in before.items():
            await processes.replaced(name, pid)
        await load.whole_again()
    assert load.outside_the_catalogue() == []
