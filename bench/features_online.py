"""GetOnlineFeatures of 50 float64 features, server side: handler entry to exit, raw samples, concurrency 1.

The service has one core; the caller and a private Valkey share the other. Whatever else runs there takes
time slices of milliseconds, so that each figure is that of the quietest of five rounds, beside the median one.

    python -m bench.features_online
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trunkline.features.v1 import features_pb2 as pb
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline_features.catalog import Catalog, Mutation
from trunkline_features.columns import Values, WriteColumn
from trunkline_features.online import OnlineStore, Write
from trunkline_features.redis_rows import RedisRows
from trunkline_features.redis_views import RedisViews
from trunkline_features.service import FeatureService
from trunkline_features.settings import Settings
from trunkline_features.views import FeatureView, Field, FieldType
from trunkline_hop.call import Call
from trunkline_hop.server import Server, running
from trunkline_local.embedded import Valkey
from trunkline_valkey import Store

FEATURES = 50
CALLS = {1: 2000, 10: 1500, 100: 1000}
"""Calls of a round, by rows."""
ROUNDS = 5
WARM_UP = 500


class Timed(FeatureService):
    """The service with a stopwatch around the handler."""

    samples_s: list[float]

    async def GetOnlineFeatures(
        self, request: pb.GetOnlineFeaturesRequest, call: Call
    ) -> pb.GetOnlineFeaturesResponse:
        start = time.perf_counter()
        reply = await super().GetOnlineFeatures(request, call)
        self.samples_s.append(time.perf_counter() - start)
        return reply


def quantile_ms(samples_s: list[float], q: float) -> float:
    return sorted(samples_s)[min(len(samples_s) - 1, int(len(samples_s) * q))] * 1000


async def client(target: str, rows: int) -> None:
    """Prints the caller's latencies as JSON."""
    import grpc.aio

    request = pb.GetOnlineFeaturesRequest(
        features=[f"bench:f{number}" for number in range(FEATURES)],
        entities=[pb.EntityIds(entity_type="customer", ids=[str(number) for number in range(rows)])],
    )
    samples = []
    async with grpc.aio.insecure_channel(target) as channel:
        stub = FeatureServiceStub(channel)
        for _ in range(WARM_UP + CALLS[rows]):
            start = time.perf_counter()
            await stub.GetOnlineFeatures(request, timeout=5, wait_for_ready=True)
            samples.append(time.perf_counter() - start)
    sys.stdout.write(json.dumps(samples[WARM_UP:]))


async def fill(catalog: Catalog, online: OnlineStore) -> None:
    fields = tuple(Field(f"f{number}", FieldType.FLOAT64, 0.0) for number in range(FEATURES))
    await catalog.create(FeatureView("bench", "customer", fields, timedelta(days=1)), Mutation())
    ids = [str(number) for number in range(max(CALLS))]
    values = Values(FieldType.FLOAT64, [number / 7 for number in range(len(ids))])
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    await online.write(Write("bench", ids, [now_us], [WriteColumn(field.name, values) for field in fields]))


async def one_round(
    target: str, service: Timed, rows: int, cores: set[int]
) -> tuple[list[float], list[float]]:
    """Samples of the handler and of a caller on those cores, in seconds."""
    service.samples_s = []
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # the caller inherits it
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.features_online", target, str(rows)), stdout=asyncio.subprocess.PIPE
    )
    os.sched_setaffinity(0, ours)
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the caller ended with {process.returncode}")
    return service.samples_s[WARM_UP:], json.loads(output)


async def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    ours, theirs = {cores[0]}, {cores[-1]}
    services: list[Timed] = []

    async def build(server: Server, settings: Settings) -> None:
        store = await server.own(Store(settings.redis_url))
        catalog = Catalog(RedisViews(store, timeout_s=1.0), server.clock)
        rows = RedisRows(store, read_timeout_s=0.25, write_timeout_s=1.0)
        online = OnlineStore(rows, catalog, server.clock)
        await fill(catalog, online)
        services.append(Timed(catalog, online))
        server.add(services[0])

    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as directory:
        os.sched_setaffinity(0, theirs)
        async with Valkey(Path(directory) / "valkey", persistent=False) as valkey:
            os.sched_setaffinity(0, ours)
            try:
                settings = Settings(port=0, metrics_port=0, redis_url=valkey.url)
                async with running("features", settings, build) as server:
                    print(
                        "| GetOnlineFeatures, 50 features | p50 | p99 | p99, median round | p99 at the caller |"
                    )
                    print("|---|---|---|---|---|")
                    for rows in CALLS:
                        rounds = [
                            await one_round(server.target, services[0], rows, theirs) for _ in range(ROUNDS)
                        ]
                        p99 = sorted(quantile_ms(inside, 0.99) for inside, _ in rounds)
                        figures = (
                            min(quantile_ms(inside, 0.5) for inside, _ in rounds),
                            p99[0],
                            p99[ROUNDS // 2],
                            min(quantile_ms(outside, 0.99) for _, outside in rounds),
                        )
                        cells = " | ".join(f"{figure:.2f} ms" for figure in figures)
                        print(f"| {rows} row{'s' if rows > 1 else ''} | {cells} |", flush=True)
            finally:
                os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    import uvloop

    uvloop.run(client(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 1 else main())
