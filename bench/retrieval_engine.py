"""The vector index in process beside bare FAISS: what ids, deletions, changes and filters add to a search.

    .venv/bin/python bench/retrieval_engine.py 100000 128
    .venv/bin/python bench/retrieval_engine.py 1000000 64 --keep /tmp/retrieval-1m

One thread; searches of both alternate, so that whatever else the machine does meets both. With --keep the
snapshot is built once and loaded in later runs.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import faiss
import numpy as np

from trunkline_retrieval.build import build
from trunkline_retrieval.changes import Delete, Entry, Upsert
from trunkline_retrieval.collection import Collection
from trunkline_retrieval.device import Device
from trunkline_retrieval.exact import unit
from trunkline_retrieval.filter import parse
from trunkline_retrieval.index import Budget, Index, IndexType, Metric
from trunkline_retrieval.manifest import Manifest
from trunkline_retrieval.snapshot import load

TOP_K = 100


def clustered(count: int, dimension: int, random: np.random.Generator) -> np.ndarray:
    """Unit vectors around a centre for each hundred, as embeddings lie."""
    centres = np.random.default_rng(1).standard_normal((max(count // 100, 1), dimension), np.float32)
    spread = 0.35 * random.standard_normal((count, dimension), np.float32)
    return unit(centres[random.integers(0, len(centres), count)] + spread)


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def p50_ms(queries: np.ndarray, *searches: Callable[[np.ndarray], object]) -> list[float]:
    for query in queries[:20]:
        for search in searches:
            search(query[None])
    times = [[timed(lambda: search(query[None])) for search in searches] for query in queries]  # noqa: B023
    return (1e3 * np.median(times, axis=0)).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors", type=int)
    parser.add_argument("dimension", type=int)
    parser.add_argument("--type", default="HNSW", choices=[*IndexType.__members__])
    parser.add_argument("--keep", type=Path, help="directory of the snapshot, for later runs")
    arguments = parser.parse_args()
    count, dimension = arguments.vectors, arguments.dimension
    device = Device.detect()
    budget = Budget(search_time_s=1.0, recall=0.98)
    index = Index(
        "bench", "1", dimension, Metric.COSINE, IndexType[arguments.type], budget, datetime.now(UTC)
    )
    random = np.random.default_rng(2)
    vectors = clustered(count, dimension, random)
    queries = unit(vectors[:1000] + 0.02 * random.standard_normal((1000, dimension), np.float32))

    def upsert(sequence: int, rows: range, prefix: str = "item", source: np.ndarray = vectors) -> Entry:
        ids = [f"{prefix}-{row}" for row in rows]
        attributes = [{"genre": f"g{row % 10}", "year": float(1950 + row % 70)} for row in rows]
        return Entry(sequence, Upsert(ids, source[rows.start : rows.stop], attributes))

    directory = arguments.keep or Path(tempfile.mkdtemp(prefix="retrieval-engine-"))
    manifest_path = directory / "manifest.json"
    if not manifest_path.exists():
        directory.mkdir(exist_ok=True)
        empty, sequence = Collection(index, None, device), 0
        for start in range(0, count, 10_000):
            empty.apply(upsert(sequence := sequence + 1, range(start, min(start + 10_000, count))))
        start_s = time.perf_counter()
        manifest = build(index, empty.rows(), sequence, "s", directory, lambda share: None, threading.Event())
        print(f"build            {time.perf_counter() - start_s:8.1f} s, all of it")
        manifest_path.write_text(manifest.to_json())
        del empty
    manifest = Manifest.from_json(manifest_path.read_text())
    print(f"{manifest.type.name} {dict(manifest.parameters)}, recall {manifest.recall:.4f}")
    print(f"search_time      {1e3 * manifest.search_time_s:8.3f} ms, as built")
    start_s = time.perf_counter()
    snapshot = load(index, directory, manifest, device)
    print(
        f"load             {time.perf_counter() - start_s:8.2f} s, digests verified, {manifest.memory_bytes:,} bytes"
    )

    bare = faiss.read_index(str(directory / "index.faiss"))
    parameters = None
    if manifest.type is IndexType.HNSW:
        parameters = faiss.SearchParametersHNSW(efSearch=manifest.parameters["ef_search"])
    elif manifest.type is IndexType.IVF:
        parameters = faiss.SearchParametersIVF(nprobe=manifest.parameters["probes"])
    collection = Collection(index, snapshot, device)

    def beside(what: str, where: str = "") -> None:
        view, condition = collection.view(), parse(where)
        ours, theirs = p50_ms(
            queries,
            lambda query: view.search(query, TOP_K, condition),
            lambda query: bare.search(query, TOP_K, params=parameters),
        )
        print(f"{what:40} p50 {ours:7.3f} ms, bare FAISS {theirs:7.3f} ms, more by {ours - theirs:6.3f} ms")

    beside("as loaded")
    beside("genre of a tenth", "genre = g3")
    beside("half of the years", "year < 1985")
    sequence = manifest.sequence
    collection.apply(Entry(sequence := sequence + 1, Delete([f"item-{row}" for row in range(0, count, 50)])))
    beside("2 % deleted")
    collection.apply(upsert(sequence := sequence + 1, range(1_000), "new", queries))
    beside("2 % deleted, 1,000 new")
    one = upsert(0, range(1), "one").change
    collection.view()
    single = [timed(lambda: collection.apply(Entry(collection.sequence + 1, one))) for _ in range(1000)]
    print(f"apply one upsert {1e3 * np.median(single):8.3f} ms")
    print(f"peak memory      {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GiB")


if __name__ == "__main__":
    main()
