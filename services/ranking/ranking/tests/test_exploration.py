import itertools
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_ranking.exploration import place

RATES = st.floats(0, 1)


class Script:
    """Chance that does as it is told: whether to explore, and whom to take then."""

    def __init__(self, *choices):
        self._choices = iter(choices)
        self._choice = None

    def random(self):
        self._choice = next(self._choices)
        return 1.0 if self._choice is None else -1.0

    def randrange(self, count):
        return self._choice


def outcomes(count, places, rate):
    """The propensity of every way to fill the places, by the candidates placed."""
    found = {}
    for choices in itertools.product(*[[None, *range(count - taken)] for taken in range(places)]):
        if rate == 0 and any(choice is not None for choice in choices):
            continue  # it never draws then
        placed = place(range(count), places, rate, Script(*choices))
        probability = 1.0
        for each in placed:
            probability *= each.propensity
        found[tuple(each.candidate for each in placed)] = probability
    return found


@given(st.integers(1, 4), st.integers(1, 4), RATES)
def test_the_propensities_of_all_outcomes_sum_to_one(count, places, rate):
    found = outcomes(count, min(places, count), rate)
    assert sum(found.values()) == pytest.approx(1.0)
    assert all(probability >= 0 for probability in found.values())


@given(st.integers(2, 6), RATES, st.randoms(use_true_random=False))
def test_every_place_has_another_candidate_and_there_are_no_more_places_than_asked_for(count, rate, random):
    for places in range(count + 2):
        placed = [each.candidate for each in place(range(count), places, rate, random)]
        assert len(placed) == len(set(placed)) == min(places, count)
        assert set(placed) <= set(range(count))


def test_outcomes_are_as_frequent_as_their_propensities_say():
    random, draws = Random(3), 20_000
    expected = outcomes(3, 2, 0.4)
    seen = Counter(tuple(each.candidate for each in place(range(3), 2, 0.4, random)) for _ in range(draws))
    assert set(seen) == set(expected)
    # Pearson's chi-squared with 5 degrees of freedom; 20.5 is passed once in a thousand, and the seed is fixed.
    squares = [
        (seen[outcome] - draws * probability) ** 2 / (draws * probability)
        for outcome, probability in expected.items()
    ]
    assert sum(squares) < 20.5


def test_without_exploration_the_best_come_first_for_certain():
    placed = place("abc", 2, 0.0, Script())
    assert [(each.candidate, each.propensity) for each in placed] == [("a", 1.0), ("b", 1.0)]


def test_the_best_one_may_be_drawn_at_random_too_and_its_propensity_counts_both_ways():
    (placed,) = place("abcd", 1, 0.2, Script(0))
    assert (placed.candidate, placed.propensity) == ("a", pytest.approx(0.8 + 0.2 / 4))
    (placed,) = place("abcd", 1, 0.2, Script(2))
    assert (placed.candidate, placed.propensity) == ("c", pytest.approx(0.2 / 4))
