from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from engine_parts import (
    CPU,
    GENEROUS,
    a_collection,
    an_index,
    an_upsert,
    apply,
    built,
    clustered,
    numbered,
    rebuilt,
)

from trunkline_retrieval.build import BuildCancelled, BuildFailed, build
from trunkline_retrieval.changes import Delete
from trunkline_retrieval.index import Budget, IndexType, Metric
from trunkline_retrieval.manifest import FileDigest, Manifest
from trunkline_retrieval.measure import Sample
from trunkline_retrieval.snapshot import SnapshotCorrupt, load

EVERY_TYPE = pytest.mark.parametrize("type_", list(IndexType))

# Samples of public benchmarks, if there are any: .npz files of `base`, `queries` and `groundtruth`.
REAL = (
    sorted(Path(os.environ["TRUNKLINE_ANN_DATA"]).glob("*.npz")) if "TRUNKLINE_ANN_DATA" in os.environ else []
)


@dataclass(frozen=True)
class Data:
    """Vectors, queries that are none of them, and the distance of each one's 100th nearest."""

    base: np.ndarray
    queries: np.ndarray
    last: np.ndarray


def data_of(source: Path | None) -> Data:
    if source is None:
        base, queries = np.split(clustered(1550, 24), [1500])
        truth = np.argsort(((queries[:, None] - base) ** 2).sum(axis=2), axis=1)[:, :100]
    else:
        with np.load(source) as arrays:
            base, queries = arrays["base"].astype(np.float32), arrays["queries"].astype(np.float32)[:100]
            truth = arrays["groundtruth"][:100, :100].astype(np.int64)
    return Data(base, queries, ((queries - base[truth[:, -1]]) ** 2).sum(axis=1))


@EVERY_TYPE
@pytest.mark.parametrize("source", [None, *REAL], ids=str)
def test_queries_it_was_not_tuned_on_find_as_much(
    source: Path | None, type_: IndexType, tmp_path: Path
) -> None:
    data = data_of(source)
    index = an_index(data.base.shape[1], type_=type_, budget=replace(GENEROUS, recall=0.98))
    collection = rebuilt(a_collection(index, numbered(data.base)), tmp_path / "s")
    found = collection.view().search(data.queries, 100)
    near = [np.mean(each.scores <= last * (1 + 1e-6)) for each, last in zip(found, data.last, strict=True)]
    assert np.mean(near) >= (1.0 if type_ is IndexType.FLAT else 0.97)


@EVERY_TYPE
@pytest.mark.parametrize("metric", list(Metric))
def test_every_type_finds_what_its_budget_promises(metric: Metric, type_: IndexType, tmp_path: Path) -> None:
    vectors = clustered(1500, 24)
    index = an_index(24, metric, type_, replace(GENEROUS, recall=0.95))
    manifest = built(a_collection(index, numbered(vectors)), tmp_path / "s")
    assert (manifest.type, manifest.vector_count, manifest.sequence) == (type_, len(vectors), 1)
    assert manifest.recall >= 0.95
    assert manifest.search_time_s > 0
    snapshot = load(index, tmp_path / "s", manifest, CPU)
    assert Sample.of(snapshot, lambda share: None).recall(snapshot) == manifest.recall


def test_less_effort_than_an_approximate_snapshot_makes_finds_less_than_the_budget(tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).standard_normal((2000, 32), np.float32)
    index = an_index(32, type_=IndexType.IVF, budget=replace(GENEROUS, recall=0.9))
    manifest = built(a_collection(index, numbered(vectors)), tmp_path / "s")
    snapshot = load(index, tmp_path / "s", manifest, CPU)
    assert snapshot.approximate is not None
    sample = Sample.of(snapshot, lambda share: None)
    less = snapshot.approximate.tuned(manifest.parameters["probes"] - 1)
    assert sample.recall(snapshot) >= 0.9 > sample.recall(replace(snapshot, approximate=less))


