"""Snapshots swapped under a load of searches: nothing fails, and how slow it gets.

One server on one core with 100,000 vectors of 128 and two snapshots of them; 200 searches/s, open loop, from the
other core; the snapshots are activated in turn. Latencies of searches that were due while a swap went on are
compared with those before the first one. Required: no failure, p99 during swaps <= 1.5 x before.

    python -m bench snapshot_swap
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import grpc.aio
import numpy as np
import uvloop

from bench.chain import quantile
from bench.retrieval_search import (
    DIMENSION,
    INDEX,
    TOP_K,
    VECTORS,
    build,
    clustered,
    fill,
    retrieval,
    serving,
)
from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline.retrieval.v1.retrieval_pb2_grpc import VectorServiceStub

RATE = 200.0
CALM_S = 10.0
SWAPS = 10
PAUSE_S = 0.5
ALLOWED = 1.5


class Searches:
    """Searches that are due at a fixed rate until told to end."""

    def __init__(self, stub: VectorServiceStub, requests: list[pb.SearchRequest]) -> None:
        self._stub = stub
        self._requests = requests
        self.took: list[tuple[float, float]] = []
        """When each was due, and how long it took from then, in seconds."""
        self.failures: list[str] = []
        self.snapshots: set[str] = set()
        self.going = True

    async def run(self) -> None:
        began = time.perf_counter()
        number = 0
        async with asyncio.TaskGroup() as calls:
            while self.going:
                due = began + number / RATE
                await asyncio.sleep(due - time.perf_counter())
                calls.create_task(self._one(due, self._requests[number % len(self._requests)]))
                number += 1

    async def _one(self, due: float, request: pb.SearchRequest) -> None:
        try:
            answer = await self._stub.Search(request, timeout=2)
        except grpc.aio.AioRpcError as error:
            self.failures.append(f"{error.code().name} {error.details()}")
            return
        self.took.append((due, time.perf_counter() - due))
        self.snapshots.add(answer.snapshot)


async def measure(port: int) -> dict[str, object]:
    vectors, queries = clustered(VECTORS, 500, DIMENSION)
    await serving(port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = VectorServiceStub(channel)
        await fill(stub, vectors)
        first, second = await build(stub), await build(stub, hold=True)
        requests = [
            pb.SearchRequest(index=INDEX, queries=[pb.Query(values=query)], top_k=TOP_K)
            for query in queries.tolist()
        ]
        searches = Searches(stub, requests)
        running = asyncio.create_task(searches.run())
        await asyncio.sleep(1 + CALM_S)
        calm_until = time.perf_counter()
        swaps: list[tuple[float, float]] = []
        for swap in range(SWAPS):
            target = (second, first)[swap % 2].name
            began = time.perf_counter()
            await stub.ActivateSnapshot(pb.ActivateSnapshotRequest(name=target), timeout=30)
            while target not in searches.snapshots:  # noqa: ASYNC110 - the answers say it
                await asyncio.sleep(0.005)
            swaps.append((began, time.perf_counter()))
            await asyncio.sleep(PAUSE_S)
            searches.snapshots.clear()
        searches.going = False
        await running
    begin = searches.took[0][0] + 1
    calm = [took * 1e3 for due, took in searches.took if begin < due < calm_until]
    during = [took * 1e3 for due, took in searches.took if any(a <= due <= b for a, b in swaps)]
    return {
        "searches": len(searches.took),
        "failures": searches.failures,
        "swaps": SWAPS,
        "swap_s_median": round(float(np.median([b - a for a, b in swaps])), 3),
        "searches_during_swaps": len(during),
        "calm_p50_ms": round(quantile(calm, 0.5), 2),
        "calm_p99_ms": round(quantile(calm, 0.99), 2),
        "swap_p50_ms": round(quantile(during, 0.5), 2),
        "swap_p99_ms": round(quantile(during, 0.99), 2),
        "ratio_p99": round(quantile(during, 0.99) / quantile(calm, 0.99), 2),
    }


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory, retrieval(Path(directory), cores[0]) as port:
        os.sched_setaffinity(0, {cores[-1]})
        figures = uvloop.run(measure(port))
    os.sched_setaffinity(0, set(cores))
    print(json.dumps(figures, indent=2))
    if figures["failures"] or float(str(figures["ratio_p99"])) > ALLOWED:
        sys.exit("missed")


if __name__ == "__main__":
    main()
