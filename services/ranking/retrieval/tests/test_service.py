"""What the contract says of requests and answers."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from typing import Any

import numpy as np
import pytest
from retrieval_parts import DIMENSION, Replica, vectors

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline_hop.errors import BadRequest, Fault, NotFound

ONE = [1.0] + [0.0] * (DIMENSION - 1)


async def test_an_index_is_as_it_was_created(replica: Replica) -> None:
    created = await replica.create(
        metric=pb.METRIC_COSINE, description="Books", labels={"model": "models/two-tower/versions/3"}
    )
    assert created.name == "indexes/books"
    assert (created.dimension, created.metric, created.type) == (DIMENSION, pb.METRIC_COSINE, 0)
    assert created.budget.search_time.ToMilliseconds() == 1
    assert (created.budget.memory_bytes, created.budget.recall) == (4 * 2**30, 0.98)
    assert created.create_time.seconds > 0
    assert created.device
    assert await replica.index() == created
    with pytest.raises(Fault) as taken:
        await replica.create()
    assert taken.value.reason == "RESOURCE_EXISTS"


async def test_indexes_are_listed_by_name_and_by_the_page(replica: Replica) -> None:
    for name in ("films", "books", "songs"):
        await replica.create(name)
    first = await replica.stub.ListIndexes(pb.ListIndexesRequest(page_size=2))
    assert [each.name for each in first.indexes] == ["indexes/books", "indexes/films"]
    rest = await replica.stub.ListIndexes(pb.ListIndexesRequest(page_token=first.next_page_token))
    assert ([each.name for each in rest.indexes], rest.next_page_token) == (["indexes/songs"], "")
    with pytest.raises(BadRequest) as wrong:
        await replica.stub.ListIndexes(pb.ListIndexesRequest(page_token="¶"))
    assert wrong.value.metadata == {"field": "page_token"}


async def test_attributes_come_back_and_filters_choose_by_them(replica: Replica) -> None:
    await replica.create()
    await replica.upsert({"a": ONE}, genre="crime", year=1999, signed=True, tags=["noir", "city"])
    await replica.upsert({"b": ONE}, genre="poetry", year=2001)
    answer = await replica.search(ONE, filter='genre = "crime" AND year < 2000', include_attributes=True)
    (result,) = answer.results
    assert list(result.ids) == ["a"]
    assert dict(result.attributes[0]) == {
        "genre": "crime",
        "year": 1999.0,
        "signed": True,
        "tags": result.attributes[0]["tags"],
    }
    assert list(result.attributes[0]["tags"]) == ["noir", "city"]
    assert (answer.sequence, answer.snapshot) == (2, "")


async def test_vectors_of_a_cosine_index_are_compared_by_their_angle(replica: Replica) -> None:
    await replica.create(metric=pb.METRIC_COSINE)
    await replica.upsert({"a": np.array(ONE) * 1000, "b": np.ones(DIMENSION)})
    (result,) = (await replica.search(np.array(ONE) * 0.001)).results
    assert list(result.ids) == ["a", "b"]
    assert list(result.scores) == pytest.approx([1.0, 1 / math.sqrt(DIMENSION)])


async def test_the_newest_vector_of_an_id_is_the_one_that_is_found(replica: Replica) -> None:
    await replica.create()
    await replica.upsert({"a": np.zeros(DIMENSION)}, genre="crime")
    await replica.upsert({"a": ONE})
    (result,) = (await replica.search(ONE, include_attributes=True)).results
    assert (list(result.ids), list(result.scores), dict(result.attributes[0])) == (["a"], [0.0], {})


@pytest.mark.parametrize(
    ("metric", "wrong", "field"),
    [
        (pb.METRIC_SQUARED_L2, [1.0, 2.0], "vectors[1].values"),
        (pb.METRIC_SQUARED_L2, [math.nan] * DIMENSION, "vectors[1].values"),
        (pb.METRIC_SQUARED_L2, [math.inf] * DIMENSION, "vectors[1].values"),
        (pb.METRIC_COSINE, [0.0] * DIMENSION, "vectors[1].values"),
    ],
)
async def test_a_wrong_vector_is_named_and_nothing_is_written(
    replica: Replica, metric: int, wrong: list[float], field: str
) -> None:
    await replica.create(metric=metric)
    with pytest.raises(BadRequest) as refused:
        await replica.upsert({"a": ONE, "b": wrong})
    assert refused.value.metadata == {"field": field}
    assert (await replica.index()).sequence == 0


@pytest.mark.parametrize("value", [None, {"a": 1}, [1, 2], math.nan, [["a"]]])
async def test_an_attribute_of_no_type_is_named(replica: Replica, value: Any) -> None:
    await replica.create()
    with pytest.raises(BadRequest) as refused:
        await replica.upsert({"a": ONE}, genre=value)
    assert refused.value.metadata == {"field": "vectors[0].attributes.genre"}


async def test_an_id_is_in_a_request_once(replica: Replica) -> None:
    await replica.create()
    request = pb.UpsertVectorsRequest(index="indexes/books")
    for _ in range(2):
        request.vectors.add(id="a", values=ONE)
    with pytest.raises(BadRequest) as refused:
        await replica.stub.UpsertVectors(request)
    assert refused.value.metadata == {"field": "vectors[1].id"}


@pytest.mark.parametrize("wrong", [[1.0], [math.nan] * DIMENSION])
async def test_a_wrong_query_or_filter_is_named(replica: Replica, wrong: list[float]) -> None:
    await replica.create()
    with pytest.raises(BadRequest) as refused:
        await replica.search(wrong)
    assert refused.value.metadata == {"field": "queries[0].values"}
    with pytest.raises(BadRequest) as refused:
        await replica.search(ONE, filter="genre ==")
    assert refused.value.metadata["field"] == "filter"


async def test_what_is_not_there_is_said_by_name(replica: Replica) -> None:
    for call in (replica.index(), replica.ids(), replica.upsert(vectors(1, 1)), replica.build()):
        with pytest.raises(NotFound) as unknown:
            await call
        assert (unknown.value.reason, unknown.value.resource_name) == ("INDEX_UNKNOWN", "indexes/books")
    await replica.create()
    with pytest.raises(NotFound) as unknown:
        await replica.snapshot("indexes/books/snapshots/none")
    assert (unknown.value.reason, unknown.value.resource_name) == (
        "SNAPSHOT_UNKNOWN",
        "indexes/books/snapshots/none",
    )


@pytest.mark.parametrize("name", ["indexes/../../etc/passwd", "indexes/", "indexes/a/b", "books"])
async def test_a_name_never_leads_out_of_the_directory(replica: Replica, name: str) -> None:
    with pytest.raises(Fault) as refused:
        await replica.stub.GetIndex(pb.GetIndexRequest(name=name))
    assert refused.value.status in ("INVALID_ARGUMENT", "NOT_FOUND")
    with pytest.raises(Fault) as refused:
        await replica.stub.GetSnapshot(pb.GetSnapshotRequest(name=f"{name}/snapshots/.."))
    assert refused.value.status in ("INVALID_ARGUMENT", "NOT_FOUND")


@pytest.mark.parametrize("snapshot", ["..", ".", "%2e%2e"])
async def test_a_snapshot_name_never_leads_out_of_its_index(replica: Replica, snapshot: str) -> None:
    await replica.create()
    with pytest.raises(Fault) as refused:
        await replica.snapshot(f"indexes/books/snapshots/{snapshot}")
    assert refused.value.status in ("INVALID_ARGUMENT", "NOT_FOUND")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("ADVERTISE", "nowhere", "TRUNKLINE_ADVERTISE: "),
        ("BLOB_DIR", "/proc/nowhere", "TRUNKLINE_BLOB_DIR: "),
        ("POLL_S", "0", "TRUNKLINE_POLL_S: "),
    ],
)
async def test_a_wrong_setting_ends_the_start_and_names_the_variable(key: str, value: str, said: str) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("TRUNKLINE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trunkline_retrieval",
        env=environment | {"TRUNKLINE_PORT": "0", "TRUNKLINE_METRICS_PORT": "0", f"TRUNKLINE_{key}": value},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().startswith(said)
