"""Recommend between a real registry, a real feature store, and an index in numpy."""

import asyncio
import contextlib

import numpy as np
import pytest
import recommender_parts as parts

from trunkline.features.v1 import features_pb2
from trunkline.ranking.v1 import ranking_pb2 as pb
from trunkline.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from trunkline.retrieval.v1 import retrieval_pb2
from trunkline_hop.errors import BadRequest, NotAllowed, NotFound, Unavailable

READ = ["b2", "b5"]
VECTOR = parts.expected_vector(READ, [5.0, 2.0])
NEARNESS = dict(zip(parts.IDS, (parts.EMBEDDINGS @ VECTOR).tolist(), strict=True))
NEAREST = sorted(parts.IDS, key=lambda item: -NEARNESS[item])
FEATURES = features_pb2.DESCRIPTOR.services_by_name["FeatureService"]
RETRIEVAL = retrieval_pb2.DESCRIPTOR.services_by_name["VectorService"]
VERSION = "models/recommender/versions/1"


def ids(reply):
    return [item.item_id for item in reply.items]


def best(items):
    """These items as the ranker orders them."""
    return sorted(items, key=lambda item: -parts.expected_score(item, NEARNESS[item]))


async def test_a_reader_gets_the_nearest_unread_books_in_the_rankers_order(books):
    reply, trailers = await books.recommend(count=5)
    # As many more are asked for as the reader read, so that eight are left whether they are among them or not.
    candidates = [item for item in NEAREST[: 8 + len(READ)] if item not in READ][:8]
    assert ids(reply) == best(candidates)[:5]
    for item in reply.items:
        assert item.retrieval_score == pytest.approx(NEARNESS[item.item_id], abs=1e-4)
        assert item.score == pytest.approx(
            parts.expected_score(item.item_id, NEARNESS[item.item_id]), abs=1e-5
        )
        assert item.propensity == 1.0
    assert reply.source == pb.SOURCE_PERSONAL
    assert (reply.index, reply.snapshot, reply.sequence) == (
        f"indexes/{parts.INDEX}",
        f"indexes/{parts.INDEX}/snapshots/1",
        7,
    )
    assert list(reply.defaulted_features) == []
    assert trailers["x-trunkline-model-version"] == VERSION
    assert "x-trunkline-degraded" not in trailers
    (search,) = books.index.requests
    assert search.top_k == 10
    assert list(search.queries[0].values) == pytest.approx(VECTOR.tolist(), rel=1e-5)


async def test_ten_books_are_what_a_caller_gets_who_names_no_count(books):
    for number in range(9):
        books.index.vectors[f"new{number}"] = VECTOR
    reply, _ = await books.recommend()
    assert len(reply.items) == 10
    assert not set(ids(reply)) & set(READ)


@pytest.mark.parametrize("history", [None, "", "gone1 gone2"])
async def test_a_reader_without_a_known_history_gets_the_popular_list_and_the_answer_says_so(books, history):
    if history is not None:
        await books.write("reader_history", "r2", books=history, ratings=[4.0, 4.0, 0.0])
    reply, trailers = await books.recommend(user_id="r2")
    assert ids(reply) == parts.POPULAR
    assert reply.source == pb.SOURCE_POPULAR
    assert not any(item.HasField("score") or item.HasField("retrieval_score") for item in reply.items)
    assert all(item.propensity == 1.0 for item in reply.items)
    assert (reply.index, reply.snapshot, reply.sequence) == ("", "", 0)
    assert list(reply.defaulted_features) == parts.ALL_FEATURES[: 4 if history is None else 2]
    assert trailers["x-trunkline-model-version"] == VERSION
    assert "x-trunkline-degraded" not in trailers
    assert not books.index.requests


