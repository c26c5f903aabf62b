"""Search of 100,000 vectors of 128, top 100, through the service, beside FAISS in process and the hop's echo.

The server has one core, the load the other. FAISS is asked on the server's core, in this process, with the very
file and parameters that the server uses: back to back, and once more with a pause as long as an echo before each
search, which is how a server meets them. Rounds alternate; what is printed are medians over rounds. Required:
recall >= 0.98, and the service's p50 <= that of FAISS back to back + 1.5 x the echo's.

    python -m bench retrieval_search
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import grpc
import grpc.aio
import numpy as np
import uvloop
from numpy.typing import NDArray

from bench.hop_echo import PATH as ECHO
from bench.hop_echo import EchoRequest, Process
from bench.http2_load import load
from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline.retrieval.v1.retrieval_pb2_grpc import VectorServiceStub
from trunkline_local.services import environment, is_serving

VECTORS, DIMENSION, TOP_K = 100_000, 128, 100
QUERIES = 500
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "1.5"))
CHUNK = 1000
INDEX = "indexes/bench"
SEARCH = "/trunkline.retrieval.v1.VectorService/Search"
REQUIRED_RECALL = 0.98
ALLOWED_ECHOES = 1.5


def clustered(
    count: int, queries: int, dimension: int, seed: int = 5
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit vectors around a thousand centres, and queries from the same distribution."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((1000, dimension), dtype=np.float32)
    rows = centres[random.integers(0, len(centres), count + queries)]
    rows += 0.6 * random.standard_normal(rows.shape, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[:count], rows[count:]


@contextmanager
def retrieval(blobs: Path, core: int) -> Iterator[int]:
    """A retrieval server on one core; its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # inherited
    # No snapshots but those that are asked for.
    settings = {"PORT": str(port), "METRICS_PORT": "0", "BLOB_DIR": str(blobs), "SNAPSHOT_AFTER": "100000000"}
    process = subprocess.Popen(
        [sys.executable, "-m", "trunkline_retrieval"],
        env=environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.sched_setaffinity(0, ours)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


async def serving(port: int) -> None:
    """Waits until the server is ready."""
    async with asyncio.timeout(60):
        while not await is_serving(f"127.0.0.1:{port}"):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)


async def fill(stub: Any, vectors: NDArray[np.float32], **index: Any) -> None:
    """Creates the index and puts all vectors in."""
    spec = pb.Index(dimension=vectors.shape[1], metric=pb.METRIC_INNER_PRODUCT, **index)
    await stub.CreateIndex(pb.CreateIndexRequest(index_id=INDEX.rpartition("/")[2], index=spec))
    for start in range(0, len(vectors), CHUNK):
        rows = vectors[start : start + CHUNK].tolist()
        chunk = [pb.Vector(id=f"v{start + place}", values=row) for place, row in enumerate(rows)]
        await stub.UpsertVectors(pb.UpsertVectorsRequest(index=INDEX, vectors=chunk), timeout=30)


async def build(stub: Any, *, hold: bool = False) -> pb.Snapshot:
    """Builds a snapshot and waits for its end."""
    snapshot = (await stub.BuildSnapshot(pb.BuildSnapshotRequest(index=INDEX, hold=hold))).snapshot
    while snapshot.state in (pb.SNAPSHOT_STATE_BUILDING, pb.SNAPSHOT_STATE_READY):
        if hold and snapshot.state == pb.SNAPSHOT_STATE_READY:
            return snapshot
        await asyncio.sleep(0.2)
        snapshot = (await stub.GetSnapshot(pb.GetSnapshotRequest(name=snapshot.name))).snapshot
    if snapshot.state == pb.SNAPSHOT_STATE_FAILED:
        raise RuntimeError(snapshot.error)
    return snapshot


