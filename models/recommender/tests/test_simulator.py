from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_recommender.ratings import DAY_US, Ratings
from trunkline_recommender.simulator import Population, simulate

SMALL = Population(readers=200, books=200, new_books=10, days=240, ratings_a_reader=40.0)


@pytest.fixture(scope="module")
def world():
    return simulate(SMALL, 3)


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(20, 60), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_the_same_seed_gives_the_same_ratings_within_the_population(seed, readers, books, new_books):
    population = Population(readers=readers, books=books, new_books=new_books, days=30)
    once, again = simulate(population, seed), simulate(population, seed)
    assert once.ratings.books == again.ratings.books
    for name in ("reader", "book", "stars", "time_us"):
        assert np.array_equal(getattr(once.ratings, name), getattr(again.ratings, name)), name
    assert once.ratings.readers <= readers
    assert len({book.id for book in once.ratings.books}) == books + new_books
    assert len({book.title for book in once.ratings.books}) == books + new_books
    assert once.new.sum() == new_books
    start_us = int(population.start.timestamp()) * 1_000_000
    assert np.all((once.ratings.time_us >= start_us) & (once.ratings.time_us <= start_us + 30 * DAY_US))


def test_another_seed_gives_another_world(world):
    assert not np.array_equal(simulate(SMALL, 4).ratings.book, world.ratings.book)


def test_a_readers_ratings_are_in_the_order_of_time(world):
    ratings = world.ratings
    same = ratings.reader[1:] == ratings.reader[:-1]
    assert np.all(np.diff(ratings.time_us)[same] >= 0)


def test_readers_like_what_lies_near_their_taste(world):
    ratings = world.ratings
    affinity = (world.tastes.mean(axis=0) @ world.places.T)[ratings.reader, ratings.book]
    means = [affinity[ratings.stars == stars].mean() for stars in (2, 3, 4, 5)]
    assert means == sorted(means)
    assert affinity.mean() > (world.tastes.mean(axis=0) @ world.places.T).mean(), "and take it up more often"


def test_popularity_is_skewed_and_stars_are_mostly_good(world):
    count = np.sort(np.bincount(world.ratings.book, minlength=210))[::-1]
    assert count[:21].sum() > 0.2 * count.sum()
    assert 0.45 < world.ratings.liked.mean() < 0.75


def test_new_books_are_read_only_near_the_end(world):
    ratings = world.ratings
    first, last = ratings.time_us.min(), ratings.time_us.max()
    of_new = ratings.time_us[world.new[ratings.book]]
    assert len(of_new)
    assert of_new.min() > first + 0.8 * (last - first)


def test_taste_drifts(world):
    ratings, (early, late) = world.ratings, world.tastes
    towards = ((late - early) @ world.places.T)[ratings.reader, ratings.book]
    middle = np.median(ratings.time_us)
    assert towards[ratings.time_us > middle].mean() > towards[ratings.time_us <= middle].mean()


@pytest.mark.parametrize(
    "change", [{"readers": 0}, {"books": 19}, {"days": 19}, {"new_books": -1}, {"books": 10**5}]
)
def test_a_population_that_cannot_be_is_refused(change):
    with pytest.raises(ValueError, match=r"at least|can be made"):
        simulate(replace(SMALL, **change), 1)


def test_ratings_that_do_not_fit_together_are_refused(world):
    ratings = world.ratings
    columns = (ratings.reader, ratings.book, ratings.stars, ratings.time_us)
    with pytest.raises(ValueError, match="different lengths"):
        Ratings(ratings.books, columns[0][1:], *columns[1:])
    with pytest.raises(ValueError, match="order of their readers"):
        Ratings(ratings.books, columns[0][::-1], *columns[1:])
    with pytest.raises(ValueError, match="1 to 5"):
        Ratings(ratings.books, *columns[:2], columns[2] + 5, columns[3])
    with pytest.raises(ValueError, match="twice"):
        Ratings(ratings.books, columns[0], columns[1] * 0, *columns[2:])
