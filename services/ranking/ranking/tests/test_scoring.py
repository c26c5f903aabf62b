from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_ranking.features import FeatureQuery, FeatureRow, Online
from trunkline_ranking.fraud_signature import FraudSignature
from trunkline_ranking.patience import Patience
from trunkline_ranking.reading import Reading
from trunkline_ranking.scoring import Decision, assemble, decide
from trunkline_ranking.transaction import REQUEST_FEATURES, Transaction

NOON = datetime(2026, 3, 7, 12, 30, tzinfo=UTC)  # a Saturday
NAMES = ("customer_a:x", "terminal_b:y", "customer_a:z")
SIGNATURE = FraudSignature(
    ("customer_a:x", "request:amount", "terminal_b:y", "customer_a:z"),
    {"customer_a:x": 1.0, "terminal_b:y": 2.0, "customer_a:z": 3.0},
    0.5,
    0.75,
    ("customer", "terminal"),
    FeatureQuery(NAMES),
)


def at(time):
    return Transaction("c", "t", 10.0, time)


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)))
def test_request_features_are_what_the_model_was_trained_on(time):
    values = {name: float(of(at(time))) for name, of in REQUEST_FEATURES.items()}
    assert values == {
        "request:amount": 10.0,
        "request:hour": time.hour,
        "request:weekday": time.isoweekday() - 1,
        "request:night": float(time.hour <= 6),
        "request:weekend": float(time.isoweekday() in (6, 7)),
    }


def test_a_row_has_the_columns_of_the_signature_in_its_order():
    online = [Online(7.0, True), Online(8.0, True), Online(9.0, True)]
    assert assemble(SIGNATURE, at(NOON), FeatureRow(online)) == ([7.0, 10.0, 8.0, 9.0], ())


def test_without_values_a_row_has_the_defaults_and_says_so():
    assert assemble(SIGNATURE, at(NOON), None) == ([1.0, 10.0, 2.0, 3.0], NAMES)


@settings(deadline=None)
@given(st.lists(st.builds(Online, st.none() | st.floats(-9, 9), st.booleans()), min_size=3, max_size=3))
def test_what_is_not_fresh_is_named_and_what_is_missing_has_its_default(online):
    online = [Online(read.value, read.fresh and read.value is not None) for read in online]
    row, defaulted = assemble(SIGNATURE, at(NOON), FeatureRow(online))
    assert defaulted == tuple(name for name, read in zip(NAMES, online, strict=True) if not read.fresh)
    expected = [
        SIGNATURE.defaults[name] if read.value is None else read.value
        for name, read in zip(NAMES, online, strict=True)
    ]
    assert [row[0], row[2], row[3]] == expected


def test_a_probability_at_a_threshold_is_over_it():
    decisions = [decide(SIGNATURE, probability) for probability in (0.49, 0.5, 0.74, 0.75)]
    assert decisions == [Decision.APPROVE, Decision.REVIEW, Decision.REVIEW, Decision.DECLINE]


class Recorder:
    """A feature store that notes how long each caller would wait."""

    def __init__(self):
        self.timeouts = []

    async def read(self, query, entities, timeout_s):
        self.timeouts.append(timeout_s)
        return FeatureRow([Online(0.0, True) for _ in query.names])


@pytest.mark.parametrize(
    ("remaining_s", "timeout_s"),
    [(None, 0.1), (5.0, 0.1), (0.05, 0.04), (0.01, None), (0.0, None)],
)
async def test_the_wait_for_features_leaves_time_to_answer(remaining_s, timeout_s):
    features = Recorder()
    reading = Reading(features, Patience(longest_s=0.1, margin_s=0.01))
    row = await reading.read(SIGNATURE.query, {"customer": "c", "terminal": "t"}, remaining_s)
    assert features.timeouts == ([] if timeout_s is None else [pytest.approx(timeout_s)])
    assert (row is None) == (timeout_s is None)
