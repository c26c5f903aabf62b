"""The whole suite under an open loop, beside bare hops in the same shape: what the benchmarks of a journey share.

The suite is the one that `trunkline up` starts, on one core with its stores; the load has the other. The bare
hops are grpc.aio + uvloop processes that pass bytes on, on the same core in turn. With `--all-cores` nothing is bound
to a core. Latencies count from the moment at which a request was due, so that a stall delays no later request out of
the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import uvloop

from trunkline_local.spans import SpanStore
from trunkline_local.waterfall import hops

PORT_BASE = 45050
GATEWAY = f"127.0.0.1:{PORT_BASE}"
CHAIN_BASE = 45150
TRACED = 200
BARE = "/bare.Chain/Hop"

Send = Callable[[int], Awaitable[object]]
"""Sends the request of a number."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is sent."""

    rate: float
    """Requests a second."""
    seconds: float
    """Of one round."""
    rounds: int
    all_cores: bool
    """True to let suite, bare hops and load run on every core."""


def arguments(about: str | None, name: str) -> Load:
    """The load that the command line asks for; the defaults when the benchmark is one of several."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--all-cores", action="store_true", help="bind nothing to a core")
    given = parser.parse_args(sys.argv[1:] if name == "__main__" else [])
    return Load(given.rate, given.seconds, given.rounds, given.all_cores)


async def bare_hop(port: int, upstreams: Sequence[int]) -> None:
    """A server that passes bytes to others, one after the other, or answers them when there are none."""
    calls = [grpc.aio.insecure_channel(f"127.0.0.1:{upstream}").unary_unary(BARE) for upstream in upstreams]

    async def hop(request: bytes, _: object) -> bytes:
        for call in calls:
            await call(request)
        return request

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(hop)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Chain", {"Hop": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


@contextmanager
def suite_beside(shape: Mapping[int, Sequence[int]], load: Load) -> Iterator[Path]:
    """Runs the suite and the bare hops on the first core, this process on the last one.

    Args:
        shape: which hops each hop calls in turn; hop 0 is the door.
        load: says whether to bind anything at all.

    Yields:
        The suite's data directory.
    """
    cores = sorted(os.sched_getaffinity(0))
    theirs, ours = (set(cores), set(cores)) if load.all_cores else ({cores[0]}, {cores[-1]})
    trunkline = [str(Path(sys.executable).parent / "trunkline")]
    with tempfile.TemporaryDirectory() as directory:
        os.sched_setaffinity(0, theirs)  # inherited by what is started now
        bare = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.chain", *(str(CHAIN_BASE + hop) for hop in (number, *called))]
            )
            for number, called in shape.items()
        ]
        try:
            up = [*trunkline, "up", "--detach", "--data-dir", directory, "--port-base", str(PORT_BASE)]
            subprocess.run(up, check=True, stdout=subprocess.DEVNULL)
            os.sched_setaffinity(0, ours)
            yield Path(directory)
        finally:
            subprocess.run(
                [*trunkline, "down", "--data-dir", directory], check=False, stdout=subprocess.DEVNULL
            )
            for process in bare:
                process.send_signal(signal.SIGTERM)
                process.wait()
            os.sched_setaffinity(0, set(cores))


async def open_loop(send: Send, rate: float, seconds: float) -> list[float]:
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


async def compare(suite: Send, payloads: Sequence[bytes], load: Load) -> dict[str, object]:
    """Rounds of the suite and of the bare hops in turn: medians over rounds, and their ratios."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{CHAIN_BASE}")
    hop = channel.unary_unary(BARE)

    def bare(number: int) -> Awaitable[object]:
        return hop(payloads[number % len(payloads)], timeout=2)

    await open_loop(suite, load.rate, 2)
    await open_loop(bare, load.rate, 1)
    took: dict[str, list[list[float]]] = defaultdict(list)
    for _ in range(load.rounds):
        took["suite"].append(await open_loop(suite, load.rate, load.seconds))
        took["bare"].append(await open_loop(bare, load.rate, load.seconds))
    await channel.close()
    figures: dict[str, object] = {"rate": load.rate, "seconds": load.seconds, "rounds": load.rounds}
    medians: dict[tuple[str, float], float] = {}
    for name, runs in took.items():
        for q in (0.5, 0.99):
            medians[name, q] = statistics.median(quantile(run, q) for run in runs)
            figures[f"{name}_p{q * 100:.0f}_ms"] = round(medians[name, q], 2)
    for q in (0.5, 0.99):
        figures[f"ratio_p{q * 100:.0f}"] = round(medians["suite", q] / medians["bare", q], 2)
    return figures


def quantile(samples: Sequence[float], q: float) -> float:
    """The nearest-rank quantile."""
    return sorted(samples)[min(len(samples) - 1, int(q * len(samples)))]


async def per_hop(
    data_dir: Path, send: Callable[[int, str], Awaitable[object]], spans_each: int
) -> dict[str, float]:
    """Median time in ms that each service, and what lies between services, takes of a request by itself.

    Args:
        data_dir: of the suite.
        send: sends the request of a number with a `traceparent`.
        spans_each: a trace with at least so many spans is whole.
    """
    traces = [secrets.token_hex(16) for _ in range(TRACED)]
    for number, trace in enumerate(traces):
        await send(number, f"00-{trace}-{secrets.token_hex(8)}-01")
    samples: dict[str, list[float]] = defaultdict(list)
    with SpanStore(data_dir / "spans.sqlite") as spans:
        async with asyncio.timeout(10):
            while not any(  # noqa: ASYNC110 - another process writes them
                trace.trace_id == traces[-1] and trace.spans >= spans_each for trace in spans.latest(5)
            ):
                await asyncio.sleep(0.1)
        for trace in traces[: TRACED - 20]:
            for service, nanoseconds in hops(spans.trace(trace)).items():
                samples[service].append(nanoseconds / 1e6)
    return {service: round(statistics.median(values), 3) for service, values in sorted(samples.items())}


if __name__ == "__main__":
    own, *others = (int(port) for port in sys.argv[1:])
    uvloop.run(bare_hop(own, others))