async def test_what_the_caller_excludes_never_comes_back(books):
    everything, _ = await books.recommend(count=5)
    excluded = ids(everything)[:3]
    reply, _ = await books.recommend(count=5, exclude_item_ids=excluded)
    assert len(reply.items) == 5
    assert not set(ids(reply)) & {*excluded, *READ}
    assert books.index.requests[-1].top_k == 8 + len(READ) + len(excluded)
    reply, _ = await books.recommend(user_id="nobody", exclude_item_ids=parts.POPULAR[:2])
    assert ids(reply) == parts.POPULAR[2:]
    reply, _ = await books.recommend(exclude_item_ids=parts.IDS)
    assert ids(reply) == []
    assert reply.source == pb.SOURCE_PERSONAL


async def test_a_stale_history_is_used_and_named(books):
    await books.write("reader_history", "r3", age_s=7200, books="b2 b5", ratings=[5.0, 2.0, 0.0])
    reply, _ = await books.recommend(user_id="r3")
    assert reply.source == pb.SOURCE_PERSONAL
    assert list(reply.defaulted_features) == parts.ALL_FEATURES


async def test_a_book_that_came_after_training_is_found_and_ranked_by_what_is_known(books):
    books.index.vectors["new"] = VECTOR
    nearness = float(VECTOR @ VECTOR)
    reply, _ = await books.recommend(count=100)
    (new,) = [item for item in reply.items if item.item_id == "new"]
    assert new.retrieval_score == pytest.approx(nearness, rel=1e-5)
    assert new.score == pytest.approx(parts.expected_score("new", nearness), abs=1e-5)


# ---- filters


async def test_a_filter_is_retrievals_to_apply(books):
    reply, _ = await books.recommend(count=100, filter='genre = "crime"')
    assert ids(reply) == best(set(parts.of_genre("crime")) - set(READ))
    assert reply.source == pb.SOURCE_PERSONAL


async def test_a_filter_that_nothing_satisfies_gives_nothing(books):
    reply, trailers = await books.recommend(filter='genre = "cookery"')
    assert ids(reply) == []
    assert reply.source == pb.SOURCE_PERSONAL
    assert "x-trunkline-degraded" not in trailers


async def test_a_reader_nobody_knows_gets_the_popular_ones_that_satisfy_the_filter(books):
    reply, _ = await books.recommend(user_id="nobody", count=100, filter='genre = "poetry"')
    popular = [item for item in parts.POPULAR if item in parts.of_genre("poetry")]
    assert ids(reply)[: len(popular)] == popular
    assert set(ids(reply)) <= set(parts.of_genre("poetry"))
    assert reply.source == pb.SOURCE_POPULAR
    assert reply.index == f"indexes/{parts.INDEX}"
    assert list(books.index.requests[-1].queries[0].values) == parts.SIGNATURE["popular_query"]
    assert all(item.HasField("retrieval_score") and not item.HasField("score") for item in reply.items)


@pytest.mark.parametrize("user_id", ["r1", "nobody"])
async def test_a_filter_that_retrieval_refuses_is_the_callers_mistake(books, user_id):
    with pytest.raises(BadRequest) as wrong:
        await books.recommend(user_id=user_id, filter="genre ~ crime")
    assert [violation.field for violation in wrong.value.violations] == ["filter"]
    assert wrong.value.violations[0].description == 'expected genre = "..."'


# ---- what is down


def assert_popular_for_the_reader(reply, trailers):
    assert ids(reply) == best(parts.POPULAR)
    for item in reply.items:
        assert item.score == pytest.approx(
            parts.expected_score(item.item_id, NEARNESS[item.item_id]), abs=1e-5
        )
        assert item.retrieval_score == pytest.approx(NEARNESS[item.item_id], abs=1e-4)
    assert reply.source == pb.SOURCE_POPULAR
    assert (reply.index, reply.snapshot, reply.sequence) == ("", "", 0)
    assert trailers["x-trunkline-degraded"] == "retrieval_unavailable"
    assert trailers["x-trunkline-model-version"] == VERSION


async def test_without_retrieval_the_popular_list_is_ranked_for_the_reader(books):
    await books.stop("retrieval")
    for _ in range(5):  # more often than the breaker lets through
        assert_popular_for_the_reader(*await books.recommend(timeout=2.0))
    with pytest.raises(Unavailable, match="filter"):
        await books.recommend(filter='genre = "crime"', timeout=2.0)
    reply, trailers = await books.recommend(user_id="nobody")
    assert ids(reply) == parts.POPULAR
    assert "x-trunkline-degraded" not in trailers  # it was not needed


