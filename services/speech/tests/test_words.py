"""Pieces of text to words with times."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trunkline_speech.transcript import RATE_HZ, Word, text_of
from trunkline_speech.words import Piece, estimated, timed


def test_punctuation_sticks_to_the_word_that_it_belongs_to():
    pieces = [
        Piece(" It", 0.1, 0.3),
        Piece("'s", 0.3, 0.4),
        Piece(" twenty", 0.5, 0.9),
        Piece("-five", 0.9, 1.2),
        Piece(".", 1.2, 1.2),
    ]
    assert timed(pieces, 2 * RATE_HZ) == (Word("It's", 1600, 6400), Word("twenty-five.", 8000, 19200))


def test_what_opens_a_word_belongs_to_what_follows():
    assert text_of(timed([Piece(" ¿", 0, 0), Piece("Puede", 0, 1), Piece("?", 1, 1)], RATE_HZ)) == "¿Puede?"


def test_an_end_that_is_not_known_is_the_end_of_the_audio():
    assert timed([Piece("yes", 0.5, -1.0)], RATE_HZ) == (Word("yes", 8000, RATE_HZ),)


times = st.floats(-2, 40, allow_nan=False)
pieces = st.lists(
    st.builds(Piece, st.text(st.sampled_from(" ab.,-'é"), max_size=4), times, times),
    max_size=20,
)


@given(pieces, st.integers(0, 30 * RATE_HZ))
def test_whatever_the_times_words_are_in_order_and_within_the_audio_and_no_letter_is_lost(
    given_pieces, samples
):
    found = timed(given_pieces, samples)
    bounds = [bound for word in found for bound in (word.start, word.end)]
    assert bounds == sorted(bounds)
    assert all(0 <= bound <= samples for bound in bounds)
    letters = "".join("".join(piece.text.split()) for piece in given_pieces)
    assert text_of(found).replace(" ", "") == letters


def test_without_times_words_share_what_is_not_silent_by_their_letters():
    samples = np.zeros(4 * RATE_HZ, np.float32)
    samples[RATE_HZ : 3 * RATE_HZ] = 0.5
    assert estimated(" I see", samples) == (
        Word("I", RATE_HZ, RATE_HZ + 2 * RATE_HZ * 2 // 6),
        Word("see", RATE_HZ + 2 * RATE_HZ * 2 // 6, 3 * RATE_HZ),
    )


@given(st.text(st.sampled_from(" abc"), max_size=30), st.integers(0, 3 * RATE_HZ))
def test_estimates_are_in_order_and_within_the_audio(text, samples):
    found = estimated(text, np.zeros(samples, np.float32))
    assert text_of(found) == " ".join(text.split())
    bounds = [bound for word in found for bound in (word.start, word.end)]
    assert bounds == sorted(bounds)
    assert all(0 <= bound <= samples for bound in bounds)