async def prepared(port: int, calls: list[tuple[bytes, bytes]]) -> tuple[pb.Snapshot, float]:
    """Fills and builds, and asks every query once. The snapshot, and the recall of the answers."""
    vectors, queries = clustered(VECTORS, QUERIES, DIMENSION)
    await serving(port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = VectorServiceStub(channel)
        await fill(stub, vectors)
        snapshot = await build(stub)
        search = channel.unary_unary(SEARCH)
        found = []
        for query in queries:
            request = pb.SearchRequest(index=INDEX, queries=[pb.Query(values=query.tolist())], top_k=TOP_K)
            payload = request.SerializeToString()
            calls.append((payload, await search(payload, timeout=5)))
            found.append(pb.SearchResponse.FromString(calls[-1][1]).results[0].ids)
    exact = np.argpartition(-(queries @ vectors.T), TOP_K, axis=1)[:, :TOP_K]
    hits = sum(len({f"v{row}" for row in best} & set(ids)) for best, ids in zip(exact, found, strict=True))
    return snapshot, hits / exact.size


def in_process(
    index: Any, parameters: Any, queries: NDArray[np.float32], seconds: float, pause_s: float = 0.0
) -> list[float]:
    """Times in seconds of single searches, with a pause before each."""
    took = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for row in range(len(queries)):
            if pause_s:
                time.sleep(pause_s)
            began = time.perf_counter()
            index.search(queries[row : row + 1], TOP_K, params=parameters)
            took.append(time.perf_counter() - began)
    return took


def search_parameters(snapshot: pb.Snapshot) -> Any:
    """What the server gives to FAISS."""
    if snapshot.type == pb.INDEX_TYPE_HNSW:
        return faiss.SearchParametersHNSW(efSearch=snapshot.parameters["ef_search"])
    if snapshot.type == pb.INDEX_TYPE_IVF:
        return faiss.SearchParametersIVF(nprobe=snapshot.parameters["probes"])
    return None


def p50_ms(samples: Sequence[float]) -> float:
    return statistics.median(samples) * 1e3


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    faiss.omp_set_num_threads(1)
    echo = Process("full", "")
    message = EchoRequest(text="hello", value=1.5).SerializeToString()
    took: dict[str, list[float]] = {"faiss": [], "faiss paced": [], "service": [], "echo": []}
    calls: list[tuple[bytes, bytes]] = []
    with tempfile.TemporaryDirectory() as directory, retrieval(Path(directory), cores[0]) as port:
        os.sched_setaffinity(0, {cores[-1]})
        snapshot, recall = uvloop.run(prepared(port, calls))
        (file,) = Path(directory).rglob(f"{snapshot.name.rpartition('/')[2]}/*.faiss")
        index, parameters = faiss.read_index(str(file)), search_parameters(snapshot)
        _, queries = clustered(VECTORS, QUERIES, DIMENSION)
        for round_ in range(ROUNDS + 1):
            os.sched_setaffinity(0, {cores[0]})
            bare = in_process(index, parameters, queries, SECONDS / 2)
            os.sched_setaffinity(0, {cores[-1]})
            searched = uvloop.run(load(port, SEARCH, calls, concurrency=1, connections=1, seconds=SECONDS))
            echoed = uvloop.run(
                load(echo.port, ECHO, [(message, message)], concurrency=1, connections=1, seconds=SECONDS)
            )
            os.sched_setaffinity(0, {cores[0]})
            paced = in_process(index, parameters, queries, SECONDS / 2, statistics.median(echoed.latencies_s))
            os.sched_setaffinity(0, {cores[-1]})
            if round_:  # the first one warms
                took["faiss paced"].append(p50_ms(paced))
                took["faiss"].append(p50_ms(bare))
                took["service"].append(p50_ms(searched.latencies_s))
                took["echo"].append(p50_ms(echoed.latencies_s))
    echo.close()
    os.sched_setaffinity(0, set(cores))
    medians = {name: statistics.median(values) for name, values in took.items()}
    allowed = medians["faiss"] + ALLOWED_ECHOES * medians["echo"]
    parameters_text = ", ".join(f"{name} {value}" for name, value in sorted(snapshot.parameters.items()))
    print(f"{pb.IndexType.Name(snapshot.type)} ({parameters_text}), recall {recall:.4f} of the answers")
    print(f"medians of {ROUNDS} rounds: " + ", ".join(f"{n} p50 {v:.3f} ms" for n, v in medians.items()))
    print(f"the service's p50 may be {allowed:.3f} ms")
    if recall < REQUIRED_RECALL or medians["service"] > allowed:
        sys.exit("missed")


if __name__ == "__main__":
    main()
