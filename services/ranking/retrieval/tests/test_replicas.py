"""Several replicas of one directory: leases, passing on, drains, deletion, snapshots that change hands."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from retrieval_parts import DIMENSION, Replica, until, vectors

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline.retrieval.v1.retrieval_pb2_grpc import VectorServiceStub
from trunkline_hop import connect
from trunkline_hop.errors import Fault, NotFound
from trunkline_retrieval import lease, log

Start = Callable[..., Awaitable[Replica]]


def names(first: int, last: int) -> set[str]:
    return {f"v{n}" for n in range(first, last + 1)}


def directory_of(root: Path) -> Path:
    """The directory of the one index."""
    (found,) = (path for path in (root / "indexes").iterdir() if path.is_dir())
    return found


async def test_a_write_that_was_passed_on_already_is_not_passed_on_again(start: Start) -> None:
    one, two = await start(), await start()
    await one.create()
    await one.upsert(vectors(1, 1))
    request = pb.DeleteVectorsRequest(index="indexes/books", ids=["v1"])
    with pytest.raises(Fault) as refused:
        await two.stub.DeleteVectors(request, metadata=(("x-trunkline-passed-on", "1"),))
    assert (refused.value.status, refused.value.reason) == ("UNAVAILABLE", "NOT_WRITER")
    assert getattr(refused.value, "retry_after", None) is not None
    assert await two.delete(["v1"]) == 2


async def test_what_the_writer_refuses_reaches_the_caller_as_it_is(start: Start) -> None:
    one, two = await start(), await start()
    await one.create()
    await one.upsert(vectors(1, 1))
    with pytest.raises(Fault) as refused:
        await two.upsert({"v2": [1.0]})
    assert (refused.value.status, refused.value.metadata["field"]) == (
        "INVALID_ARGUMENT",
        "vectors[0].values",
    )
    with pytest.raises(NotFound) as unknown:
        await two.stub.ActivateSnapshot(pb.ActivateSnapshotRequest(name="indexes/books/snapshots/none"))
    assert unknown.value.reason == "SNAPSHOT_UNKNOWN"


async def test_a_drain_hands_the_lease_over_and_no_call_fails(start: Start) -> None:
    one, two = await start(DRAIN_DELAY_S="0.3"), await start()
    await one.create()
    async with connect("retrieval", f"{one.target},{two.target}") as channel:
        stub = VectorServiceStub(channel)
        stop, written = asyncio.Event(), 0

        async def write() -> None:
            nonlocal written
            while not stop.is_set():
                request = pb.UpsertVectorsRequest(index="indexes/books")
                request.vectors.add(id=f"v{written}", values=[float(written)] * DIMENSION)
                written += 1
                await stub.UpsertVectors(request, timeout=20)
                search = pb.SearchRequest(index="indexes/books", queries=[pb.Query(values=[0.0] * DIMENSION)])
                await stub.Search(search, timeout=20)

        lanes = [asyncio.create_task(write()) for _ in range(4)]
        await until(_count(lambda: written, 40))
        one.send(signal.SIGTERM)
        assert await one.ended() == 0
        after = written
        await until(_count(lambda: written, after + 40))
        stop.set()
        await asyncio.gather(*lanes)
    assert await two.ids() == {f"v{n}" for n in range(written)}


def _count(read: Callable[[], int], wanted: int) -> Callable[[], Awaitable[bool]]:
    async def reached() -> bool:
        return read() >= wanted

    return reached


async def test_a_lease_that_was_given_back_leaves_nothing_to_copy(start: Start, tmp_path: Path) -> None:
    one = await start()
    await one.create()
    await one.upsert(vectors(1, 3))
    one.send(signal.SIGTERM)
    assert await one.ended() == 0
    assert not lease.held(directory_of(tmp_path))
    two = await start()
    assert await two.upsert(vectors(4, 4)) == 2
    empty, _ = sorted((directory_of(tmp_path) / "log").iterdir(), key=lambda path: path.name)[-1:] * 2
    assert empty.name == "00000002-0000000000000001.log"


async def test_a_deleted_index_is_gone_everywhere_and_a_new_one_of_its_name_is_empty(start: Start) -> None:
    one, two = await start(), await start()
    await one.create()
    await one.upsert(vectors(1, 5))
    await until(_holds(two, names(1, 5)))
    await two.stub.DeleteIndex(pb.DeleteIndexRequest(name="indexes/books"))
    with pytest.raises(NotFound) as unknown:
        await one.index()
    assert unknown.value.reason == "INDEX_UNKNOWN"
    await two.create(dimension=DIMENSION)
    assert await two.upsert(vectors(6, 6)) == 1
    for each in (one, two):  # either may have become the one that writes it
        await until(_holds(each, names(6, 6)))


async def test_two_replicas_that_create_one_name_agree_on_one(start: Start) -> None:
    one, two = await start(), await start()
    outcomes = await asyncio.gather(one.create(), two.create(), return_exceptions=True)
    (failed,) = (each for each in outcomes if isinstance(each, Fault))
    assert (failed.status, failed.reason) == ("ALREADY_EXISTS", "RESOURCE_EXISTS")
    await two.upsert(vectors(1, 1))
    assert await one.ids(min_sequence=1) == names(1, 1)


async def test_kill_9_between_declaration_and_deletion_of_files_is_cleaned_up(
    start: Start, tmp_path: Path
) -> None:
    one = await start()
    await one.create()
    await one.upsert(vectors(1, 1))
    orphan = directory_of(tmp_path)
    await one.kill()
    (tmp_path / "indexes" / "books.json").unlink()
    two = await start()
    assert not orphan.exists()
    await two.create()
    assert await two.ids() == set()


async def test_no_space_is_said_nothing_is_acknowledged_and_it_goes_on_when_there_is_space(
    start: Start,
) -> None:
    replica = await start()
    await replica.create()
    await replica.upsert(vectors(1, 5))
    assert replica.process is not None
    before = resource.prlimit(replica.process.pid, resource.RLIMIT_FSIZE)
    # No file may grow: writes fail as on a full disk.
    resource.prlimit(replica.process.pid, resource.RLIMIT_FSIZE, (512, before[1]))
    with pytest.raises(Fault) as full:
        await replica.upsert(vectors(6, 30))
    assert (full.value.status, full.value.reason) == ("RESOURCE_EXHAUSTED", "QUOTA")
    assert await replica.ids() == names(1, 5)
    await replica.create("films")
    resource.prlimit(replica.process.pid, resource.RLIMIT_FSIZE, (16, before[1]))
    with pytest.raises(Fault) as full:
        await replica.upsert(vectors(6, 6))
    assert full.value.reason == "QUOTA"
    await replica.stub.DeleteIndex(pb.DeleteIndexRequest(name="indexes/films"))
    resource.prlimit(replica.process.pid, resource.RLIMIT_FSIZE, before)
    assert await replica.upsert(vectors(31, 31)) == 2
    await replica.kill()
    replica = await start()
    assert await replica.ids() == names(1, 5) | {"v31"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_build_whose_process_ends_is_failed_and_leaves_no_files(
    start: Start, tmp_path: Path, how: signal.Signals
) -> None:
    one, two = await start(), await start()
    await one.create(type=pb.INDEX_TYPE_HNSW, dimension=64)
    values = np.random.default_rng(0).standard_normal((12_000, 64)).astype(np.float32)
    for at in range(0, len(values), 6000):
        await one.upsert({f"v{n}": values[n] for n in range(at, at + 6000)})
    building = await one.build(request_id="first")
    assert building.state == pb.SNAPSHOT_STATE_BUILDING
    assert (await one.build(request_id="first")).name == building.name
    await until(_progresses(two, building.name))
    one.send(how)
    assert await one.ended() == (0 if how is signal.SIGTERM else -9)
    failed = await two.snapshot(building.name)
    assert (failed.state, bool(failed.error)) == (pb.SNAPSHOT_STATE_FAILED, True)
    await two.upsert({"w": values[0]})
    left = directory_of(tmp_path) / "snapshots"
    assert not list(left.iterdir())
    assert (await two.index()).vector_count == 12_001


def _progresses(replica: Replica, name: str) -> Callable[[], Awaitable[bool]]:
    async def seen() -> bool:
        snapshot = await replica.snapshot(name)
        assert snapshot.state == pb.SNAPSHOT_STATE_BUILDING
        return snapshot.progress > 0

    return seen


def _holds(replica: Replica, ids: set[str]) -> Callable[[], Awaitable[bool]]:
    async def seen() -> bool:
        return await replica.ids() == ids

    return seen


def _uses(replica: Replica, snapshot: str) -> Callable[[], Awaitable[bool]]:
    async def seen() -> bool:
        return (await replica.index()).active_snapshot == snapshot

    return seen


async def test_a_snapshot_that_is_held_waits_for_its_activation_and_none_that_is_older_loses_a_write(
    start: Start,
) -> None:
    one, two = await start(), await start()
    await one.create()
    await one.upsert(vectors(1, 100))
    first = await one.built()
    await one.upsert(vectors(101, 150))
    second = await two.built(hold=True)
    assert (second.state, second.vector_count) == (pb.SNAPSHOT_STATE_READY, 150)
    assert (await one.index()).active_snapshot == first.name
    await two.stub.ActivateSnapshot(pb.ActivateSnapshotRequest(name=second.name))
    await one.upsert(vectors(151, 160))
    await one.delete(["v1"])
    await two.stub.ActivateSnapshot(pb.ActivateSnapshotRequest(name=first.name))
    for each in (one, two):
        await until(_uses(each, first.name))
        await until(_holds(each, names(2, 160)))
    page = await two.stub.ListSnapshots(pb.ListSnapshotsRequest(parent="indexes/books", page_size=1))
    assert [each.name for each in page.snapshots] == [second.name]
    rest = await two.stub.ListSnapshots(
        pb.ListSnapshotsRequest(parent="indexes/books", page_token=page.next_page_token)
    )
    assert [(each.name, each.state) for each in rest.snapshots] == [(first.name, pb.SNAPSHOT_STATE_ACTIVE)]


async def test_many_changes_build_a_snapshot_by_themselves_and_old_ones_and_their_log_go(
    start: Start, tmp_path: Path
) -> None:
    one, two = await start(SNAPSHOT_AFTER="50", SNAPSHOTS_KEPT="2"), await start()
    await one.create()
    seen: set[str] = set()
    for n in range(5):
        await one.upsert(vectors(60 * n + 1, 60 * n + 60))

        async def merged() -> bool:
            return (await one.index()).unmerged_count == 0

        await until(merged)
        seen.add((await one.index()).active_snapshot)
    assert len(seen) == 5

    async def pruned() -> bool:
        return len(list((directory_of(tmp_path) / "snapshots").iterdir())) == 2

    await until(pruned)
    await until(_holds(two, names(1, 300)))
    assert (
        min(path.name for path in (directory_of(tmp_path) / "log").iterdir())
        > "00000001-0000000000000001.log"
    )
    await one.kill()
    await two.kill()
    three = await start()
    assert await three.ids() == names(1, 300)


def _corrupt(root: Path, snapshot: str) -> None:
    path = max((directory_of(root) / "snapshots" / snapshot.rpartition("/")[2]).iterdir(), key=_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _size(path: Path) -> int:
    return 0 if path.name == "manifest.json" else path.stat().st_size


async def test_a_snapshot_that_rotted_is_refused_and_an_older_one_serves_all(
    start: Start, tmp_path: Path
) -> None:
    one = await start()
    await one.create()
    await one.upsert(vectors(1, 100))
    first = await one.built()
    await one.upsert(vectors(101, 110))
    second = await one.built()
    await one.kill()
    _corrupt(tmp_path, second.name)
    two = await start()
    assert await two.ids() == names(1, 110)
    assert (await two.index()).active_snapshot == first.name
    refused = await two.snapshot(second.name)
    assert refused.state == pb.SNAPSHOT_STATE_FAILED
    with pytest.raises(Fault) as mismatch:
        await two.stub.ActivateSnapshot(pb.ActivateSnapshotRequest(name=second.name))
    assert (mismatch.value.status, mismatch.value.reason) == ("FAILED_PRECONDITION", "CHECKSUM_MISMATCH")
    await two.kill()
    _corrupt(tmp_path, first.name)
    three = await start()
    assert await three.ids() == names(1, 110), "the log from the start is still there"
    await three.upsert(vectors(111, 111))
    assert (await three.built()).state == pb.SNAPSHOT_STATE_ACTIVE


def _log_begins_after(root: Path, sequence: int) -> Callable[[], Awaitable[bool]]:
    """True when the entries up to a sequence are nowhere but in a snapshot."""

    async def trimmed() -> bool:
        return min(log.segments(directory_of(root) / "log")).base >= sequence

    return trimmed


async def test_an_index_that_is_damaged_says_so_while_others_serve_and_can_be_deleted(
    start: Start, tmp_path: Path
) -> None:
    one = await start(SNAPSHOTS_KEPT="1")
    await one.create()
    await one.upsert(vectors(1, 100))
    snapshot = await one.built()
    # ACTIVE comes before the log is trimmed, and a log that is whole is all that an index needs.
    await until(_log_begins_after(tmp_path, 1))
    await one.kill()
    _corrupt(tmp_path, snapshot.name)
    two = await start()
    await two.create("films")
    await two.upsert(vectors(1, 1), "films")
    for call in (two.ids, partial(two.upsert, vectors(1, 1)), two.build):
        with pytest.raises(Fault) as damaged:
            await call()
        assert (damaged.value.status, damaged.value.reason) == ("FAILED_PRECONDITION", "CHECKSUM_MISMATCH")
    assert await two.ids("films") == names(1, 1)
    await two.stub.DeleteIndex(pb.DeleteIndexRequest(name="indexes/books"))
    await two.create()
    assert await two.ids() == set()


@asynccontextmanager
async def searching(replica: Replica, expected: int):  # type: ignore[no-untyped-def]
    """Searches all the while, each answered in full."""
    stop, answers = asyncio.Event(), 0

    async def lane(seed: int) -> None:
        nonlocal answers
        random = np.random.default_rng(seed)
        while not stop.is_set():
            answer = await replica.search(random.standard_normal(DIMENSION), expected)
            assert len(set(answer.results[0].ids)) == expected
            answers += 1

    lanes = [asyncio.create_task(lane(seed)) for seed in range(3)]
    try:
        yield lambda: answers
    finally:
        stop.set()
        await asyncio.gather(*lanes)


async def test_no_search_fails_while_snapshots_are_swapped_and_vectors_written(start: Start) -> None:
    one, two = await start(), await start()
    await one.create()
    await one.upsert(vectors(1, 400))
    await until(_holds(two, names(1, 400)))
    async with searching(one, 100) as answers, searching(two, 100) as others:
        for n in range(3):
            snapshot = await one.built()
            assert snapshot.state == pb.SNAPSHOT_STATE_ACTIVE
            await one.upsert(vectors(401 + n, 401 + n))
            await until(_uses(two, snapshot.name))
        await until(_count(answers, answers() + 5))
        await until(_count(others, others() + 5))


async def test_a_cancelled_batch_search_stops_and_lets_the_next_one_run(replica: Replica) -> None:
    await replica.create(dimension=256)
    values = np.random.default_rng(0).standard_normal((4000, 256)).astype(np.float32)
    for at in range(0, 4000, 2000):
        await replica.upsert({f"v{n}": values[n] for n in range(at, at + 2000)})
    began = time.monotonic()
    with pytest.raises(Fault) as late:
        await replica.search(values[:1000], 100, timeout=0.05)
    assert late.value.status == "DEADLINE_EXCEEDED"
    assert time.monotonic() - began < 10
    assert (await replica.search(values[7], 1)).results[0].ids == ["v7"]
