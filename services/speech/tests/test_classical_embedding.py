import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voices import CHILD, HIGH, LOW

from trunkline_speech.classical_embedding import ClassicalEmbedding

VOICES = (LOW, HIGH, CHILD)


@pytest.fixture(scope="module")
def embedding():
    return ClassicalEmbedding()


def test_one_person_is_closer_than_the_threshold_and_another_one_further(embedding):
    pieces = [voice.says(3.0, seed) for voice in VOICES for seed in range(3)]
    vectors = embedding.embed(pieces)
    apart = embedding.distances(vectors, vectors)
    who = np.repeat(range(3), 3)
    same = who[:, None] == who
    assert apart[same].max() < embedding.threshold < apart[~same].min()


def test_the_gaussian_of_two_pieces_is_that_of_both_at_once(embedding):
    vectors = embedding.embed([LOW.says(2.0, 1), LOW.says(1.0, 2)])
    whole = embedding.embed([np.concatenate([LOW.says(2.0, 1), LOW.says(1.0, 2)])])[0]
    pooled = embedding.pool(vectors)
    assert pooled[0] == pytest.approx(whole[0], abs=0.05)
    assert pooled[3:27] == pytest.approx(whole[3:27], abs=0.2)


def test_it_does_not_matter_in_which_order_pieces_are_pooled(embedding):
    vectors = embedding.embed([LOW.says(1.0, 1), HIGH.says(2.0, 2), CHILD.says(0.7, 3)])
    one_by_one = embedding.pool(np.stack([embedding.pool(vectors[:2]), vectors[2]]))
    assert one_by_one == pytest.approx(embedding.pool(vectors[::-1]), rel=1e-3, abs=1e-3)


def test_distance_is_symmetric_and_none_from_itself(embedding):
    vectors = embedding.embed([voice.says(1.0) for voice in VOICES])
    apart = embedding.distances(vectors, vectors)
    assert apart == pytest.approx(apart.T)
    assert np.diagonal(apart) == pytest.approx(0)


@settings(max_examples=20)
@given(st.integers(1, 4000), st.sampled_from([0.0, 1e-7, 1.0]))
def test_silence_and_scraps_have_a_vector_too(length, level):
    embedding = ClassicalEmbedding()
    vectors = embedding.embed([np.full(length, level, np.float32), LOW.says(1.0)])
    assert vectors.shape == (2, embedding.dimension)
    assert np.isfinite(vectors).all()
    assert np.isfinite(embedding.distances(vectors, vectors)).all()
    assert np.isfinite(embedding.pool(vectors)).all()


def test_no_pieces_have_no_vectors(embedding):
    assert embedding.embed([]).shape == (0, embedding.dimension)
