"""What nobody said is not believed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_parts import at, spoken

from trunkline_speech.loops import (
    MOST_COPIES_OF_A_PHRASE,
    MOST_COPIES_OF_A_WORD,
    believable,
    compression,
    loop_end,
    merged,
    normal,
)
from trunkline_speech.transcript import Word, text_of

ALWAYS = [(0, at(1000))]


def kept(text: str, *, context: str = "", voiced=ALWAYS) -> str:
    before = spoken(context)
    return text_of(believable(spoken(text), context=before, voiced=voiced))


@pytest.mark.parametrize(
    ("heard", "left"),
    [
        ("no no no", "no no no"),
        ("zero zero zero zero", "zero zero zero zero"),
        ("la la la la la", "la"),
        ("thank you thank you", "thank you thank you"),
        ("well thank you Thank you, thank YOU!", "well thank you"),
        ("a b b b b b a b b b b b a b b b b b", "a b"),
        (
            "it was the best of times it was the worst of times",
            "it was the best of times it was the worst of times",
        ),
    ],
)
def test_a_loop_is_cut_behind_its_first_copy(heard, left):
    assert kept(heard) == left


def test_a_loop_that_began_in_what_is_committed_is_not_continued():
    assert kept("thank you and goodbye", context="thank you thank you") == ""


def copies(words: list[str], start: int, length: int) -> int:
    """How often in a row the phrase of this length is said from this word on. Slow and plain, to compare with."""
    count = 1
    while words[start + count * length : start + (count + 1) * length] == words[start : start + length]:
        count += 1
    return count


@given(st.lists(st.sampled_from("ab"), max_size=14))
def test_exactly_what_is_said_too_often_in_a_row_is_a_loop(words):
    looping = any(
        copies(words, start, length) > (MOST_COPIES_OF_A_WORD if length == 1 else MOST_COPIES_OF_A_PHRASE)
        for start in range(len(words))
        for length in range(1, len(words) - start + 1)
    )
    assert (loop_end(words) is not None) == looping


@given(
    st.lists(st.sampled_from(["a", "A.", "b", "c"]), max_size=12),
    st.lists(st.sampled_from("abc"), max_size=20),
)
def test_what_is_believed_never_completes_a_loop(context, heard):
    before = believable(spoken(" ".join(context)), voiced=ALWAYS)
    after = believable(spoken(" ".join(heard)), context=before, voiced=ALWAYS)
    assert loop_end([normal(word.text) for word in before + after]) is None


def test_text_that_compresses_too_well_is_a_loop_of_another_kind():
    stutter = " ".join(f"ha{'ha' * 20}{number % 2}" for number in range(8))
    assert compression(stutter) > 2.4
    assert kept(stutter) == ""


def test_words_where_nobody_speaks_are_left_out():
    words = spoken("hello there | | | | | | ghost")
    assert text_of(believable(words, voiced=[(at(0.5), at(1.1))])) == "hello there"
    assert believable(words, voiced=[]) == ()


def test_estimated_times_leave_no_single_word_out_but_all_of_them_where_nobody_speaks():
    words = spoken("hello there | | | | | | friend")
    assert text_of(believable(words, voiced=[(at(0.5), at(1.1))], timed=False)) == "hello there friend"
    assert believable(words, voiced=[], timed=False) == ()


def test_nobody_says_twenty_words_in_half_a_second():
    words = tuple(Word(f"w{number}", at(0.5), at(1.0)) for number in range(20))
    assert believable(words, voiced=[(at(0.5), at(1.0))]) == ()
    assert believable(words[:6], voiced=[(at(0.5), at(1.0))]) == words[:6]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=8), st.integers(0, 30))
def test_merged_spans_cover_the_same_and_are_apart(steps, gap):
    spans, now = [], 0
    for pause, length in steps:
        spans.append((now + pause, now + pause + length))
        now += pause + length
    found = merged(spans, gap)
    assert all(after[0] - before[1] >= gap for before, after in pairwise(found))
    assert all(any(a <= start and end <= b for a, b in found) for start, end in spans)
    assert [found[0][0], found[-1][1]] == [spans[0][0], spans[-1][1]] if spans else not found


@pytest.mark.parametrize(
    ("one", "other"), [("Hello,", "hello"), ("¡Sí!", "sí"), ("Straße", "STRASSE"), ("ﬁne", "fine")]
)
def test_case_and_punctuation_make_no_difference(one, other):
    assert normal(one) == normal(other)


def test_punctuation_alone_stays_what_it_is():
    assert normal("...") == "..." != normal("?!")