@EVERY_TYPE
def test_the_same_vectors_make_the_same_files_whoever_wrote_what_when(
    type_: IndexType, tmp_path: Path
) -> None:
    index = an_index(8, type_=type_)
    vectors = clustered(500, 8)
    attributes = [{"genre": f"g{row % 3}", "tags": (f"t{row % 5}",)} for row in range(500)]
    upsert = numbered(vectors, attributes)
    at_once = built(a_collection(index, upsert), tmp_path / "a")

    order = np.random.default_rng(1).permutation(500)
    pieces = [
        replace(
            upsert,
            ids=[upsert.ids[row] for row in rows],
            vectors=vectors[rows],
            attributes=[attributes[row] for row in rows],
        )
        for rows in np.split(order, 5)
    ]
    extra = an_upsert({"other": [0.0] * 8}, {"other": {"genre": "zz"}})
    early = a_collection(index, extra, *pieces[:3])
    over = rebuilt(early, tmp_path / "b")
    apply(over, *pieces[3:], pieces[0], Delete(["other"]))
    piecemeal = built(over, tmp_path / "c")
    assert piecemeal.digest == at_once.digest
    assert piecemeal.files == at_once.files


def _manifest_of(budget: Budget, vectors: np.ndarray, directory: Path) -> Manifest:
    return built(a_collection(an_index(vectors.shape[1], budget=budget), numbered(vectors)), directory)


def test_the_type_is_the_first_that_fits_the_budget(tmp_path: Path) -> None:
    vectors = clustered(2000, 16)
    exact = _manifest_of(GENEROUS, vectors, tmp_path / "exact")
    assert (exact.type, exact.recall, dict(exact.parameters)) == (IndexType.FLAT, 1.0, {})
    # To compare 2,000 x 16 numbers is predicted to take longer than this, and nothing is in fact as fast.
    with pytest.raises(BuildFailed, match=r"HNSW finds .* IVF finds .* FLAT finds .* raise search_time"):
        _manifest_of(replace(GENEROUS, search_time_s=1e-9), vectors, tmp_path / "fast")
    assert not list((tmp_path / "fast").glob("index.faiss"))
    small = replace(GENEROUS, memory_bytes=exact.memory_bytes - 2000 * 16 * 2)
    assert _manifest_of(small, vectors, tmp_path / "small").type is IndexType.IVF
    with pytest.raises(BuildFailed, match=r"IVF needs .* bytes; .* raise memory_bytes"):
        _manifest_of(replace(GENEROUS, memory_bytes=1000), vectors, tmp_path / "tiny")


def test_a_recall_that_is_not_reached_is_a_failure_that_says_what_was(tmp_path: Path) -> None:
    # A tight group beside a wide one: 8 bits a coordinate cannot tell the neighbours in it from each other.
    random = np.random.default_rng(2)
    near, far = random.standard_normal((2, 3000, 16), np.float32)
    vectors = np.concatenate((1e-3 * near, far + 100))
    index = an_index(16, type_=IndexType.IVF, budget=replace(GENEROUS, recall=0.9))
    with pytest.raises(
        BuildFailed, match=r"^IVF finds 0\.\d+ of the nearest in .* ms; .* budget: lower recall.$"
    ):
        built(a_collection(index, numbered(vectors)), tmp_path / "s")


@EVERY_TYPE
def test_memory_is_predicted_before_it_is_taken(type_: IndexType, tmp_path: Path) -> None:
    index = an_index(32, type_=type_)
    collection = a_collection(index, numbered(clustered(1000, 32)))
    memory = built(collection, tmp_path / "s").memory_bytes
    for share, fits in ((1.02, True), (0.95, False)):
        tight = replace(index, budget=replace(GENEROUS, memory_bytes=int(memory * share)))
        over = a_collection(tight, numbered(clustered(1000, 32)))
        if fits:
            built(over, tmp_path / f"{share}")
        else:
            with pytest.raises(BuildFailed):
                built(over, tmp_path / f"{share}")


@EVERY_TYPE
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_few_vectors_make_a_snapshot_too(type_: IndexType, count: int, tmp_path: Path) -> None:
    index = an_index(4, type_=type_)
    change = numbered(clustered(50, 4)[:count]) if count else Delete(["absent"])
    collection = rebuilt(a_collection(index, change), tmp_path / "s")
    assert (collection.vector_count, collection.sequence, collection.unmerged_count) == (count, 1, 0)
    (matches,) = collection.view().search(np.ones((1, 4), np.float32), 100)
    assert sorted(matches.ids) == sorted(f"v{row}" for row in range(count))


