"""ScoreTransaction through the gateway at 100 requests/s, open loop, beside a bare chain of three hops.

The suite is the one that `trunkline up` starts, on one core with its stores; the load has the other. The bare
chain is three grpc.aio + uvloop processes that pass bytes on, on the same core in turn. Latencies count from the
moment at which a request was due, so that a stall delays no later request out of the figures.

    python -m bench.score_transaction [--seconds 5] [--rounds 4] [--rate 100]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import grpc
import grpc.aio
import uvloop

from trunkline.features.v1 import features_pb2
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline.ranking.v1 import ranking_pb2
from trunkline.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from trunkline_fraud.stream import Replay, Step
from trunkline_local.spans import SpanStore
from trunkline_local.waterfall import hops

PORT_BASE = 45050
CHAIN_PORTS = (45150, 45151, 45152)
TRACED = 200


async def bare_hop(port: int, upstream: int) -> None:
    """A server that passes bytes to the next one, or answers them when it is the last."""
    forward: Callable[[bytes], Awaitable[bytes]] | None = None
    if upstream:
        forward = grpc.aio.insecure_channel(f"127.0.0.1:{upstream}").unary_unary("/bare.Chain/Hop")

    async def hop(request: bytes, _: object) -> bytes:
        return await forward(request) if forward else request

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(hop)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Chain", {"Hop": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


async def open_loop(send: Callable[[int], Awaitable[object]], rate: float, seconds: float) -> list[float]:
    """Latencies in ms of calls that are due at a fixed rate, whether or not earlier ones have been answered."""
    count = int(rate * seconds)
    begin = time.perf_counter() + 0.05
    took = [0.0] * count

    async def one(number: int) -> None:
        await send(number)
        took[number] = (time.perf_counter() - begin - number / rate) * 1e3

    async with asyncio.TaskGroup() as calls:
        for number in range(count):
            await asyncio.sleep(begin + number / rate - time.perf_counter())
            calls.create_task(one(number))
    return took


def request_of(step: Step) -> ranking_pb2.ScoreTransactionRequest:
    request = ranking_pb2.ScoreTransactionRequest(
        transaction=ranking_pb2.Transaction(
            customer_id=step.customer_id, terminal_id=step.terminal_id, amount=step.amount
        )
    )
    request.transaction.time.FromMicroseconds(step.time_us)
    return request


async def warm_features(channel: grpc.aio.Channel, replay: Replay) -> None:
    stub = FeatureServiceStub(channel)
    for table in replay.tables():
        columns = [
            features_pb2.Column(
                feature=name, values=features_pb2.Values(float64=features_pb2.Float64Values(values=values))
            )
            for name, values in zip(table.fields, table.columns, strict=True)
        ]
        await stub.WriteFeatures(
            features_pb2.WriteFeaturesRequest(
                view=f"views/{table.view}",
                entity_ids=table.entity_ids,
                event_times_us=table.event_times_us,
                columns=columns,
            )
        )


def quantile(samples: list[float], q: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(q * len(samples)))]


async def measure(data_dir: Path, rate: float, seconds: float, rounds: int) -> dict[str, object]:
    door = grpc.aio.insecure_channel(f"127.0.0.1:{PORT_BASE}")
    chain = grpc.aio.insecure_channel(f"127.0.0.1:{CHAIN_PORTS[0]}").unary_unary("/bare.Chain/Hop")
    replay = Replay.simulate(datetime.now(UTC))
    await warm_features(door, replay)
    requests = [request_of(step) for step in replay.steps()]
    payloads = [request.SerializeToString() for request in requests]
    score = RankingServiceStub(door).ScoreTransaction

    def suite(number: int) -> Awaitable[object]:
        return score(requests[number % len(requests)], timeout=2)

    def bare(number: int) -> Awaitable[object]:
        return chain(payloads[number % len(payloads)], timeout=2)

    await open_loop(suite, rate, 2)
    await open_loop(bare, rate, 1)
    took: dict[str, list[list[float]]] = defaultdict(list)
    for _ in range(rounds):
        took["suite"].append(await open_loop(suite, rate, seconds))
        took["bare"].append(await open_loop(bare, rate, seconds))
    figures: dict[str, object] = {"rate": rate, "seconds": seconds, "rounds": rounds}
    medians: dict[tuple[str, float], float] = {}
    for name, runs in took.items():
        for q in (0.5, 0.99):
            medians[name, q] = statistics.median(quantile(run, q) for run in runs)
            figures[f"{name}_p{q * 100:.0f}_ms"] = round(medians[name, q], 2)
    for q in (0.5, 0.99):
        figures[f"ratio_p{q * 100:.0f}"] = round(medians["suite", q] / medians["bare", q], 2)

    traces = [secrets.token_hex(16) for _ in range(TRACED)]
    for number, trace in enumerate(traces):
        parent = f"00-{trace}-{secrets.token_hex(8)}-01"
        await score(requests[number], timeout=2, metadata=(("traceparent", parent),))
    figures["self_ms_per_hop_p50"] = await per_hop(data_dir, traces)
    await door.close()
    return figures


async def per_hop(data_dir: Path, traces: list[str]) -> dict[str, float]:
    """Median time in ms that each service, and what lies between services, takes of a request by itself."""
    samples: dict[str, list[float]] = defaultdict(list)
    with SpanStore(data_dir / "spans.sqlite") as spans:
        async with asyncio.timeout(10):
            while not any(  # noqa: ASYNC110 - another process writes them
                trace.trace_id == traces[-1] and trace.spans > 5 for trace in spans.latest(5)
            ):
                await asyncio.sleep(0.1)
        for trace in traces[: TRACED - 20]:
            for service, nanoseconds in hops(spans.trace(trace)).items():
                samples[service].append(nanoseconds / 1e6)
    return {service: round(statistics.median(values), 3) for service, values in sorted(samples.items())}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--hop", type=int, nargs=2, metavar=("PORT", "UPSTREAM"), help=argparse.SUPPRESS)
    options = parser.parse_args(sys.argv[1:] if __name__ == "__main__" else [])
    if options.hop:
        uvloop.run(bare_hop(*options.hop))
        return
    cores = sorted(os.sched_getaffinity(0))
    trunkline = [str(Path(sys.executable).parent / "trunkline")]
    with tempfile.TemporaryDirectory() as directory:
        os.sched_setaffinity(0, {cores[0]})  # inherited by what is started now
        chain = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.score_transaction", "--hop", str(port), str(upstream)]
            )
            for port, upstream in zip(CHAIN_PORTS, (*CHAIN_PORTS[1:], 0), strict=True)
        ]
        try:
            up = [*trunkline, "up", "--detach", "--data-dir", directory, "--port-base", str(PORT_BASE)]
            subprocess.run(up, check=True, stdout=subprocess.DEVNULL)
            os.sched_setaffinity(0, {cores[-1]})
            figures = uvloop.run(measure(Path(directory), options.rate, options.seconds, options.rounds))
            print(json.dumps(figures, indent=2))
        finally:
            subprocess.run(
                [*trunkline, "down", "--data-dir", directory], check=False, stdout=subprocess.DEVNULL
            )
            for process in chain:
                process.send_signal(signal.SIGTERM)
                process.wait()


if __name__ == "__main__":
    main()
