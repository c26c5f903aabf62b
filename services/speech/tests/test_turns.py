import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voices import HIGH, LOW, words

from trunkline_speech.classical_embedding import ClassicalEmbedding
from trunkline_speech.transcript import RATE_HZ, Word
from trunkline_speech.turns import Turn, spans, turn_of, turns


def test_a_change_of_speakers_without_a_pause_is_found_within_a_step():
    samples = np.concatenate([LOW.says(3.0, 1), HIGH.says(3.0, 2)])
    found = turns(ClassicalEmbedding(), samples, words(len(samples)))
    nearest = min((turn.start for turn in found), key=lambda start: abs(start - 3 * RATE_HZ))
    assert nearest == pytest.approx(3 * RATE_HZ, abs=RATE_HZ // 4)


def test_a_pause_parts_turns_and_a_breath_does_not():
    second = RATE_HZ
    breath = [Word("a", 0, second), Word("b", second + 3000, 2 * second)]
    pause = [Word("a", 0, second), Word("b", second + 6000, 2 * second)]
    assert spans(breath, 3 * second) == [Turn(0, 2 * second)]
    assert spans(pause, 3 * second) == [Turn(0, second), Turn(second + 6000, 2 * second)]


def test_words_outside_the_audio_are_no_speech():
    assert spans([Word("a", -50, -10), Word("b", -10, 20), Word("c", 90, 130), Word("d", 200, 210)], 100) == [
        Turn(0, 100)
    ]


edges = st.lists(st.integers(0, 1000), min_size=2, max_size=20, unique=True).map(sorted)


@given(edges, st.integers(0, 1000), st.integers(0, 50))
def test_a_word_is_of_the_turn_that_has_most_of_it(cuts, start, length):
    found = [Turn(*pair) for pair in zip(cuts[::2], cuts[1::2], strict=False)]
    word = Word("word", start, start + length)
    best = max(turn.overlap(word) for turn in found)
    assert found[turn_of(word, found)].overlap(word) == best


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=12))
def test_turns_lie_within_the_speech_in_order_and_cover_it(gaps):
    samples = np.tile(LOW.says(1.0), 5)
    said, at = [], 0
    for gap, length in gaps:
        at += gap * 400
        said.append(Word("word", at, at + length * 400))
        at += length * 400
    found = turns(ClassicalEmbedding(), samples, said)
    covered = np.zeros(len(samples), int)
    for turn in found:
        covered[turn.start : turn.end] += 1
    assert covered.max(initial=0) <= 1
    assert [turn.start for turn in found] == sorted(turn.start for turn in found)
    for word in said:
        assert covered[word.start : word.end].all()
