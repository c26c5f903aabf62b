"""Recommendations from the outside through every hop: the model that ships, over an index that retrieval really keeps."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conditions import BOUND_S, Details, failure, tick, until
from opentelemetry.trace import SpanKind
from redis.asyncio import Redis
from safetensors.numpy import load_file
from suite_parts import DEGRADED_KEY, RECOMMENDER, VERSION_KEY, Client, Suite, opened, shipped

from trunkline.features.v1 import features_pb2 as fv
from trunkline.ranking.v1 import ranking_pb2 as rk
from trunkline.retrieval.v1 import retrieval_pb2 as rv
from trunkline_local.embedded import Valkey

READER = "a-reader"
BATCH = 500
TRACE, CALLER = "7" * 32, "8" * 16


class Books:
    """What the artefact that ships holds."""

    def __init__(self) -> None:
        (bundle,) = shipped(RECOMMENDER)
        self.signature = bundle.signature()
        self.views = {view["name"]: view for view in bundle.views()}
        names = json.loads((bundle.artifact / "items.json").read_text())
        self.attributes = {item["id"]: item["attributes"] for item in names["items"]}
        self.popular: list[str] = names["popular"]
        self.ids = list(self.attributes)
        self.vectors = load_file(bundle.artifact / "items.safetensors")["embeddings"].astype(np.float32)
        self.index = f"indexes/{self.signature['index']}"

    def of_genre(self, genre: str) -> set[str]:
        return {item for item, about in self.attributes.items() if about["genre"] == genre}


@pytest.fixture(scope="module")
def books() -> Books:
    return Books()


async def fill(client: Client, books: Books) -> None:
    """An index of every book, with a snapshot of them."""
    index = rv.Index(dimension=books.signature["dimension"], metric=rv.METRIC_INNER_PRODUCT)
    await client.retrieval.CreateIndex(
        rv.CreateIndexRequest(index_id=books.signature["index"], index=index), timeout=BOUND_S
    )
    for start in range(0, len(books.ids), BATCH):
        await upsert(
            client, books, dict(list(zip(books.ids, books.vectors, strict=True))[start : start + BATCH])
        )
    built = await client.retrieval.BuildSnapshot(rv.BuildSnapshotRequest(index=books.index), timeout=BOUND_S)
    name = built.snapshot.name
    state = built.snapshot.state
    async with asyncio.timeout(BOUND_S):
        while state in (rv.SNAPSHOT_STATE_BUILDING, rv.SNAPSHOT_STATE_READY):
            await tick()
            reply = await client.retrieval.GetSnapshot(rv.GetSnapshotRequest(name=name), timeout=BOUND_S)
            state = reply.snapshot.state
    assert state == rv.SNAPSHOT_STATE_ACTIVE


async def upsert(client: Client, books: Books, vectors: dict[str, Any], **attributes: Any) -> int:
    request = rv.UpsertVectorsRequest(index=books.index)
    for item, values in vectors.items():
        vector = request.vectors.add(id=item, values=values.tolist())
        vector.attributes.update(books.attributes.get(item, attributes))
    reply = await client.retrieval.UpsertVectors(request, timeout=BOUND_S)
    return int(reply.sequence)


async def write_reader(client: Client, books: Books, reader: str, read: list[str]) -> None:
    """A reader who liked these books."""
    length = books.signature["history"]["length"]
    ratings = [5.0] * len(read) + [0.0] * (length - len(read))
    columns = {
        "books": {"string": {"values": [" ".join(read)]}},
        "ratings": {"float32_vector": {"values": ratings}},
    }
    await write(client, "reader_history", reader, columns)
    fields = [field["name"] for field in books.views["reader_activity"]["fields"]]
    defaults = books.signature["defaults"]
    numbers = {name: {"float64": {"values": [defaults[f"reader_activity:{name}"]]}} for name in fields}
    await write(client, "reader_activity", reader, numbers)


async def write(client: Client, view: str, entity: str, columns: dict[str, Any]) -> None:
    request = fv.WriteFeaturesRequest(
        view=f"views/{view}",
        entity_ids=[entity],
        event_times_us=[time.time_ns() // 1000],
        columns=[fv.Column(feature=name, values=values) for name, values in columns.items()],
    )
    await client.features.WriteFeatures(request, timeout=BOUND_S)


async def recommend(client: Client, **fields: Any) -> tuple[rk.RecommendResponse, dict[str, Any]]:
    metadata = (("traceparent", f"00-{TRACE}-{CALLER}-01"),)
    request = rk.RecommendRequest(**{"user_id": READER} | fields)
    call = client.ranking.Recommend(request, timeout=5, metadata=metadata)
    return await call, dict(await call.trailing_metadata())


def ids(reply: Any) -> list[str]:
    return [item.item_id for item in reply.items]


@pytest.fixture
async def reading(valkey: Valkey, database: str, tmp_path: Path, books: Books) -> AsyncIterator[Suite]:
    """A suite with every book in the index, and one reader of crime."""
    async with Redis.from_url(valkey.url) as redis:
        await redis.flushall()
    async with (
        opened(tmp_path, valkey.url, database, recommending=True) as suite,
        Client(suite.target) as client,
    ):
        await fill(client, books)
        await write_reader(client, books, READER, crime(books))
        yield suite


def crime(books: Books) -> list[str]:
    return sorted(books.of_genre("crime"))[:8]


async def test_a_reader_gets_unread_books_of_its_own_and_a_stranger_the_popular_ones(
    reading: Suite, books: Books
) -> None:
    async with Client(reading.target) as client:
        reply, trailers = await recommend(client)
        assert reply.source == rk.SOURCE_PERSONAL
        assert len(reply.items) == len(set(ids(reply))) == 10
        assert not set(ids(reply)) & set(crime(books))
        assert ids(reply) != [item for item in books.popular if item not in crime(books)][:10]
        scores = [item.score for item in reply.items]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        assert reply.index == books.index
        assert reply.snapshot.startswith(f"{books.index}/snapshots/")
        assert reply.sequence > 0
        assert not reply.defaulted_features
        assert trailers == {VERSION_KEY: f"{RECOMMENDER}/versions/1"}

        ranked = await client.ranking.Rank(
            rk.RankRequest(user_id=READER, item_ids=sorted(ids(reply))), timeout=5
        )
        assert {item.item_id: pytest.approx(item.score, abs=1e-4) for item in ranked.items} == {
            item.item_id: item.score for item in reply.items
        }

        stranger, trailers = await recommend(client, user_id="a-stranger")
        assert stranger.source == rk.SOURCE_POPULAR
        assert ids(stranger) == books.popular[:10]
        assert DEGRADED_KEY not in trailers


async def test_a_filter_is_obeyed_for_readers_and_strangers_and_a_wrong_one_is_named(
    reading: Suite, books: Books
) -> None:
    async with Client(reading.target) as client:
        for user_id in (READER, "a-stranger"):
            reply, _ = await recommend(client, user_id=user_id, filter='genre = "fantasy" AND year >= 2000')
            assert len(reply.items) == 10
            assert set(ids(reply)) <= books.of_genre("fantasy")
            assert all(books.attributes[item]["year"] >= 2000 for item in ids(reply))
        error = await failure(
            client.ranking.Recommend(rk.RecommendRequest(user_id=READER, filter="genre = ("))
        )
        assert list(Details(error).violations) == ["filter"]


async def test_a_book_that_is_added_is_recommended_at_once_and_one_that_is_deleted_never_again(
    reading: Suite, books: Books
) -> None:
    async with Client(reading.target) as client:
        reply, _ = await recommend(client)
        best = reply.items[0].item_id
        vector = 2 * books.vectors[books.ids.index(best)]
        sequence = await upsert(client, books, {"brand-new": vector}, genre="crime", year=2026)
        reply, _ = await recommend(client, count=100)
        assert reply.sequence >= sequence
        assert "brand-new" in ids(reply)
        await client.retrieval.DeleteVectors(
            rv.DeleteVectorsRequest(index=books.index, ids=[best, "brand-new"]), timeout=BOUND_S
        )
        reply, _ = await recommend(client, count=100)
        assert not {best, "brand-new"} & set(ids(reply))


async def test_without_its_index_a_reader_gets_popular_books_ranked_and_the_answer_says_so(
    reading: Suite, books: Books
) -> None:
    async with Client(reading.target) as client:
        await client.retrieval.DeleteIndex(rv.DeleteIndexRequest(name=books.index), timeout=BOUND_S)
        reply, trailers = await recommend(client)
        assert reply.source == rk.SOURCE_POPULAR
        assert trailers[DEGRADED_KEY] == "retrieval_unavailable"
        assert set(ids(reply)) <= set(books.popular)
        scores = [item.score for item in reply.items]
        assert scores == sorted(scores, reverse=True)
        await reading.stop("retrieval")
        reply, trailers = await recommend(client)
        assert trailers[DEGRADED_KEY] == "retrieval_unavailable"
        await reading.stop("features")
        reply, trailers = await recommend(client)
        assert trailers[DEGRADED_KEY] == "features_unavailable"
        assert ids(reply) == books.popular[:10]


async def test_one_trace_holds_every_hop_of_a_recommendation(reading: Suite) -> None:
    async with Client(reading.target) as client:
        await recommend(client)

    def spans() -> list[Any]:
        return [span for span in reading.spans() if f"{span.context.trace_id:032x}" == TRACE]

    def served() -> set[str]:
        return {span.resource.attributes["service.name"] for span in spans() if span.kind is SpanKind.SERVER}

    await until(lambda: served() == {"gateway", "ranking", "features", "retrieval"})
    own = [span.name for span in spans() if span.resource.attributes["service.name"] == "ranking"]
    parts = ("features", "compute.user_tower", "retrieval", "compute.ranker")
    assert [name for name in own if name in parts] == list(parts)
