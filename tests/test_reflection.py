"""A client that has no stubs asks the gateway what there is, and calls it: buf's, where Node brought it."""

from __future__ import annotations

from reflection_parts import call, through_reflection
from suite_parts import Client, Suite, rows

READ = (
    "trunkline.features.v1.FeatureService/GetOnlineFeatures",
    {
        "features": ["customer_activity:count_1d"],
        "entities": [{"entityType": "customer", "ids": ["c1"]}],
    },
)
SCORE = (
    "trunkline.ranking.v1.RankingService/ScoreTransaction",
    {
        "transaction": {
            "customerId": "c1",
            "terminalId": "t1",
            "amount": 25.0,
            "time": "2026-01-05T12:00:00Z",
        }
    },
)


async def test_features_are_read_without_stubs(suite: Suite, client: Client) -> None:
    await client.features.WriteFeatures(rows("customer_activity", ["c1"], 3.0), timeout=5)
    wanted = await through_reflection(suite.target, *READ)
    assert wanted["columns"][0]["values"]["float64"]["values"] == [3.0]
    answer = await call(suite.target, *READ)
    assert answer["columns"] == wanted["columns"]


async def test_a_transaction_is_scored_without_stubs(suite: Suite, client: Client) -> None:
    answer = await call(suite.target, *SCORE)
    assert answer == await through_reflection(suite.target, *SCORE)
    assert 0 <= answer["probability"] <= 1
    assert answer["decision"].startswith("DECISION_")
