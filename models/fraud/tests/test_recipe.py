import json

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from trunkline_artifact import CARD, EVALUATION, SIGNATURE, VIEWS, verify, write
from trunkline_fraud import artifact, data, export, features, train
from trunkline_fraud.recipe import Thresholds, choose
from trunkline_fraud.recipe import train as fit
from trunkline_fraud.simulator import FraudRates, Population, simulate
from trunkline_fraud.split import Split
from trunkline_fraud.transactions import SCENARIOS
from trunkline_fraud.windows import LABEL_DELAY_DAYS

TINY = Population(customers=150, terminals=150, days=60, fraud=FraudRates().times(4))
ROUNDS = 20


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("artifact")
    return out, train.build(out, TINY, 1, rounds=ROUNDS)


@pytest.fixture(scope="module")
def trained():
    return fit(simulate(TINY, 1), 1, ROUNDS)


def layout(transactions, **changes):
    """The public layout."""
    columns = {
        "TRANSACTION_ID": np.arange(len(transactions)),
        "TX_DATETIME": transactions.time_us.astype("datetime64[us]").astype("datetime64[ns]"),
        "CUSTOMER_ID": transactions.customer.astype(np.int32),
        "TERMINAL_ID": transactions.terminal.astype(np.int32),
        "TX_AMOUNT": transactions.amount,
        "TX_FRAUD": transactions.fraud.astype(np.int8),
        "TX_FRAUD_SCENARIO": transactions.scenario,
    }
    return pa.table({name: value for name, value in {**columns, **changes}.items() if value is not None})


def test_the_recipe_runs_end_to_end_and_the_graph_answers_as_xgboost_does(built):
    out, evaluation = built
    assert set(verify(out)) == set(artifact.FILES)
    assert evaluation["simulator"]["parity"] <= export.PARITY
    assert evaluation["simulator"]["test"]["roc_auc"] > 0.7
    assert "No other data was measured" in (out / CARD).read_text()


def test_the_same_seed_gives_the_same_files(built, tmp_path):
    train.build(tmp_path, TINY, 1, rounds=ROUNDS)
    assert verify(tmp_path) == verify(built[0])


def test_another_seed_gives_another_model(built, tmp_path):
    train.build(tmp_path, TINY, 2, rounds=ROUNDS)
    assert verify(tmp_path)["model.onnx"] != verify(built[0])["model.onnx"]


def test_recorded_data_is_read_measured_apart_and_leaves_the_model_alone(built, tmp_path):
    recorded = simulate(TINY, 4)
    (tmp_path / "data").mkdir()
    pq.write_table(layout(recorded.where(slice(0, 3000))), tmp_path / "data" / "transactions_1.parquet")
    pq.write_table(layout(recorded.where(slice(3000, None))), tmp_path / "data" / "transactions_2.parquet")
    read = data.read(tmp_path / "data")
    for name in ("time_us", "customer", "terminal", "cents", "fraud", "scenario"):
        assert np.array_equal(getattr(read, name), getattr(recorded, name)), name

    out = tmp_path / "out"
    evaluation = train.build(out, TINY, 1, read, ROUNDS)
    assert evaluation["data"]["test"] != evaluation["simulator"]["test"]
    assert verify(out)["model.onnx"] == verify(built[0])["model.onnx"]
    assert "public data set" in (out / CARD).read_text()

    before = verify(out)
    train.build(out, TINY, 1, rounds=ROUNDS)
    assert verify(out) == before, "the same recipe keeps the figures of the data"
    assert "data" not in train.build(out, TINY, 1, rounds=ROUNDS + 1), "another one does not"


def test_data_without_scenarios_is_read(tmp_path):
    pq.write_table(layout(simulate(TINY, 4), TX_FRAUD_SCENARIO=None), tmp_path / "transactions.parquet")
    assert not data.read(tmp_path).scenario.any()


def test_data_that_does_not_fit_is_refused_with_what_is_wrong(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="no transactions"):
        data.read(tmp_path)
    path = tmp_path / "transactions.parquet"
    pq.write_table(layout(simulate(TINY, 4), TX_AMOUNT=None), path)
    with pytest.raises(ValueError, match=r"transactions.parquet lacks TX_AMOUNT"):
        data.read(tmp_path)
    small = simulate(TINY, 4).where(slice(0, 2))
    pq.write_table(layout(small, TX_AMOUNT=pa.array([1.0, None])), path)
    with pytest.raises(ValueError, match="nulls in TX_AMOUNT"):
        data.read(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        train.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "nulls in TX_AMOUNT" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_help_says_how_to_bring_data(capsys):
    with pytest.raises(SystemExit) as stopped:
        train.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "transactions*.parquet" in text
    assert "--seed" in text


def test_a_graph_that_answers_otherwise_stops_the_build(trained):
    other = fit(simulate(TINY, 2), 2, ROUNDS)
    with pytest.raises(ArithmeticError, match="differs from XGBoost"):
        export.parity(export.to_onnx(other.booster), trained.booster, trained.test_rows)


def test_one_row_and_many_get_the_same_answer(trained):
    model = export.to_onnx(trained.booster)
    together = export.score(model, trained.test_rows[:20])
    assert together.shape == (20,)
    assert np.array_equal(
        np.concatenate([export.score(model, row[None]) for row in trained.test_rows[:20]]), together
    )


def test_the_parts_of_a_split_follow_each_other_with_the_label_delay_between():
    history = simulate(TINY, 1)
    split = Split.of(60)
    training, validation, test = split.masks(history)
    assert split.gap == LABEL_DELAY_DAYS
    assert sum((split.warm_up, split.train, split.gap, split.validation, split.test)) == 60
    last, first = history.time_us[training].max(), history.time_us[validation].min()
    assert first - last >= LABEL_DELAY_DAYS * 86_400_000_000
    assert history.time_us[validation].max() < history.time_us[test].min()
    assert not np.any(training & validation | validation & test)


def test_a_history_too_short_or_without_fraud_is_refused():
    with pytest.raises(ValueError, match="too few"):
        fit(simulate(Population(customers=50, terminals=50, days=20), 1))
    with pytest.raises(ValueError, match="no fraud in the training days"):
        fit(simulate(Population(customers=50, terminals=50, days=40, fraud=FraudRates(0, 0, 0)), 1))


def test_decline_is_precise_and_review_finds_more():
    fraud = np.array([0, 0, 1, 0, 1, 1, 1], np.bool_)
    probability = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], np.float32)
    assert choose(fraud, probability) == Thresholds(review=0.2, decline=0.4)


