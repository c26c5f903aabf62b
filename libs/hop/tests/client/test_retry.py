"""What bounds extra attempts."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.hedge import Latencies
from trunkline_hop.retry import RetryBudget, backoff_s, pushback_s

SETTINGS = ClientSettings()


@given(st.lists(st.sampled_from(["call", "extra", "unsent"]), max_size=2000))
def test_no_sequence_of_calls_and_failures_makes_more_extra_attempts_than_the_burst_and_a_tenth(
    events: list[str],
) -> None:
    budget = RetryBudget(SETTINGS)
    calls = extra = 0
    for event in events:
        if event == "call":
            calls += 1
            budget.called()
        elif budget.take():
            if event == "unsent":
                budget.give_back()
            else:
                extra += 1
        assert extra * 10 <= SETTINGS.retry_burst * 10 + calls


@given(st.lists(st.booleans(), min_size=50, max_size=500), st.integers(0, 400))
def test_the_bound_holds_in_every_stretch_of_time(events: list[bool], start: int) -> None:
    budget = RetryBudget(SETTINGS)
    calls = extra = 0
    for index, is_call in enumerate(events):
        if is_call:
            budget.called()
            calls += index >= start
        elif budget.take():
            extra += index >= start
    assert extra * 10 <= SETTINGS.retry_burst * 10 + calls


def test_a_dead_upstream_sees_a_tenth_more_than_its_callers_want() -> None:
    budget = RetryBudget(SETTINGS)
    extra = 0
    for _ in range(10_000):
        budget.called()
        extra += budget.take() + budget.take()
    assert extra <= 1_000 + SETTINGS.retry_burst


@given(st.integers(1, 20), st.integers(0, 2**32))
def test_a_wait_is_drawn_between_nothing_and_a_ceiling_that_doubles(tries: int, seed: int) -> None:
    wait = backoff_s(tries, SETTINGS, Random(seed))
    assert 0.0 <= wait <= min(SETTINGS.backoff_maximum_s, SETTINGS.backoff_initial_s * 2 ** (tries - 1))


def test_pushback_is_read_in_milliseconds() -> None:
    assert pushback_s((("x", "1"), ("grpc-retry-pushback-ms", "250"))) == 0.25
    assert pushback_s((("grpc-retry-pushback-ms", "soon"),)) is None
    assert pushback_s(None) is None


def test_there_is_no_quantile_before_enough_answers() -> None:
    latencies = Latencies(0.95, 100)
    for _ in range(99):
        latencies.add(0.001)
    assert latencies.quantile_s is None
    latencies.add(0.001)
    assert latencies.quantile_s == 0.001


def test_the_quantile_follows_the_newest_answers() -> None:
    latencies = Latencies(0.95, 100)
    for _ in range(600):
        latencies.add(0.001)
    for _ in range(600):
        latencies.add(0.5)
    assert latencies.quantile_s == 0.5


@given(st.lists(st.floats(0.0, 10.0), min_size=100, max_size=300))
def test_the_quantile_is_one_of_the_answers_near_the_top(samples: list[float]) -> None:
    latencies = Latencies(0.95, 100)
    for sample in samples:
        latencies.add(sample)
    assert latencies.quantile_s in samples


def test_a_setting_without_a_burst_never_retries() -> None:
    budget = RetryBudget(replace(SETTINGS, retry_burst=0))
    budget.called()
    assert not budget.take()