async def test_retrieval_that_is_slow_is_not_waited_for(books):
    await books.stop("ranking")
    books.options["retrieval_timeout_s"] = 0.05
    await books.start("ranking")
    await books.serving("ranking")
    books.index.open.clear()
    assert_popular_for_the_reader(*await books.recommend())
    with pytest.raises(Unavailable, match="filter"):
        await books.recommend(filter='genre = "crime"')
    async with asyncio.timeout(10):
        await books.index.dropped.wait()


async def test_an_index_that_nobody_made_is_as_good_as_none(books):
    books.index.name = "indexes/another"
    assert_popular_for_the_reader(*await books.recommend())
    assert books.index.requests


async def test_an_index_that_holds_nothing_is_as_good_as_none(books):
    books.index.vectors.clear()
    assert_popular_for_the_reader(*await books.recommend())
    assert books.index.requests


NONSENSE = [
    {},
    {"results": [{"ids": ["b1"], "scores": [1]}, {}]},
    {"results": [{"ids": ["b1"]}]},
    {"results": [{"ids": ["b1", "b1"], "scores": [1, 1]}]},
    {"results": [{"ids": ["b1"], "scores": [np.nan]}]},
]


async def test_an_answer_of_retrieval_that_makes_no_sense_is_as_good_as_none(books):
    for answer in NONSENSE:
        books.index.answer = retrieval_pb2.SearchResponse(**answer)
        assert_popular_for_the_reader(*await books.recommend())
    assert len(books.index.requests) == len(NONSENSE)


async def assert_popular_without_features(books):
    reply, trailers = await books.recommend(timeout=5.0)
    assert ids(reply) == parts.POPULAR
    assert reply.source == pb.SOURCE_POPULAR
    assert list(reply.defaulted_features) == parts.ALL_FEATURES
    assert trailers["x-trunkline-degraded"] == "features_unavailable"
    reply, trailers = await books.recommend(filter='genre = "poetry"', timeout=5.0)
    assert set(ids(reply)) <= set(parts.of_genre("poetry"))
    assert trailers["x-trunkline-degraded"] == "features_unavailable"
    reply, trailers = await books.rank("b1", "b10", timeout=5.0)
    assert ids(reply) == ["b10", "b1"]
    assert list(reply.defaulted_features) == parts.ALL_FEATURES
    assert trailers["x-trunkline-degraded"] == "features_unavailable"


async def test_without_features_the_reader_is_as_one_nobody_knows(books):
    await books.stop("features")
    for _ in range(3):
        await assert_popular_without_features(books)


async def test_features_that_are_slow_are_not_waited_for(books):
    await books.stop("ranking")
    await books.stop("features")
    hanging = parts.Hanging(FEATURES)
    await books.start("features", hanging)
    books.options["features_timeout_s"] = 0.05
    await books.start("ranking")
    await books.serving("ranking")
    await assert_popular_without_features(books)
    assert hanging.asked


@parts.all_methods
class Store:
    """A feature store that answers with these columns, by name."""

    descriptor = FEATURES

    def __init__(self, columns, degraded=()):
        self.columns = columns
        self.degraded = degraded

    async def GetOnlineFeatures(self, request, call):
        for how in self.degraded:
            call.degraded(how)
        columns = [self.columns[name] for name in request.features if name in self.columns]
        return features_pb2.GetOnlineFeaturesResponse(columns=columns)


def columns(status=features_pb2.FEATURE_STATUS_PRESENT, **changes):
    """What a store answers for the one reader, with some columns' values replaced."""
    values = {
        "count": {"float64": {"values": [2.0]}},
        "mean": {"float64": {"values": [3.5]}},
        "books": {"string": {"values": ["b2 b5"]}},
        "ratings": {"float32_vector": {"values": [5, 2, 0]}},
    } | changes
    names = zip(parts.ALL_FEATURES, values.values(), strict=True)
    return {name: {"feature": name, "values": value, "statuses": [status]} for name, value in names}


