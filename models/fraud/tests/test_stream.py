import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from trunkline_artifact import SIGNATURE
from trunkline_fraud import artifact, export, features
from trunkline_fraud.stream import Replay
from trunkline_fraud.views import CUSTOMER_VIEW, TERMINAL_VIEW

NOW = datetime(2026, 3, 11, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def steps():
    return list(Replay.simulate(NOW).steps())


def test_the_stream_is_in_order_just_past_and_full_of_fraud(steps):
    times = [step.time_us for step in steps]
    assert len(steps) == 1500
    assert times == sorted(set(times))
    assert NOW - timedelta(days=9) < datetime.fromtimestamp(times[0] / 1e6, UTC)
    assert datetime.fromtimestamp(times[-1] / 1e6, UTC) < NOW
    assert sum(step.fraud for step in steps) >= 36
    assert {step.scenario for step in steps} == {0, 1, 2, 3}


def test_another_week_has_the_same_transactions_later(steps):
    later = list(Replay.simulate(NOW + timedelta(weeks=3, hours=5)).steps())
    shift_us = 3 * 7 * 86_400_000_000
    assert [(step.time_us + shift_us, step.amount, step.fraud) for step in steps] == [
        (step.time_us, step.amount, step.fraud) for step in later
    ]


def test_every_row_of_an_entity_is_newer_than_the_one_before():
    replay = Replay.simulate(NOW, count=300)
    newest = {
        (table.view, entity): time_us
        for table in replay.tables()
        for entity, time_us in zip(table.entity_ids, table.event_times_us, strict=True)
    }
    for step in replay.steps():
        assert all(row.view == TERMINAL_VIEW and row.event_time_us <= step.time_us for row in step.before)
        assert [row.view for row in step.after] == [CUSTOMER_VIEW, TERMINAL_VIEW]
        for row in (*step.before, *step.after):
            assert row.event_time_us > newest.get((row.view, row.entity_id), 0)
            newest[row.view, row.entity_id] = row.event_time_us


def test_the_shipped_model_finds_the_frauds_on_the_rows_that_the_stream_writes():
    replay = Replay.simulate(NOW)
    place = artifact.directory()
    signature = json.loads((place / SIGNATURE).read_text())
    store = {
        (table.view, entity): values
        for table in replay.tables()
        for entity, *values in zip(table.entity_ids, *table.columns, strict=True)
    }
    absent = {CUSTOMER_VIEW: [np.nan] * 7, TERMINAL_VIEW: [np.nan] * 6}
    rows, fraud = [], []
    for step in replay.steps():
        store |= {(row.view, row.entity_id): list(row.values) for row in step.before}
        moment = datetime.fromtimestamp(step.time_us // 1_000_000, UTC)
        request = [step.amount, moment.hour, moment.weekday(), moment.hour <= 6, moment.weekday() >= 5]
        rows.append(
            request
            + store.get((CUSTOMER_VIEW, step.customer_id), absent[CUSTOMER_VIEW])
            + store.get((TERMINAL_VIEW, step.terminal_id), absent[TERMINAL_VIEW])
        )
        fraud.append(step.fraud)
        store |= {(row.view, row.entity_id): list(row.values) for row in step.after}
    truth = np.array(fraud)
    filled = features.fill(np.array(rows, np.float32), signature["defaults"])
    flagged = export.score((place / artifact.MODEL).read_bytes(), filled) >= signature["thresholds"]["review"]
    precision, recall = truth[flagged].mean(), flagged[truth].mean()
    assert precision > 0.7, (precision, recall)
    assert recall > 0.5, (precision, recall)


@pytest.mark.parametrize("count", [0, 10**9])
def test_a_stream_longer_than_its_history_or_empty_is_refused(count):
    with pytest.raises(ValueError, match="cannot stream"):
        Replay.simulate(NOW, count)
