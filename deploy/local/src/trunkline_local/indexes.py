"""Puts the items of this checkout's recommenders into the vector index, through its own API, as often as one likes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import grpc.aio
import numpy as np
from safetensors.numpy import load_file

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline.retrieval.v1.retrieval_pb2_grpc import VectorServiceStub
from trunkline_local.catalog import Bundle

TASK = "recommend"
CHUNK_ITEMS = 1000
TIMEOUT_S = 20.0
POLL_S = 0.05


class IndexFailed(RuntimeError):
    """An index could not be built. The message says why."""


async def fill(target: str, models: Sequence[Bundle]) -> None:
    """Creates the index of every recommender and puts its items in, unless that was done before.

    An index with a snapshot in use is left as it is: what was added to it or deleted since is somebody's
    decision.

    Args:
        target: of the retrieval service.
        models: whose `signature.json` names an `index` when they recommend.

    Raises:
        grpc.aio.AioRpcError: the service refused something, or is gone.
        IndexFailed: the snapshot does not hold what its budget asks.
    """
    async with grpc.aio.insecure_channel(target) as channel:
        stub = VectorServiceStub(channel)
        for model in models:
            signature = model.signature()
            if signature["task"] == TASK:
                await _fill(stub, model, signature)


async def _fill(stub: Any, model: Bundle, signature: dict[str, Any]) -> None:
    name = f"indexes/{signature['index']}"
    await _create(stub, model, signature)
    found = (await stub.GetIndex(pb.GetIndexRequest(name=name), timeout=TIMEOUT_S)).index
    if found.active_snapshot:
        return
    for vectors in _vectors(model):
        await stub.UpsertVectors(pb.UpsertVectorsRequest(index=name, vectors=vectors), timeout=TIMEOUT_S)
    answer = await stub.BuildSnapshot(pb.BuildSnapshotRequest(index=name), timeout=TIMEOUT_S)
    await until_active(stub, answer.snapshot)


async def until_active(stub: Any, snapshot: pb.Snapshot) -> pb.Snapshot:
    """Waits until a snapshot that is being built is in use.

    Raises:
        IndexFailed: it never will be.
    """
    while snapshot.state != pb.SNAPSHOT_STATE_ACTIVE:
        if snapshot.state == pb.SNAPSHOT_STATE_FAILED:
            raise IndexFailed(f"{snapshot.name}: {snapshot.error}")
        await asyncio.sleep(POLL_S)
        snapshot = (
            await stub.GetSnapshot(pb.GetSnapshotRequest(name=snapshot.name), timeout=TIMEOUT_S)
        ).snapshot
    return snapshot


async def _create(stub: Any, model: Bundle, signature: dict[str, Any]) -> None:
    request = pb.CreateIndexRequest(
        index_id=signature["index"],
        index=pb.Index(
            dimension=signature["dimension"],
            metric=pb.Metric.Value(f"METRIC_{signature['metric'].upper()}"),
            description=f"Items of {model.name}",
            labels={"model": model.model_id},
        ),
    )
    try:
        await stub.CreateIndex(request, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


def _vectors(model: Bundle) -> Iterator[list[pb.Vector]]:
    """The items as the index takes them, in messages of a thousand."""
    items = json.loads((model.artifact / "items.json").read_bytes())["items"]
    embeddings = load_file(model.artifact / "items.safetensors")["embeddings"].astype(np.float32)
    for start in range(0, len(items), CHUNK_ITEMS):
        chunk = []
        rows = embeddings[start : start + CHUNK_ITEMS].tolist()
        for item, row in zip(items[start : start + CHUNK_ITEMS], rows, strict=True):
            vector = pb.Vector(id=item["id"], values=row)
            vector.attributes.update(item["attributes"])
            chunk.append(vector)
        yield chunk