async def answering(books, store):
    """Puts the store in the feature store's place, for a ranking that never met another one."""
    for name in ("ranking", "features"):
        await books.stop(name)
    await books.start("features", store)
    await books.start("ranking")
    await books.serving("ranking")


async def test_a_feature_store_that_cannot_reach_its_rows_does_not_make_a_stranger_of_a_reader(books):
    store = Store(columns(features_pb2.FEATURE_STATUS_DEFAULTED), degraded=["feature_store_unreachable"])
    await answering(books, store)
    await assert_popular_without_features(books)
    _, trailers = await books.score()
    assert trailers["x-trunkline-degraded"] == "features_unavailable"
    store.degraded = ["something_else"]
    reply, trailers = await books.recommend()
    assert reply.source == pb.SOURCE_PERSONAL
    assert "x-trunkline-degraded" not in trailers


async def test_an_answer_of_the_feature_store_that_makes_no_sense_is_as_good_as_none(books):
    store = Store(columns())
    await answering(books, store)
    assert (await books.recommend())[0].source == pb.SOURCE_PERSONAL
    text, number, vector = (
        {"string": {"values": ["x"]}},
        {"float64": {"values": [1.0]}},
        {"float32_vector": {}},
    )
    nonsense = [
        columns(count=text),
        columns(count={}),
        columns(count={"float64": {"values": [1.0, 2.0]}}),
        columns(count={"bytes": {"values": [b"x"]}}),
        columns(books=number),
        columns(books={"string": {}}),
        columns(ratings=number),
        columns() | {parts.ALL_FEATURES[0]: columns()[parts.ALL_FEATURES[1]]},
        {name: column | {"statuses": []} for name, column in columns().items()},
        dict(list(columns().items())[:3]),
    ]
    for store.columns in nonsense:
        _, trailers = await books.recommend()
        assert trailers["x-trunkline-degraded"] == "features_unavailable", store.columns
    store.columns = columns(ratings=vector, count={"int64": {"values": [2]}})
    assert (await books.recommend())[0].source == pb.SOURCE_PERSONAL  # a book without a rating was read


async def test_a_caller_that_goes_away_takes_its_search_along(books):
    books.index.open.clear()
    stub = await books.stub("ranking", RankingServiceStub)
    call = stub.Recommend(pb.RecommendRequest(user_id="r1"), timeout=30)
    pending = asyncio.ensure_future(call)
    async with asyncio.timeout(10):
        await books.index.waiting.wait()
        pending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pending
        await books.index.dropped.wait()
    books.index.open.set()
    assert ids((await books.recommend())[0])


# ---- exploration


async def test_a_share_of_places_is_random_and_every_item_says_how_likely_it_was_there(books):
    reply, _ = await books.recommend(count=100, exploration_rate=1.0)
    left = len(reply.items)
    assert sorted(ids(reply)) == sorted(ids((await books.recommend(count=100))[0]))
    assert [item.propensity for item in reply.items] == pytest.approx([1 / (left - n) for n in range(left)])
    greedy, _ = await books.recommend(count=100, exploration_rate=0.0)
    assert all(item.propensity == 1.0 for item in greedy.items)


async def test_a_server_explores_as_it_is_set_where_a_request_does_not_say(books):
    await books.stop("ranking")
    books.options["exploration_rate"] = 1.0
    await books.start("ranking")
    await books.serving("ranking")
    reply, _ = await books.recommend(count=1)
    assert reply.items[0].propensity == pytest.approx(1 / 8)
    reply, _ = await books.recommend(count=1, exploration_rate=0.0)
    assert reply.items[0].propensity == 1.0


# ---- Rank