@pytest.mark.parametrize("meets", [True, False])
def test_progress_never_goes_back_and_ends_at_one_when_there_is_a_snapshot(
    meets: bool, tmp_path: Path
) -> None:
    budget = GENEROUS if meets else replace(GENEROUS, search_time_s=1e-9)
    shares: list[float] = []
    collection = a_collection(an_index(16, budget=budget), numbered(clustered(1500, 16)))
    with nullcontext() if meets else pytest.raises(BuildFailed):  # that is, after all three types
        build(collection.index, collection.rows(), 1, "s", tmp_path, shares.append, threading.Event())
    assert shares == sorted(shares)
    assert shares[0] < 0.01
    assert shares[-1] == (1.0 if meets else 0.99)


def test_a_build_stops_when_told(tmp_path: Path) -> None:
    index = an_index(16, type_=IndexType.HNSW)
    cancelled = threading.Event()
    collection = a_collection(index, numbered(clustered(20_000, 16)))

    def progress(share: float) -> None:
        if share > 0.2:
            cancelled.set()

    with pytest.raises(BuildCancelled):
        build(index, collection.rows(), 1, "s", tmp_path, progress, cancelled)
    assert not (tmp_path / "index.faiss").exists()


@EVERY_TYPE
def test_a_file_that_is_not_as_it_was_written_is_refused(type_: IndexType, tmp_path: Path) -> None:
    index = an_index(8, type_=type_)
    manifest = built(a_collection(index, numbered(clustered(100, 8))), tmp_path / "s")
    for name in manifest.files:
        path = tmp_path / "s" / name
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for content in (bytes(flipped), whole[:-1], whole + b"\0"):
            path.write_bytes(content)
            with pytest.raises(SnapshotCorrupt, match=f"s: {name} is not the file that was written"):
                load(index, tmp_path / "s", manifest, CPU)
        path.unlink()
        with pytest.raises(SnapshotCorrupt, match=f"s: {name} is missing"):
            load(index, tmp_path / "s", manifest, CPU)
        path.write_bytes(whole)
    load(index, tmp_path / "s", manifest, CPU)


def test_files_that_do_not_fit_their_manifest_are_refused(tmp_path: Path) -> None:
    index = an_index(8, type_=IndexType.FLAT)
    manifest = built(a_collection(index, numbered(clustered(100, 8))), tmp_path / "s")
    with pytest.raises(SnapshotCorrupt, match="cannot be understood"):
        load(index, tmp_path / "s", replace(manifest, vector_count=99), CPU)
    with pytest.raises(SnapshotCorrupt, match="cannot be understood"):
        load(replace(index, dimension=4), tmp_path / "s", manifest, CPU)
    nonsense = b"not an index"
    (tmp_path / "s" / "index.faiss").write_bytes(nonsense)
    digest = FileDigest(hashlib.sha256(nonsense).hexdigest(), len(nonsense))
    signed = replace(manifest, files=manifest.files | {"index.faiss": digest})
    with pytest.raises(SnapshotCorrupt, match="cannot be understood"):
        load(index, tmp_path / "s", signed, CPU)


@pytest.mark.parametrize("most_bytes", [1_000, 60_000, 150_000])
def test_a_full_disk_is_an_error_with_its_number(most_bytes: int, tmp_path: Path) -> None:
    program = (
        "import resource, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from engine_parts import *\n"
        # Here, and not between fork and exec: gRPC has threads in the process that forks, and handlers for it.
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "try:\n"
        "    built(a_collection(an_index(32, type_=IndexType.IVF), numbered(clustered(2000, 32))), Path(sys.argv[2]))\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path / "s"), str(most_bytes)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert ended.stdout == "27\n"  # EFBIG, as ENOSPC would be


@EVERY_TYPE
def test_vectors_come_out_of_a_snapshot_bit_for_bit(type_: IndexType, tmp_path: Path) -> None:
    vectors = clustered(400, 8)
    collection = a_collection(an_index(8, type_=type_), numbered(vectors))
    for generation in range(3):
        collection = rebuilt(collection, tmp_path / f"s{generation}")
    rows = collection.rows()
    numbers = rows.numbers()
    held = dict(zip(rows.ids(numbers), rows.vectors(numbers), strict=True))
    assert len(held) == 400
    assert all(np.array_equal(held[f"v{row}"], vector) for row, vector in enumerate(vectors))
