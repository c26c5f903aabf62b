"""What two hypotheses agree on is sure, and stays."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_parts import at, spoken

from trunkline_speech.commit import Commit, agreement, behind
from trunkline_speech.loops import loop_end, normal
from trunkline_speech.transcript import Word, text_of

ALWAYS = [(0, at(1000))]


def heard(*hypotheses: str, committed: str = "", tail: str = "", before: str = "") -> Commit:
    commit = Commit(spoken(committed), spoken(tail), spoken(before, -10.0))
    for hypothesis in hypotheses:
        commit.hear(spoken(hypothesis), voiced=ALWAYS)
    return commit


@pytest.mark.parametrize(
    ("hypotheses", "committed", "tail"),
    [
        (["the cat"], "", "the cat"),
        (["the cat", "the cat sat"], "the cat", "sat"),
        (["the cap", "the cat sat"], "the", "cat sat"),
        (["the cat,", "The cat sat"], "The cat", "sat"),
        (["the cat sat", "a dog"], "", "a dog"),
        (["one two", "one two three", "won too three for"], "one two three", "for"),
        (["one two three", "one two three", "three four"], "one two three", "four"),
        (["one two three", "one two three", "one two"], "one two three", ""),
        (["no no", "no no no"], "no no", "no"),
        (["no no", "no no", "no no no yes"], "no no", "no yes"),
    ],
)
def test_the_common_beginning_of_two_in_a_row_is_committed(hypotheses, committed, tail):
    commit = heard(*hypotheses)
    assert (text_of(commit.committed), text_of(commit.tail)) == (committed, tail)


words = st.lists(st.sampled_from(["a", "b", "c", "A,", "d"]), max_size=12).map(" ".join)


@given(st.lists(words, max_size=8), words)
def test_committed_text_only_grows_and_the_final_text_begins_with_it(hypotheses, carried):
    commit, before = Commit(tail=spoken(carried)), ()
    for hypothesis in hypotheses:
        last = commit.tail
        commit.hear(spoken(hypothesis), voiced=ALWAYS)
        new = commit.committed[len(before) :]
        assert commit.committed[: len(before)] == before
        assert [normal(word.text) for word in new] == [normal(word.text) for word in last[: len(new)]]
        assert commit.words == commit.committed + commit.tail
        before = commit.committed


@given(st.lists(words, max_size=8))
def test_no_loop_is_ever_committed(hypotheses):
    commit = Commit()
    for hypothesis in hypotheses:
        commit.hear(spoken(hypothesis), voiced=ALWAYS)
        assert loop_end([normal(word.text) for word in commit.words]) is None


@given(st.lists(words, max_size=6), st.integers(0, at(5)))
def test_words_follow_each_other_in_time(hypotheses, shift):
    commit = Commit()
    for number, hypothesis in enumerate(hypotheses):
        moved = [word.moved(shift * (number % 2) - shift // 2) for word in spoken(hypothesis)]
        commit.hear(moved, voiced=[(-at(1000), at(1000))])
        assert all(one.end <= other.start for one, other in pairwise(commit.words))
        assert all(word.start <= word.end for word in commit.words)


@given(words, st.lists(st.integers(0, 11), max_size=4))
def test_a_hypothesis_that_says_the_same_again_adds_nothing(text, _):
    commit = heard(text, text)
    said = commit.words
    commit.hear(spoken(text), voiced=ALWAYS)
    assert commit.words == said


def edit_distance(one: list[str], other: list[str]) -> int:
    """Slow and plain, to compare with."""
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return edit_distance(one[1:], other[1:])
    return 1 + min(
        edit_distance(one[1:], other), edit_distance(one, other[1:]), edit_distance(one[1:], other[1:])
    )


short = st.lists(st.sampled_from("abc"), max_size=5)


@given(short.filter(bool), short)
def test_the_hypothesis_is_taken_up_behind_its_beginning_that_is_nearest_to_what_is_committed(said, found):
    count = behind(spoken(" ".join(said)), spoken(" ".join(found)))
    distances = [edit_distance(said, found[:length]) for length in range(len(found) + 1)]
    assert distances[count] == min(distances)


def test_of_beginnings_that_are_equally_near_the_one_that_ends_at_the_same_time_counts():
    assert behind(spoken("hello world"), spoken("yellow word today")) == 2


def test_agreement_ends_at_the_first_difference():
    assert agreement(spoken("a B c"), spoken("A b d c")) == 2


def test_a_segment_that_was_cut_off_does_not_hear_the_last_words_before_it_again():
    before = (Word("good", at(0.1), at(0.5)), Word("night", at(0.5), at(1.0)))
    echo = (Word("Night,", at(1.0), at(1.1)), Word("everyone", at(1.2), at(1.6)))
    commit = Commit(before=before)
    commit.hear(echo, voiced=ALWAYS)
    assert text_of(commit.words) == "everyone"
    later = Commit(before=before)
    later.hear([word.moved(at(2)) for word in echo], voiced=ALWAYS)
    assert text_of(later.words) == "Night, everyone"
    expected = Commit(tail=echo, before=before)
    expected.hear(echo, voiced=ALWAYS)
    assert text_of(expected.words) == "Night, everyone"


@given(words, words, st.integers(0, at(6)))
def test_a_split_keeps_every_word_and_what_is_committed_stays_in_front(first, second, position):
    commit = heard(first, second)
    one, other = commit.split(position)
    assert one + other == commit.words
    assert one[: len(commit.committed)] == commit.committed
