"""The breaker under a clock that only the test moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trunkline_hop.breaker import REFUSED, Breaker
from trunkline_hop.client_settings import ClientSettings

SETTINGS = ClientSettings()


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(SETTINGS)
    for _ in range(SETTINGS.breaker_failures):
        breaker.failed(breaker.admit(now), now)
    return breaker


def test_three_failures_in_a_row_open_it_for_thirty_seconds() -> None:
    breaker = opened(now=100.0)
    assert breaker.state == "open"
    assert breaker.admit(129.9) == REFUSED
    assert breaker.retry_in(110.0) == pytest.approx(20.0)


def test_an_answer_in_between_starts_the_count_again() -> None:
    breaker = Breaker(SETTINGS)
    for outcome in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed):
        outcome(breaker.admit(0.0), 0.0)
    assert breaker.state == "closed"


def test_half_of_the_calls_failing_opens_it_without_a_run_of_failures() -> None:
    breaker = Breaker(SETTINGS)
    for turn in range(SETTINGS.breaker_calls):
        outcome = breaker.failed if turn % 2 else breaker.succeeded
        outcome(breaker.admit(turn * 0.1), turn * 0.1)
    assert breaker.state == "open"


def test_failures_that_left_the_window_count_no_more() -> None:
    breaker = Breaker(replace(SETTINGS, breaker_failures=1000))
    for _ in range(19):
        breaker.failed(breaker.admit(0.0), 0.0)
    breaker.failed(breaker.admit(60.0), 60.0)
    assert breaker.state == "closed"


def test_one_probe_goes_through_half_open_and_closes_it() -> None:
    breaker = opened()
    probe = breaker.admit(30.0)
    assert probe != REFUSED
    assert breaker.state == "half-open"
    assert breaker.admit(30.0) == REFUSED
    breaker.succeeded(probe, 30.1)
    assert breaker.state == "closed"
    assert breaker.admit(30.1) != REFUSED


def test_a_failed_probe_opens_it_for_the_whole_time_again() -> None:
    breaker = opened()
    breaker.failed(breaker.admit(30.0), 31.0)
    assert breaker.state == "open"
    assert breaker.retry_in(31.0) == pytest.approx(30.0)


def test_a_cancelled_probe_gives_its_place_to_the_next() -> None:
    breaker = opened()
    breaker.returned(breaker.admit(30.0))
    assert breaker.state == "half-open"
    assert breaker.admit(30.0) != REFUSED


def test_a_probe_that_never_reports_loses_its_place_and_its_say() -> None:
    breaker = opened()
    lost = breaker.admit(30.0)
    second = breaker.admit(60.0)
    assert second != REFUSED
    breaker.succeeded(lost, 60.0)
    assert breaker.state == "half-open"
    breaker.succeeded(second, 60.0)
    assert breaker.state == "closed"


def test_an_attempt_from_before_it_opened_judges_nothing() -> None:
    breaker = Breaker(SETTINGS)
    early = breaker.admit(0.0)
    for _ in range(3):
        breaker.failed(breaker.admit(0.0), 0.0)
    probe = breaker.admit(30.0)
    breaker.succeeded(early, 30.0)
    assert breaker.state == "half-open"
    breaker.succeeded(probe, 30.0)
    breaker.failed(early, 31.0)
    assert breaker.state == "closed"


def test_a_returned_endpoint_is_probed_without_waiting() -> None:
    breaker = opened()
    breaker.seen_alive()
    assert breaker.retry_in(0.1) == 0.0
    assert breaker.admit(0.1) != REFUSED
    assert breaker.admit(0.1) == REFUSED


def test_every_transition_is_told() -> None:
    told: list[str] = []
    breaker = Breaker(SETTINGS, told.append)
    for _ in range(3):
        breaker.failed(breaker.admit(0.0), 0.0)
    breaker.succeeded(breaker.admit(30.0), 30.0)
    assert told == ["open", "half-open", "closed"]


class BreakerMachine(RuleBasedStateMachine):
    """Any sequence of attempts, outcomes and waiting, against a model of the states."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        # A window that never fills leaves consecutive failures as the only reason to open.
        self.breaker = Breaker(replace(SETTINGS, breaker_calls=1_000_000))
        self.state = "closed"
        self.failures = 0
        self.opens_until = 0.0
        self.era = 0
        self.out: list[tuple[int, int]] = []
        self.probe_era = -1
        self.probe_until = 0.0

    @rule(seconds=st.sampled_from([0.0, 0.5, 7.0, 29.0, 30.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        permit = self.breaker.admit(self.now)
        if self.state == "closed":
            assert permit != REFUSED
        elif self.state == "open":
            assert (permit != REFUSED) == (self.now >= self.opens_until)
        else:
            assert (permit != REFUSED) == (self.now >= self.probe_until)
        if permit == REFUSED:
            return
        if self.state != "closed":
            self.state = "half-open"
            self.era += 1
            self.probe_era = self.era
            self.probe_until = self.now + SETTINGS.breaker_open_s
        self.out.append((permit, self.era))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "returned"]))
    def report(self, data: Any, outcome: str) -> None:
        permit, era = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        if outcome == "returned":
            self.breaker.returned(permit)
        else:
            getattr(self.breaker, outcome)(permit, self.now)
        if era != self.era:
            return
        if outcome == "returned":
            if self.state == "half-open":
                self.probe_until = 0.0
        elif outcome == "succeeded":
            self.failures = 0
            if self.state == "half-open":
                self.state = "closed"
                self.era += 1
        else:
            self.failures += 1
            if self.state == "half-open" or self.failures >= SETTINGS.breaker_failures:
                self.state = "open"
                self.opens_until = self.now + SETTINGS.breaker_open_s
                self.failures = 0
                self.era += 1

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.breaker.state == self.state
        assert self.breaker.retry_in(self.now) >= 0.0


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = profile(stateful_step_count=60, deadline=None)
