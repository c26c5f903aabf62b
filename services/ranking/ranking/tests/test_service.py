"""The service between a real registry and a real feature store."""

import json
import math

import pytest

from trunkline.ranking.v1 import ranking_pb2 as pb
from trunkline_hop.errors import BadRequest, NotAllowed, NotFound, Unavailable

FEATURES = ["customer_activity:count_1d", "terminal_activity:risk_1d"]


def sigmoid(total):
    return 1 / (1 + math.exp(-total))


async def test_a_transaction_is_scored_on_its_request_and_its_features(suite):
    await suite.write("customer_activity", "c1", count_1d=-13.0)
    await suite.write("terminal_activity", "t1", risk_1d=1.0)
    reply, trailers = await suite.score(amount=12.5)
    assert reply.probability == pytest.approx(sigmoid(12.5 - 13.0 + 1.0))
    assert reply.decision == pb.DECISION_REVIEW
    assert list(reply.defaulted_features) == []
    assert trailers["x-trunkline-model-version"] == "models/fraud/versions/1"
    assert "x-trunkline-degraded" not in trailers


async def test_entities_without_rows_are_scored_on_defaults_which_the_answer_names(suite):
    reply, trailers = await suite.score(amount=0.0)
    # The view's own default for the one, the signature's for the one that has none.
    assert reply.probability == pytest.approx(sigmoid(0.5 + 0.25))
    assert list(reply.defaulted_features) == FEATURES
    assert "x-trunkline-degraded" not in trailers


async def test_a_stale_value_is_used_and_named(suite):
    await suite.write("customer_activity", "c1", age_s=7200, count_1d=-2.0)
    await suite.write("terminal_activity", "t1", risk_1d=1.0)
    reply, _ = await suite.score(amount=0.0)
    assert reply.probability == pytest.approx(sigmoid(-2.0 + 1.0))
    assert list(reply.defaulted_features) == FEATURES[:1]


async def test_without_the_feature_store_it_answers_on_defaults_and_says_so(suite):
    await suite.write("customer_activity", "c1", count_1d=-1.0)
    await suite.write("terminal_activity", "t1", risk_1d=1.0)
    assert list((await suite.score())[0].defaulted_features) == []
    await suite.stop("features")
    for _ in range(5):  # more often than the breaker lets through
        reply, trailers = await suite.score(amount=0.0, timeout=2.0)
        assert reply.probability == pytest.approx(sigmoid(3.0 + 0.25))
        assert list(reply.defaulted_features) == FEATURES
        assert trailers["x-trunkline-degraded"] == "features_unavailable"
        assert trailers["x-trunkline-model-version"] == "models/fraud/versions/1"


async def test_a_view_nobody_declared_is_as_good_as_none(empty_suite, files):
    await empty_suite.publish(files)
    await empty_suite.serving("ranking")
    reply, trailers = await empty_suite.score(amount=0.0)
    assert list(reply.defaulted_features) == FEATURES
    assert trailers["x-trunkline-degraded"] == "features_unavailable"


async def test_a_new_version_in_production_answers_and_the_old_one_by_name(suite, files, signature, until):
    signature["thresholds"] = {"review": 0.0, "decline": 0.0}
    name = await suite.publish(files | {"signature.json": json.dumps(signature).encode()})

    async def swapped():
        reply, trailers = await suite.score()
        return trailers["x-trunkline-model-version"] == name and reply

    assert (await until(swapped)).decision == pb.DECISION_DECLINE
    reply, trailers = await suite.score("models/fraud/versions/1", amount=0.0)
    assert trailers["x-trunkline-model-version"] == "models/fraud/versions/1"
    assert reply.decision == pb.DECISION_REVIEW


async def test_a_version_with_a_wrong_signature_never_answers(suite, files, signature):
    signature["inputs"].append("request:mood")
    name = await suite.publish(files | {"signature.json": json.dumps(signature).encode()}, production=False)
    with pytest.raises(NotAllowed, match="MODEL_REFUSED") as refused:
        await suite.score(name)
    assert "request:mood" in refused.value.message
    assert (await suite.score())[1]["x-trunkline-model-version"] == "models/fraud/versions/1"


async def test_before_a_model_is_there_it_is_not_ready(empty_suite, files):
    assert not empty_suite.servers["ranking"].ready()
    with pytest.raises((Unavailable, NotFound)):
        await empty_suite.score(timeout=1.0)
    await empty_suite.publish(files)
    await empty_suite.serving("ranking")


async def test_it_restarts_while_the_registry_is_down(suite, until):
    async def saved():
        return (suite.directory / "models/known-good.json").exists()

    await until(saved)
    await suite.stop("ranking")
    await suite.stop("registry")
    await suite.start("ranking")
    await suite.serving("ranking")
    assert (await suite.score())[1]["x-trunkline-model-version"] == "models/fraud/versions/1"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": math.nan}, "transaction.amount"),
        ({"amount": math.inf}, "transaction.amount"),
        ({"amount": -1.0}, "transaction.amount"),
        ({"customer_id": ""}, "transaction.customer_id"),
        ({"terminal_id": "t" * 129}, "transaction.terminal_id"),
        ({"time": None}, "transaction.time"),
        ({"time": {"seconds": 2**60}}, "transaction.time"),
        ({"model": "fraud"}, "model"),
    ],
)
async def test_a_wrong_field_is_named(suite, change, field):
    with pytest.raises(BadRequest) as wrong:
        await suite.score(**change)
    assert [violation.field for violation in wrong.value.violations] == [field]


@pytest.mark.parametrize(
    ("model", "reason"),
    [("models/none", "MODEL_UNKNOWN"), ("models/fraud/versions/99", "VERSION_UNKNOWN")],
)
async def test_what_is_unknown_is_not_found(suite, model, reason):
    with pytest.raises(NotFound, match=reason):
        await suite.score(model)


async def test_an_amount_no_float32_can_hold_still_has_an_answer(suite):
    reply, _ = await suite.score(amount=1e300)
    assert reply.probability == 1.0


async def test_what_it_did_is_in_the_metrics(suite):
    await suite.score()
    value = suite.servers["ranking"].metrics.registry.get_sample_value
    labels = {"service": "ranking", "model": "models/fraud", "version": "1"}
    assert value("ml_inference_latency_seconds_count", labels) == 1
    assert value("ml_prediction_count", labels) == 1


async def test_the_model_that_ships_scores_on_the_views_that_ship(empty_suite, artifact):
    await empty_suite.declare(json.loads(artifact.pop("views.json"))["views"])
    await empty_suite.publish({name: artifact[name] for name in ("model.onnx", "signature.json")})
    await empty_suite.serving("ranking")
    reply, trailers = await empty_suite.score(amount=25.0)
    usual, high = reply.probability, (await empty_suite.score(amount=900.0))[0].probability
    assert 0 <= usual < high <= 1
    assert set(reply.defaulted_features) == set(json.loads(artifact["signature.json"])["defaults"])
    await empty_suite.stop("features")
    reply, trailers = await empty_suite.score(amount=25.0, timeout=2.0)
    assert reply.probability == pytest.approx(usual)
    assert trailers["x-trunkline-degraded"] == "features_unavailable"
