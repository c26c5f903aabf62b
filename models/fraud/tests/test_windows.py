from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_fraud.transactions import DAY_US, HOUR_US, Transactions
from trunkline_fraud.windows import (
    CUSTOMER_FIELDS,
    LABEL_DELAY_DAYS,
    TERMINAL_FIELDS,
    Activity,
    customer_rows,
    terminal_rows,
)


def history(*events):
    """(day, customer, terminal, amount, fraud) in order of time."""
    columns = list(zip(*events, strict=True)) or [[], [], [], [], []]
    fraud = np.array(columns[4], np.bool_)
    return Transactions(
        time_us=np.array([round(day * DAY_US) for day in columns[0]], np.int64),
        customer=np.array(columns[1], np.int64),
        terminal=np.array(columns[2], np.int64),
        cents=np.array([round(amount * 100) for amount in columns[3]], np.int64),
        fraud=fraud,
        scenario=fraud.astype(np.int8),
    )


def online(transactions):
    """The rows that a store would have served before each transaction, NaN where it had none."""
    activity = Activity()
    customers = np.full((len(transactions), len(CUSTOMER_FIELDS)), np.nan)
    terminals = np.full((len(transactions), len(TERMINAL_FIELDS)), np.nan)
    store = {}
    for place in range(len(transactions)):
        time_us, customer, terminal = (
            int(column[place])
            for column in (transactions.time_us, transactions.customer, transactions.terminal)
        )
        for changed in activity.settle(time_us):
            store["terminal", changed] = activity.terminals[changed].row()
        customers[place] = store.get(("customer", customer), np.nan)
        terminals[place] = store.get(("terminal", terminal), np.nan)
        activity.observe(
            time_us, customer, terminal, int(transactions.cents[place]), bool(transactions.fraud[place])
        )
        store["customer", customer] = activity.customers[customer].row()
        store["terminal", terminal] = activity.terminals[terminal].row()
    return customers, terminals


# Steps that often hit a window's edge or no time at all.
STEPS_US = st.sampled_from(
    [0, 1, HOUR_US, DAY_US - 1, DAY_US, 6 * DAY_US, 7 * DAY_US, 23 * DAY_US, 30 * DAY_US]
)
EVENTS = st.lists(
    st.tuples(STEPS_US, st.integers(0, 2), st.integers(5, 7), st.integers(1, 10**6), st.booleans()),
    min_size=1,
    max_size=40,
)


@st.composite
def histories(draw):
    steps, customer, terminal, cents, fraud = (np.array(column) for column in zip(*draw(EVENTS), strict=True))
    return Transactions(
        np.cumsum(steps).astype(np.int64) + draw(st.integers(0, 2**50)),
        customer.astype(np.int64),
        terminal.astype(np.int64),
        cents.astype(np.int64),
        fraud.astype(np.bool_),
        fraud.astype(np.int8),
    )


@given(histories())
@settings(deadline=None)
def test_offline_rows_are_bit_for_bit_those_a_store_fed_online_would_have_served(transactions):
    customers, terminals = online(transactions)
    assert np.array_equal(customer_rows(transactions), customers, equal_nan=True)
    assert np.array_equal(terminal_rows(transactions), terminals, equal_nan=True)


@given(histories(), st.data())
@settings(deadline=None)
def test_a_row_depends_on_nothing_that_comes_after_it(transactions, data):
    cut = data.draw(st.integers(0, len(transactions) - 1))
    seen = slice(0, cut + 1)
    past = transactions.where(seen)
    assert np.array_equal(customer_rows(transactions)[seen], customer_rows(past), equal_nan=True)
    assert np.array_equal(terminal_rows(transactions)[seen], terminal_rows(past), equal_nan=True)


@given(histories())
@settings(deadline=None)
def test_a_row_depends_on_no_label_younger_than_the_delay(transactions):
    last = len(transactions) - 1
    young = transactions.time_us > transactions.time_us[last] - LABEL_DELAY_DAYS * DAY_US
    other = replace(transactions, fraud=transactions.fraud ^ young)
    assert np.array_equal(terminal_rows(transactions)[last], terminal_rows(other)[last], equal_nan=True)


def test_a_customers_row_counts_back_from_its_last_transaction():
    rows = customer_rows(history((0, 1, 9, 10, 0), (6, 1, 9, 20, 0), (6.5, 1, 9, 40, 0), (90, 1, 9, 5, 0)))
    assert np.isnan(rows[0]).all()
    named = dict(zip(CUSTOMER_FIELDS, rows[3], strict=True))
    assert named == {
        "count_1d": 2,
        "mean_amount_1d": 30,
        "count_7d": 3,
        "mean_amount_7d": pytest.approx(70 / 3),
        "count_30d": 3,
        "mean_amount_30d": pytest.approx(70 / 3),
        "std_amount_30d": pytest.approx(np.std([10, 20, 40])),
    }


def test_a_terminals_risk_rises_when_the_label_arrives_and_not_before():
    rows = terminal_rows(
        history((0, 1, 9, 10, 1), (6.9, 2, 9, 10, 0), (7.0, 3, 9, 10, 0), (7.5, 4, 9, 10, 0))
    )
    risk = rows[:, TERMINAL_FIELDS.index("risk_1d")]
    assert risk[1] == 0
    assert risk[2] == risk[3] == 1


def test_a_label_is_an_event_that_moves_the_terminals_windows():
    rows = terminal_rows(history((0, 1, 9, 10, 0), (40, 1, 9, 10, 0)))
    named = dict(zip(TERMINAL_FIELDS, rows[1], strict=True))
    assert named["count_1d"] == named["count_7d"] == 0
    assert named["count_30d"] == 1


def test_entities_too_many_for_their_time_are_refused():
    count = 60
    with pytest.raises(ValueError, match="too many entities"):
        customer_rows(history(*((0 if place == 0 else 90_000_000, place, 1, 1, 0) for place in range(count))))


def test_no_transactions_have_no_rows():
    assert customer_rows(history()).shape == (0, len(CUSTOMER_FIELDS))
    assert terminal_rows(history()).shape == (0, len(TERMINAL_FIELDS))
