import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_recommender.books import Book
from trunkline_recommender.history import ACTIVITY_VIEW, HISTORY_VIEW, Rated, Shelf, rows
from trunkline_recommender.ratings import Ratings
from trunkline_recommender.recipe import histories

BOOKS = [
    Book("b0", "One", "Ann", "crime", 2000, "en"),
    Book("b1", "Two", "Ann", "crime", 2010, "en"),
    Book("b2", "Three", "Bob", "travel", 1990, "fr"),
    Book("b3", "Four", "Bob", "", 0, ""),
]
SHELF = Shelf.build(BOOKS, np.array([9, 99, 0, 0]))


def named(row):
    return dict(zip(row.fields, row.values, strict=True))


def test_a_log_becomes_a_history_newest_first_and_what_it_has_in_common():
    log = [Rated("b0", 5, 10), Rated("b2", 2, 30), Rated("b1", 4, 20)]
    history, activity = rows("r1", log, SHELF, 4)
    assert (history.view, history.entity_id, history.event_time_us) == (HISTORY_VIEW, "r1", 30)
    assert named(history) == {"books": "b2 b1 b0", "ratings": [2.0, 4.0, 5.0, 0.0]}
    assert (activity.view, activity.entity_id, activity.event_time_us) == (ACTIVITY_VIEW, "r1", 30)
    assert named(activity) == {
        "ratings_count": 3.0,
        "mean_rating": pytest.approx(11 / 3),
        "liked_share": pytest.approx(2 / 3),
        "mean_year": 2000.0,
        "mean_popularity": pytest.approx(1.0),
        "likes_crime": 1.0,
        "likes_travel": 0.0,
    }


def test_a_long_log_is_cut_to_its_newest_books_but_all_of_it_counts():
    log = [Rated(f"x{place}", 3, place) for place in range(10)]
    history, activity = rows("r1", log, SHELF, 3)
    assert named(history)["books"] == "x9 x8 x7"
    assert named(activity)["ratings_count"] == 10.0


def test_of_a_book_rated_twice_the_later_stars_count_at_the_later_time():
    log = [Rated("b0", 1, 10), Rated("b1", 3, 20), Rated("b0", 5, 30)]
    history, activity = rows("r1", log, SHELF, 3)
    assert named(history) == {"books": "b0 b1", "ratings": [5.0, 3.0, 0.0]}
    assert named(activity)["mean_rating"] == 4.0


def test_a_book_nobody_knows_is_in_the_history_and_has_no_year():
    history, activity = rows("r1", [Rated("new", 5, 1), Rated("b3", 4, 2)], SHELF, 2)
    assert named(history)["books"] == "b3 new"
    assert named(activity)["ratings_count"] == 2.0
    assert np.isnan(named(activity)["mean_year"])
    assert np.isnan(named(activity)["likes_crime"])


def test_an_empty_log_has_no_rows():
    assert rows("r1", [], SHELF, 3) == ()


EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 5)),
    min_size=1,
    max_size=16,
    unique_by=lambda event: event[:2],
)


@given(EVENTS, st.integers(1, 5))
def test_rows_of_a_log_are_bit_for_bit_what_training_sees(events, length):
    events.sort(key=lambda event: event[0])
    reader, book, stars = (np.array(column, np.int64) for column in zip(*events, strict=True))
    ratings = Ratings(BOOKS, reader, book, stars, np.arange(len(events)))
    offline = SHELF.activity(reader, book, stars, 4)
    seen, given_stars = histories(ratings, np.arange(4), length)
    for number in np.unique(reader).tolist():
        log = [
            Rated(f"b{book}", stars, place)
            for place, (owner, book, stars) in enumerate(events)
            if owner == number
        ]
        history, activity = rows(f"r{number}", log, SHELF, length)
        assert np.array_equal(np.array(activity.values), offline[number], equal_nan=True)
        ids, weights = history.values
        assert [int(name[1:]) + 1 for name in ids.split()] == [place for place in seen[number] if place]
        assert weights == given_stars[number].tolist()


def test_the_shelf_of_items_is_the_shelf_of_the_books_they_were_made_from():
    items = [book.item() for book in BOOKS]
    for entry, count in zip(items, (9, 99, 0, 0), strict=True):
        entry["attributes"]["readers"] = count
    found = Shelf.of(items)
    assert found.place == SHELF.place
    assert found.genres == SHELF.genres
    for name in ("year", "popularity", "genre"):
        assert np.array_equal(getattr(found, name), getattr(SHELF, name), equal_nan=True), name
