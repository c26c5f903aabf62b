import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_recommender import baselines
from trunkline_recommender.books import Book
from trunkline_recommender.evaluate import candidates, evaluate, measure, targets
from trunkline_recommender.ratings import Ratings
from trunkline_recommender.simulator import Population, simulate
from trunkline_recommender.split import ELIGIBLE_LIKED, HELD_OUT, split


def ratings(readers, books, seed=0, share=0.7):
    random = np.random.default_rng(seed)
    reader, book = np.nonzero(random.random((readers, books)) < share)
    order = np.lexsort((random.random(len(reader)), reader))
    stars = random.integers(1, 6, len(reader))
    return Ratings([Book(f"b{place}", "") for place in range(books)], reader[order], book[order], stars, None)


@given(st.integers(0, 10**6))
def test_what_is_held_out_is_the_last_that_was_liked_and_no_history_reaches_it(seed):
    everything = ratings(6, 120, seed, np.random.default_rng(seed).uniform(0.4, 0.9))
    liked = np.bincount(everything.reader, everything.liked, 6)
    if not (liked >= ELIGIBLE_LIKED).any():
        with pytest.raises(ValueError, match="no reader liked"):
            split(everything)
        return
    parts = split(everything)
    assert set(parts.eligible) == set(np.flatnonzero(liked >= ELIGIBLE_LIKED))
    assert not (parts.known & parts.test).any()
    assert not (parts.training & parts.validation).any()
    assert np.all(parts.known[parts.training]), "what training sees is known later"
    for reader in range(6):
        own = np.flatnonzero(everything.reader == reader)
        if reader not in parts.eligible:
            assert parts.training[own].all()
            continue
        loved = own[everything.liked[own]]
        assert (
            np.flatnonzero(parts.test & (everything.reader == reader)).tolist() == loved[-HELD_OUT:].tolist()
        )
        assert (
            np.flatnonzero(parts.validation & (everything.reader == reader)).tolist()
            == loved[-2 * HELD_OUT : -HELD_OUT].tolist()
        )
        assert own[parts.known[own]].tolist() == own[own < loved[-HELD_OUT]].tolist()
        assert own[parts.training[own]].tolist() == own[own < loved[-2 * HELD_OUT]].tolist()


def test_candidates_are_the_best_books_the_history_lacks():
    history = ratings(5, 30, 1, 0.5)
    scores = np.random.default_rng(2).random((5, 30))
    for chunk, best, found in candidates(lambda readers: scores[readers], history, np.arange(5), 8):
        for reader, places, values in zip(chunk, best, found, strict=True):
            unseen = np.setdiff1d(np.arange(30), history.book[history.reader == reader])
            expected = unseen[np.argsort(-scores[reader, unseen])][:8]
            assert places.tolist() == expected.tolist()
            assert values.tolist() == scores[reader, expected].tolist()


def test_the_figures_are_those_worked_out_by_hand():
    best = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    figures = measure(best, np.array([[2, 9], [5, 6]]), 20)
    first = (1 / np.log2(3)) / (1 + 1 / np.log2(3))
    assert figures.ndcg == pytest.approx((first + 1) / 2)
    assert figures.recall == pytest.approx((0.5 + 1) / 2)
    assert figures.coverage == pytest.approx(8 / 20)


def test_one_who_knows_the_future_finds_everything_and_chance_next_to_nothing():
    everything = simulate(Population(readers=150, books=400, new_books=0, days=100), 1).ratings
    parts = split(everything)
    known, test = everything.where(parts.known), everything.where(parts.test)
    future = np.zeros((everything.readers, 400))
    future[test.reader, test.book] = 1.0
    oracle = evaluate(lambda readers: future[readers], known, test, parts.eligible)
    assert (oracle.ndcg, oracle.recall) == (1.0, 1.0)
    chance = evaluate(baselines.chance(400, 1), known, test, parts.eligible)
    assert chance.ndcg < 0.1
    assert chance.recall == pytest.approx(100 / 340, abs=0.1)


def test_baselines_see_nothing_but_the_history_they_are_given():
    everything = simulate(Population(readers=150, books=200, new_books=0, days=100), 1).ratings
    parts = split(everything)
    known, readers = everything.where(parts.known), parts.eligible
    flipped = Ratings(
        everything.books,
        everything.reader,
        everything.book,
        np.where(parts.known, everything.stars, 6 - everything.stars),
        everything.time_us,
    ).where(parts.known)
    for baseline in (baselines.popularity, baselines.item_knn):
        assert np.array_equal(baseline(known)(readers), baseline(flipped)(readers))
    assert targets(everything.where(parts.test), readers).shape == (len(readers), HELD_OUT)


def test_item_knn_is_the_sum_of_cosines():
    history = ratings(12, 9, 3)
    seen = np.zeros((12, 9))
    liked = history.where(history.liked)
    seen[liked.reader, liked.book] = 1.0
    norm = np.maximum(np.linalg.norm(seen, axis=0), 1e-9)
    similar = (seen.T @ seen) / norm[:, None] / norm
    np.fill_diagonal(similar, 0.0)
    assert baselines.item_knn(history)(np.arange(12)) == pytest.approx(seen @ similar, abs=1e-5)