def test_defaults_stand_in_for_rows_that_are_absent(trained):
    absent = np.full((1, len(features.INPUTS)), np.nan, np.float32)
    absent[0, : len(features.REQUEST_INPUTS)] = 1.0
    filled = dict(zip(features.INPUTS, features.fill(absent, trained.defaults)[0], strict=True))
    assert filled["customer_activity:count_30d"] == filled["terminal_activity:risk_30d"] == 0
    assert filled["customer_activity:mean_amount_30d"] > 10
    assert set(trained.defaults) == set(features.CUSTOMER_INPUTS + features.TERMINAL_INPUTS)


# The artefact that ships.

AUC_FLOOR = 0.88
"""Nine populations like the one below, with other seeds among them, gave 0.900 to 0.947."""


def test_the_shipped_files_are_what_their_digests_say_and_small():
    place = artifact.directory()
    assert set(verify(place)) == set(artifact.FILES)
    assert (place / artifact.MODEL).stat().st_size <= 3 * 2**20


def test_a_file_that_was_changed_is_found_out(built, tmp_path):
    write(tmp_path, {"a": b"1"})
    (tmp_path / "a").write_bytes(b"2")
    with pytest.raises(ValueError, match="a is not the file"):
        verify(tmp_path)


def test_the_shipped_signature_fits_the_graph_and_the_views():
    place = artifact.directory()
    session = onnxruntime.InferenceSession(place / artifact.MODEL)
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    signature = json.loads((place / SIGNATURE).read_text())
    assert (taken.name, taken.type, taken.shape[1]) == ("features", "tensor(float)", len(signature["inputs"]))
    assert (given.name, given.type, len(given.shape)) == ("probability", "tensor(float)", 1)
    assert signature["task"] == "score_transaction"
    assert signature["inputs"] == list(features.INPUTS)
    assert 0 < signature["thresholds"]["review"] <= signature["thresholds"]["decline"] < 1
    described = json.loads((place / VIEWS).read_text())["views"]
    assert signature["entity_types"] == {view["name"]: view["entity_type"] for view in described}
    declared = {
        f"{view['name']}:{field['name']}": field["default"] for view in described for field in view["fields"]
    }
    assert declared == signature["defaults"]
    stored = [name for name in signature["inputs"] if not name.startswith("request:")]
    assert list(declared) == stored


def test_the_shipped_card_holds_the_measured_figures_of_both_trainings():
    place = artifact.directory()
    card = (place / CARD).read_text()
    evaluation = json.loads((place / EVALUATION).read_text())
    assert verify(place)["model.onnx"] in card
    for part in ("simulator", "data"):
        test = evaluation[part]["test"]
        assert f"| {test['roc_auc']:.3f} |" in card
        assert f"| {test['average_precision']:.3f} |" in card
        assert set(test["decline"]["recall_by_scenario"]) == set(SCENARIOS.values())


def test_the_shipped_model_ranks_the_frauds_of_a_population_it_never_saw():
    population = Population(customers=4000, terminals=4000, days=68)
    history = simulate(population, 4711)
    place = artifact.directory()
    signature = json.loads((place / SIGNATURE).read_text())
    month = history.time_us >= history.time_us[-1] - 30 * 86_400_000_000
    rows = features.fill(features.inputs(history)[month], signature["defaults"])
    probability = export.score((place / artifact.MODEL).read_bytes(), rows)
    assert roc_auc_score(history.fraud[month], probability) > AUC_FLOOR


@pytest.mark.long
def test_retraining_what_ships_gives_the_same_files_twice(tmp_path):
    for name in ("once", "again"):
        assert train.main(["--out", str(tmp_path / name)]) == 0
    assert verify(tmp_path / "once") == verify(tmp_path / "again")
    shipped = json.loads((artifact.directory() / EVALUATION).read_text())
    retrained = json.loads((tmp_path / "once" / EVALUATION).read_text())
    # Other processors may round otherwise, so between machines only the quality is the same.
    assert retrained["simulator"]["test"]["roc_auc"] == pytest.approx(
        shipped["simulator"]["test"]["roc_auc"], abs=0.01
    )
