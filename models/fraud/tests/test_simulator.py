from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_fraud.simulator import FraudRates, Population, simulate
from trunkline_fraud.transactions import DAY_US, Transactions

SMALL = Population(customers=60, terminals=80, days=20)
NO_FRAUD = FraudRates(0.0, 0.0, 0.0)


def columns(transactions):
    return [getattr(transactions, name) for name in transactions.__slots__]


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.integers(1, 10))
@settings(max_examples=40, deadline=None)
def test_the_same_seed_gives_the_same_transactions_in_order_within_the_population(
    seed, customers, terminals, days
):
    population = Population(customers=customers, terminals=terminals, days=days)
    once, again = simulate(population, seed), simulate(population, seed)
    assert all(np.array_equal(*pair) for pair in zip(columns(once), columns(again), strict=True))
    assert np.all(np.diff(once.time_us) > 0)
    assert np.all((once.customer >= 0) & (once.customer < customers))
    assert np.all((once.terminal >= 0) & (once.terminal < terminals))
    assert np.all(once.cents >= 1)
    assert np.array_equal(once.fraud, once.scenario > 0)
    start_us = int(population.start.timestamp()) * 1_000_000
    assert np.all((once.time_us >= start_us) & (once.time_us < start_us + (days + 1) * DAY_US))


def test_another_seed_gives_other_transactions():
    assert not np.array_equal(simulate(SMALL, 1).cents, simulate(SMALL, 2).cents)


def test_fraud_leaves_the_genuine_purchases_as_they_would_have_been():
    clean = simulate(Population(customers=60, terminals=80, days=20, fraud=NO_FRAUD), 3)
    mixed = simulate(SMALL, 3)
    genuine = mixed.where(~mixed.fraud)
    assert not clean.fraud.any()
    assert set(zip(genuine.customer, genuine.cents, strict=True)) <= set(
        zip(clean.customer, clean.cents, strict=True)
    )


def test_each_scenario_happens_about_as_often_as_its_rates_say():
    history = simulate(Population(customers=1000, terminals=1000, days=120), 5)
    share = {scenario: float(np.mean(history.scenario == scenario)) for scenario in (1, 2, 3)}
    # Rate a day x mean days x share of the purchases in that time.
    expected = {1: 0.002, 2: 0.00025 * 28 * 0.95, 3: 0.00065 * 14 / 3}
    for scenario, value in expected.items():
        assert 0.5 * value < share[scenario] < 2.0 * value, (scenario, share)


def test_frauds_look_like_their_scenarios():
    history = simulate(Population(customers=1000, terminals=1000, days=120), 5)
    mean = {scenario: history.amount[history.scenario == scenario].mean() for scenario in range(4)}
    assert mean[1] > 350
    assert mean[2] == pytest.approx(mean[0], rel=0.25)
    assert 2.5 * mean[0] < mean[3] < 8 * mean[0]


def test_denser_fraud_is_the_same_mix():
    assert FraudRates(0.1, 0.2, 0.3).times(2) == FraudRates(0.2, 0.4, 0.6)


def test_habits_follow_the_hour_and_the_weekend():
    history = simulate(Population(customers=500, terminals=200, days=70, fraud=NO_FRAUD), 2)
    hour = history.time_us // (DAY_US // 24) % 24
    assert np.mean((hour >= 9) & (hour < 20)) > 0.7
    first = simulate(
        Population(customers=500, terminals=200, days=2, start=datetime(2025, 1, 11, tzinfo=UTC)), 2
    )
    assert datetime.fromtimestamp(first.time_us[0] / 1e6, UTC).weekday() == 5


@pytest.mark.parametrize("name", ["customers", "terminals", "days"])
def test_an_empty_population_is_refused(name):
    with pytest.raises(ValueError, match="at least one"):
        simulate(Population(**{name: 0}))


def test_transactions_refuse_columns_that_do_not_fit_and_time_that_runs_backwards():
    history = simulate(SMALL, 1)
    with pytest.raises(ValueError, match="different lengths"):
        Transactions(history.time_us[1:], *columns(history)[1:])
    with pytest.raises(ValueError, match="order of time"):
        Transactions(history.time_us[::-1], *columns(history)[1:])
