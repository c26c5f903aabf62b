"""Recommending over stores that tests write by hand: what it asks, and what it makes of time."""

from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import recommender_parts as parts

from trunkline_hop.errors import Unavailable
from trunkline_hop.metrics import Metrics
from trunkline_ranking.features import FeatureRow, Online
from trunkline_ranking.inference import Inference
from trunkline_ranking.model import ModelLoader
from trunkline_ranking.patience import Patience
from trunkline_ranking.reading import Reading
from trunkline_ranking.recommend import Recommending, Request, Source
from trunkline_ranking.retrieval import Found
from trunkline_ranking.user import Users

MARGIN_S = 0.01


class Stores:
    """A feature store and an index whose answers are there at once, and that note how long each is waited for."""

    def __init__(self):
        self.waits = []
        self.searches = []
        self.found = parts.IDS

    async def read(self, query, entities, timeout_s):
        self.waits.append(timeout_s)
        assert entities == {"reader": "r1"}
        ratings = np.array([5, 2, 0], np.float32)
        numbers = [Online(1.0, True) for _ in query.numbers]
        return FeatureRow(numbers, [Online("b2 b5", True)], [Online(ratings, True)])

    async def search(self, search, timeout_s):
        self.waits.append(timeout_s)
        self.searches.append(search)
        return Found(self.found, np.linspace(1, 0, len(self.found), dtype=np.float32), "s", 3)


@pytest.fixture
def stores():
    return Stores()


@pytest.fixture
def recommending(recommender, stores):
    model = ModelLoader().load(recommender())

    class Models:
        @asynccontextmanager
        async def lease(self, name):
            yield SimpleNamespace(model=model, version=f"{name}/versions/1")

    return Recommending(
        Models(),
        Users(Reading(stores, Patience(0.1, MARGIN_S))),
        stores,
        Inference("ranking", Metrics()),
        Patience(0.2, MARGIN_S),
        0.0,
        Random(0),
    )


def asked(**changes):
    return Request(**{"model": "models/recommender", "user_id": "r1", "count": 4} | changes)


@pytest.mark.parametrize(
    ("left_s", "waits"),
    [
        ((None, None), [0.1, 0.2]),
        ((5.0, 5.0), [0.1, 0.2]),
        ((0.06, 0.06), [0.05, 0.05]),
        ((0.2, 0.11), [0.1, 0.1]),
    ],
)
async def test_each_wait_leaves_time_to_answer(recommending, stores, left_s, waits):
    answer = await recommending.recommend(asked(), iter(left_s).__next__)
    assert stores.waits == pytest.approx(waits)
    assert answer.source is Source.PERSONAL
    assert answer.degradations == ()


async def test_with_a_deadline_nearly_spent_nobody_is_asked_and_the_answer_is_popular(recommending, stores):
    answer = await recommending.recommend(asked(), lambda: MARGIN_S)
    assert stores.waits == []
    assert [item.item_id for item in answer.items] == parts.POPULAR[:4]
    assert answer.source is Source.POPULAR
    assert answer.degradations == ("features_unavailable",)


async def test_with_no_time_left_for_retrieval_the_popular_list_is_ranked(recommending, stores):
    answer = await recommending.recommend(asked(), iter([0.1, MARGIN_S]).__next__)
    assert stores.searches == []
    assert {item.item_id for item in answer.items} <= set(parts.POPULAR)
    assert answer.degradations == ("retrieval_unavailable",)
    with pytest.raises(Unavailable):
        await recommending.recommend(asked(filter="x"), iter([0.1, MARGIN_S]).__next__)


async def test_a_search_asks_for_as_many_more_as_are_left_out_but_no_more_than_there_can_be(
    recommending, stores
):
    await recommending.recommend(asked(exclude=frozenset({"b2", "x"})), lambda: None)
    await recommending.recommend(asked(count=50), lambda: None)
    await recommending.recommend(asked(exclude=frozenset(map(str, range(1000)))), lambda: None)
    assert [search.top_k for search in stores.searches] == [8 + 3, 50 + 2, 1000]
    assert {search.index for search in stores.searches} == {f"indexes/{parts.INDEX}"}


async def test_no_more_candidates_are_ranked_than_the_signature_says_unless_more_are_wanted(
    recommending, stores
):
    stores.found = [f"new{number}" for number in range(30)]
    exclude = frozenset(f"other{number}" for number in range(20))
    answer = await recommending.recommend(asked(exclude=exclude, exploration_rate=1.0), lambda: None)
    assert answer.items[0].propensity == pytest.approx(1 / 8)
    answer = await recommending.recommend(asked(count=12, exploration_rate=1.0), lambda: None)
    assert answer.items[0].propensity == pytest.approx(1 / 12)
