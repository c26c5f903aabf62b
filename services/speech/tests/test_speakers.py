import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voices import CHILD, HIGH, LOW, words

from trunkline_speech.classical_embedding import ClassicalEmbedding
from trunkline_speech.speakers import Diarizer, StateError, most_of
from trunkline_speech.transcript import RATE_HZ, Word

CONVERSATION = [(LOW, 3.0), (HIGH, 2.5), (LOW, 2.2), (CHILD, 3.0), (HIGH, 3.0), (CHILD, 2.0), (LOW, 2.0)]
SPEAKERS = [1, 2, 1, 3, 2, 3, 1]


def segments():
    """Each turn a segment of its own."""
    start = RATE_HZ
    for seed, (voice, seconds) in enumerate(CONVERSATION):
        samples = voice.says(seconds, seed)
        yield samples, start, words(len(samples), start)
        start += len(samples) + RATE_HZ


async def said(diarizer, told):
    return [await diarizer.tag(*segment) for segment in told]


async def test_speakers_are_numbered_in_the_order_of_their_first_speech_and_known_again():
    tagged = await said(Diarizer(ClassicalEmbedding(), 10), segments())
    assert [most_of(each) for each in tagged] == SPEAKERS


async def test_nothing_of_a_word_changes_but_its_speaker():
    told = list(segments())
    for before, after in zip(told, await said(Diarizer(ClassicalEmbedding(), 10), told), strict=True):
        assert tuple(replace(word, speaker=0) for word in after) == before[2]


async def test_two_people_in_one_segment_are_told_apart():
    samples = np.concatenate([LOW.says(3.0, 1), HIGH.says(3.0, 2)])
    tagged = await Diarizer(ClassicalEmbedding(), 10).tag(samples, 500, words(len(samples), 500))
    right = [word.speaker == (1 if word.start < 3 * RATE_HZ else 2) for word in tagged]
    assert sum(right) >= len(right) - 1


@pytest.mark.parametrize("most", [1, 2])
async def test_there_are_never_more_speakers_than_allowed(most):
    tagged = await said(Diarizer(ClassicalEmbedding(), most), segments())
    assert {word.speaker for each in tagged for word in each} == set(range(1, most + 1))


async def test_a_short_turn_is_given_to_somebody_known():
    diarizer = Diarizer(ClassicalEmbedding(), 10)
    samples = LOW.says(3.0)
    await diarizer.tag(samples, 0, words(len(samples)))
    short = CHILD.says(0.6)
    (first, *_) = await diarizer.tag(short, 0, words(len(short)))
    assert first.speaker == 1


@settings(max_examples=6, deadline=None)
@given(st.integers(0, len(CONVERSATION)))
def test_one_that_is_restored_goes_on_as_if_nothing_had_happened(cut):
    async def run():
        whole, told = Diarizer(ClassicalEmbedding(), 3), list(segments())
        undisturbed = await said(whole, told)
        first = Diarizer(ClassicalEmbedding(), 3)
        before = await said(first, told[:cut])
        second = Diarizer.restored(ClassicalEmbedding(), first.state())
        assert before + await said(second, told[cut:]) == undisturbed
        assert second.state() == whole.state()
        assert second.max_speakers == 3

    asyncio.run(run())


async def test_the_state_is_small():
    diarizer = Diarizer(ClassicalEmbedding(), 10)
    await said(diarizer, segments())
    assert len(diarizer.state()) < 3 * 1500


class Blocking(ClassicalEmbedding):
    """Reports that it is asked, and answers when it may."""

    def embed(self, pieces):
        self.loop.call_soon_threadsafe(self.asked.set)
        self.may.wait(10)
        return super().embed(pieces)


async def test_one_that_is_cancelled_has_learnt_nothing():
    import threading

    embedding = Blocking()
    for name, value in (
        ("loop", asyncio.get_running_loop()),
        ("asked", asyncio.Event()),
        ("may", threading.Event()),
    ):
        object.__setattr__(embedding, name, value)
    diarizer = Diarizer(embedding, 10)
    before = diarizer.state()
    task = asyncio.create_task(diarizer.tag(*next(segments())))
    await asyncio.wait_for(embedding.asked.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    embedding.may.set()
    assert diarizer.state() == before
    (first, *_) = await diarizer.tag(*next(segments()))
    assert first.speaker == 1


async def test_two_sessions_share_no_voices():
    one, other = Diarizer(ClassicalEmbedding(), 10), Diarizer(ClassicalEmbedding(), 10)
    told = list(segments())
    await asyncio.gather(said(one, told), said(other, told[1:2]))
    assert (
        other.state()
        == (alone := Diarizer(ClassicalEmbedding(), 10), await said(alone, told[1:2]))[0].state()
    )


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"[]\n",
        b"{}\n",
        b'{"embedding": "other", "max_speakers": 3, "speakers": 0}\n',
        b'{"embedding": "classical-1", "max_speakers": 99, "speakers": 0}\n',
        b'{"embedding": "classical-1", "max_speakers": 3, "speakers": 1}\n',
        b'{"embedding": "classical-1", "max_speakers": 3, "speakers": 0}\n123',
        b'{"embedding": "classical-1", "max_speakers": "3", "speakers": 0}\n',
        b'{"embedding": "classical-1", "max_speakers": 3, "speakers": -1}\n' + b"\xff" * 4 * 327,
        b'{"embedding": "classical-1", "max_speakers": 1, "speakers": 2}\n' + b"\0" * 8 * 327,
    ],
)
def test_a_state_that_is_not_its_own_is_refused(state):
    with pytest.raises(StateError):
        Diarizer.restored(ClassicalEmbedding(), state)


@pytest.mark.parametrize("most", [0, 11])
def test_a_session_has_one_to_ten_speakers(most):
    with pytest.raises(ValueError, match="max_speakers"):
        Diarizer(ClassicalEmbedding(), most)


async def test_without_words_nobody_speaks():
    diarizer = Diarizer(ClassicalEmbedding(), 10)
    assert await diarizer.tag(LOW.says(1.0), 0, ()) == ()
    assert await diarizer.tag(LOW.says(0.0), 7, (Word("word", 7, 7),)) == (Word("word", 7, 7),)


def test_a_segment_is_of_who_speaks_longest_in_it():
    assert most_of([Word("a", 0, 5, 1), Word("b", 5, 20, 2), Word("c", 20, 25, 1)]) == 2
    assert most_of([]) == 0
    assert most_of([Word("a", 0, 5)]) == 0