async def test_given_items_come_in_the_rankers_order_with_the_unknown_ones_named(books):
    reply, trailers = await books.rank("b1", "new2", "b10", "b2", "new1")
    known = best(["b1", "b10", "b2"])
    assert list(reply.unknown_item_ids) == ["new2", "new1"]
    assert sorted(ids(reply)) == sorted(["b1", "new2", "b10", "b2", "new1"])
    assert [item for item in ids(reply) if item in parts.IDS] == known
    for item in reply.items:
        nearness = NEARNESS.get(item.item_id, 0.0)
        assert item.score == pytest.approx(parts.expected_score(item.item_id, nearness), abs=1e-5)
    unknown = [item for item in ids(reply) if item not in parts.IDS]
    assert unknown == ["new2", "new1"]  # equal, so as they were given
    scores = [item.score for item in reply.items]
    assert scores == sorted(scores, reverse=True)
    assert trailers["x-trunkline-model-version"] == VERSION
    assert list(reply.defaulted_features) == []


async def test_items_are_ranked_for_a_reader_nobody_knows_too(books):
    reply, trailers = await books.rank("b1", "b10", user_id="nobody")
    assert ids(reply) == ["b10", "b1"]
    assert list(reply.defaulted_features) == parts.ALL_FEATURES
    assert "x-trunkline-degraded" not in trailers


# ---- what callers get wrong


async def test_a_model_of_another_task_is_refused_by_every_method(books):
    with pytest.raises(NotAllowed, match="MODEL_TASK") as refused:
        await books.recommend(model="models/fraud")
    assert "task recommend" in refused.value.message
    assert refused.value.metadata == {
        "version": "models/fraud/versions/1",
        "task": "score_transaction",
        "expected": "recommend",
    }
    with pytest.raises(NotAllowed, match="MODEL_TASK"):
        await books.rank("b1", model="models/fraud/versions/1")
    with pytest.raises(NotAllowed, match="MODEL_TASK") as refused:
        await books.score("models/recommender")
    assert refused.value.subject == VERSION


WRONG = [
    ({"user_id": ""}, "user_id"),
    ({"user_id": "r" * 129}, "user_id"),
    ({"count": -1}, "count"),
    ({"count": 101}, "count"),
    ({"exploration_rate": 1.5}, "exploration_rate"),
    ({"exploration_rate": float("nan")}, "exploration_rate"),
    ({"exclude_item_ids": ["b"] * 1001}, "exclude_item_ids"),
    ({"exclude_item_ids": ["b" * 129]}, "exclude_item_ids[0]"),
    ({"model": "recommender"}, "model"),
    ({"filter": "x" * 4097}, "filter"),
]
WRONG_ITEMS = [
    ([], "item_ids"),
    (["b1", ""], "item_ids[1]"),
    (["b1", "b2", "b1"], "item_ids[2]"),
    ([f"b{number}" for number in range(1001)], "item_ids"),
]


async def test_a_wrong_field_is_named(books):
    calls = [(books.recommend(**change), field) for change, field in WRONG]
    calls += [(books.rank(*items), field) for items, field in WRONG_ITEMS]
    for call, field in calls:
        with pytest.raises(BadRequest) as wrong:
            await call
        assert [violation.field for violation in wrong.value.violations] == [field]


async def test_a_version_that_does_not_fit_together_never_answers(books):
    broken = parts.artifact() | {"ranker.onnx": parts.ranker(item_columns=3)}
    name = await books.publish(broken, "recommender", production=False)
    with pytest.raises(NotAllowed, match="MODEL_REFUSED"):
        await books.recommend(model=name)
    assert (await books.recommend())[1]["x-trunkline-model-version"] == VERSION
    with pytest.raises(NotFound, match="MODEL_UNKNOWN"):
        await books.recommend(model="models/none")


async def test_what_it_did_is_in_the_metrics(books):
    reply, _ = await books.recommend()
    await books.recommend(user_id="nobody")
    value = books.servers["ranking"].metrics.registry.get_sample_value
    labels = {"service": "ranking", "model": "models/recommender", "version": "1"}
    assert value("ml_inference_latency_seconds_count", labels) == 1
    assert value("ml_prediction_count", labels) == len(reply.items)
