import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trunkline_ranking.history import encode

ROWS = {"a": 0, "b": 1, "c": 2}
BOOKS = st.lists(st.sampled_from(["a", "b", "c", "gone"]), max_size=6)


@given(BOOKS, st.none() | st.lists(st.floats(1, 5, width=32), max_size=8), st.integers(1, 4))
def test_a_history_is_its_newest_known_items_with_their_ratings_then_padding(books, ratings, length):
    given_ratings = None if ratings is None else np.array(ratings, np.float32)
    history = encode(books, given_ratings, ROWS, length)
    newest = books[:length]
    if not set(newest) & set(ROWS):
        assert history is None
        return
    assert history.rows.dtype == np.int64 and history.ratings.dtype == np.float32
    assert history.rows.shape == history.ratings.shape == (1, length)
    rated = dict(enumerate(ratings or []))
    for place in range(length):
        known = place < len(newest) and newest[place] in ROWS
        assert history.rows[0, place] == (ROWS[newest[place]] + 1 if known else 0)
        assert history.ratings[0, place] == (np.float32(rated.get(place, 0.0)) if known else 0.0)
