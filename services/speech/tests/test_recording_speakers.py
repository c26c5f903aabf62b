from itertools import pairwise

import numpy as np
import pytest
from voices import CHILD, HIGH, LOW, words

from trunkline_speech.classical_embedding import ClassicalEmbedding
from trunkline_speech.recording_speakers import tag_recording
from trunkline_speech.speakers import most_of
from trunkline_speech.transcript import RATE_HZ

CONVERSATION = [(LOW, 0.7), (HIGH, 3.0), (LOW, 3.0), (CHILD, 3.0), (HIGH, 2.0), (CHILD, 0.8)]


def recording():
    """The audio, and the words of each turn."""
    pieces, told, at = [], [], 0
    for seed, (voice, seconds) in enumerate(CONVERSATION):
        samples = voice.says(seconds, seed)
        told.append(words(len(samples), at))
        pieces += [samples, np.zeros(RATE_HZ // 2, np.float32)]
        at += len(samples) + RATE_HZ // 2
    return np.concatenate(pieces), told


def by_turn(tagged, told):
    ends = np.cumsum([0, *map(len, told)])
    return [most_of(tagged[start:end]) for start, end in pairwise(ends)]


async def test_a_short_turn_is_understood_from_what_comes_later():
    samples, told = recording()
    tagged = await tag_recording(ClassicalEmbedding(), samples, sum(told, ()), 10)
    assert by_turn(tagged, told) == [1, 2, 1, 3, 2, 3]


@pytest.mark.parametrize("most", [1, 2])
async def test_there_are_never_more_speakers_than_allowed(most):
    samples, told = recording()
    tagged = await tag_recording(ClassicalEmbedding(), samples, sum(told, ()), most)
    assert {word.speaker for word in tagged} == set(range(1, most + 1))


async def test_one_voice_is_one_speaker_however_short():
    for seconds in (0.3, 5.0):
        samples = LOW.says(seconds)
        tagged = await tag_recording(ClassicalEmbedding(), samples, words(len(samples)), 10)
        assert {word.speaker for word in tagged} == {1}


async def test_without_words_nobody_speaks():
    assert await tag_recording(ClassicalEmbedding(), LOW.says(1.0), (), 10) == ()


async def test_more_turns_than_are_clustered_find_their_speakers(monkeypatch):
    monkeypatch.setattr("trunkline_speech.recording_speakers._MOST_TURNS", 4)
    samples, told = recording()
    tagged = await tag_recording(ClassicalEmbedding(), samples, sum(told, ()), 10)
    assert by_turn(tagged, told) == [1, 2, 1, 3, 2, 3]
