"""When a session listens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_parts import FRAME, at

from trunkline_speech.config import Parameters, Preset
from trunkline_speech.ear import Frame
from trunkline_speech.segmenter import (
    LEAST_CUT,
    PRE_ROLL,
    Decision,
    Full,
    Kind,
    Mark,
    PassDue,
    SegmentEnded,
    Segmenter,
    SpeechBegan,
    UtteranceEnded,
    samples,
)

WINDOW = at(10)
SECOND = 31
"""Frames in a second, about."""


def frame(index: int, probability: float) -> Frame:
    level = 0.5 if probability >= 0.5 else 0.01
    return Frame(index * FRAME, np.full(FRAME, level, np.float32), probability)


def pattern(*parts: int) -> list[float]:
    """Frames of silence and speech in turn."""
    return [0.9 if index % 2 else 0.1 for index, count in enumerate(parts) for _ in range(count)]


@dataclass
class Run:
    """What a segmenter decided, each decision with the number of frames it had."""

    decisions: list[tuple[int, Decision]]
    marks: list[Mark]
    """Before each frame."""

    def of(self, kind: type) -> list[tuple[int, Decision]]:
        return [each for each in self.decisions if isinstance(each[1], kind)]


def run(
    probabilities: Sequence[float],
    parameters: Parameters | None = None,
    *,
    mark: Mark | None = None,
    finish: bool = True,
    word: int = 0,
) -> Run:
    """`word`: a full segment is cut at the last multiple of so many frames; 0 at its quietest."""
    segmenter = Segmenter(parameters or Parameters(), WINDOW, mark)
    first = mark.start // FRAME if mark else 0
    found = Run([], [])
    for index, probability in enumerate(probabilities[first:], first):
        found.marks.append(segmenter.mark)
        for decision in segmenter.feed(frame(index, probability)):
            found.decisions.append((index + 1, decision))
            if isinstance(decision, Full):
                last = (decision.end // FRAME // word - 1) * word * FRAME if word else segmenter.quietest
                far = last - decision.start >= LEAST_CUT
                segmenter.cut(last if far else segmenter.quietest)
    if finish:
        found.decisions += [(len(probabilities), decision) for decision in segmenter.finish()]
    return found


def test_a_segment_from_its_first_sound_to_its_end():
    found = run(pattern(20, 62, 40), finish=False)
    onset, voiced_end = 20 * FRAME, 82 * FRAME
    start = onset - PRE_ROLL
    assert found.decisions == [
        (22, SpeechBegan(onset)),
        (45, PassDue(start, 45 * FRAME, Kind.INTERVAL)),
        (89, PassDue(start, 89 * FRAME, Kind.SILENCE)),
        (98, SegmentEnded(start, 98 * FRAME, voiced_end, ((onset, voiced_end),))),
        (107, UtteranceEnded(voiced_end)),
    ]


def test_the_first_pass_is_early_and_the_others_come_at_the_interval():
    found = run(pattern(20, 300), Parameters(buffer_s=20.0), finish=False)
    ends = [decision.end for _, decision in found.of(PassDue)]
    assert ends[0] == (20 + 25) * FRAME
    assert {after - before for before, after in pairwise(ends)} == {94 * FRAME}


def test_one_loud_frame_is_no_speech():
    assert run(pattern(20, 1, 60, 1, 20)).decisions == []


def test_speech_goes_on_at_a_lower_probability_than_it_begins_at():
    fading = [0.1] * 20 + [0.6] * 10 + [0.4] * 30 + [0.3] * 40
    assert run(fading, finish=False).of(SegmentEnded)[0][1].speech_end == 60 * FRAME
    assert run([0.4] * 100).decisions == []


def test_a_short_pause_neither_ends_the_segment_nor_is_it_missed():
    found = run(pattern(20, 40, 12, 40, 30), finish=False)
    assert [decision.kind for _, decision in found.of(PassDue)] == [Kind.INTERVAL, Kind.SILENCE, Kind.SILENCE]
    assert len(found.of(SegmentEnded)) == 1


def test_two_segments_of_one_utterance_and_one_of_the_next():
    parameters = Parameters(segment_silence_s=0.4, utterance_silence_s=2.0)
    found = run(pattern(20, 40, 30, 40, 90, 40, 90), parameters, finish=False)
    assert [len(found.of(kind)) for kind in (SpeechBegan, SegmentEnded, UtteranceEnded)] == [2, 3, 2]


def test_the_end_of_the_audio_ends_everything():
    found = run(pattern(20, 40))
    assert [type(decision) for _, decision in found.decisions[-3:]] == [PassDue, SegmentEnded, UtteranceEnded]
    assert found.decisions[-3][1].kind is Kind.LAST
    between = run(pattern(20, 40, 8))
    assert [type(decision) for _, decision in between.decisions[-2:]] == [SegmentEnded, UtteranceEnded]
    assert run(pattern(60)).decisions == []


def test_a_long_segment_is_cut_and_nothing_of_it_is_heard_twice_or_not_at_all():
    found = run(pattern(20, 620, 40), word=10)
    cuts = [decision for _, decision in found.of(Full)]
    ended = found.of(SegmentEnded)[-1][1]
    assert len(cuts) == 3
    assert all(at(5.9) <= cut.end - cut.start <= at(6.0) for cut in cuts)
    assert all(before.start < after.start <= before.end for before, after in pairwise(cuts))
    assert ended.speech_end == 640 * FRAME


def test_the_quietest_place_of_the_last_third_is_cut_where_no_word_is_known():
    segmenter = Segmenter(Parameters(buffer_s=3.0), WINDOW)
    for index in range(200):
        made = frame(index, 0.9)
        if index == 80:
            made = replace(made, samples=made.samples * 0.1)
        if any(isinstance(decision, Full) for decision in segmenter.feed(made)):
            break
    assert segmenter.quietest == 80 * FRAME
    assert segmenter.cut(segmenter.quietest) == 80 * FRAME


def test_a_full_segment_in_a_pause_ends_there():
    found = run(pattern(20, 80, 6, 60, 40), Parameters(buffer_s=3.0))
    assert found.of(SegmentEnded)[0][1].speech_end == 100 * FRAME


def test_a_split_ends_the_segment_and_whoever_speaks_goes_on_in_the_next():
    segmenter = Segmenter(Parameters(), WINDOW)
    for index in range(60):
        assert not any(isinstance(decision, SegmentEnded) for decision in segmenter.feed(frame(index, 0.9)))
    kinds = [type(decision) for decision in segmenter.split()]
    assert kinds == [PassDue, SegmentEnded]
    assert segmenter.open and segmenter.mark.start == 60 * FRAME and segmenter.mark.speaking
    assert list(Segmenter(Parameters(), WINDOW).split()) == []


def test_new_parameters_hold_from_the_next_frame_on():
    segmenter = Segmenter(Parameters(buffer_s=20.0, interval_s=10.0), WINDOW)
    for index in range(100):
        list(segmenter.feed(frame(index, 0.9)))
    segmenter.parameters = Parameters(buffer_s=20.0, interval_s=1.0)
    assert [decision.kind for decision in segmenter.feed(frame(100, 0.9))] == [Kind.INTERVAL]


@pytest.mark.parametrize("preset", Preset)
def test_silence_and_clicks_are_nothing_in_every_preset(preset):
    assert run(pattern(30, 1, 200, 1, 30), preset.value).decisions == []


parameters = st.builds(
    lambda **given: Parameters(
        **given | {"utterance_silence_s": given["segment_silence_s"] + given["utterance_silence_s"]}
    ),
    buffer_s=st.floats(2, 9),
    interval_s=st.floats(0.2, 4),
    first_interval_s=st.floats(0.2, 3),
    min_interval_s=st.floats(0.1, 1),
    segment_silence_s=st.floats(0.2, 1.5),
    utterance_silence_s=st.floats(0, 2),
)
speech = st.lists(st.integers(1, 150), min_size=1, max_size=10).map(lambda parts: pattern(*parts))


@given(speech, parameters, st.integers(5, 30))
def test_what_holds_for_all_speech_and_all_parameters(probabilities, parameters, word):
    found = run(probabilities, parameters, word=word)
    passes = [decision for _, decision in found.of(PassDue)]
    limit = min(samples(parameters.buffer_s), WINDOW)
    assert all(decision.end - decision.start <= limit for decision in passes)
    assert all(
        after.end - before.end >= samples(parameters.min_interval_s)
        for before, after in pairwise(passes)
        if after.kind is not Kind.LAST
    )
    # Between the beginning of speech and the end of the segment all audio is heard, each part in one segment.
    covered: list[tuple[int, int]] = []
    for _, decision in found.decisions:
        if isinstance(decision, SegmentEnded):
            assert not covered or decision.start >= covered[-1][0]
            covered.append((decision.start, decision.end))
    assert all(before[1] <= after[0] for before, after in pairwise(covered))
    began = [decision.position for _, decision in found.of(SpeechBegan)]
    ended = [decision.position for _, decision in found.of(UtteranceEnded)]
    assert len(began) == len(ended)
    assert all(start < end for start, end in zip(began, ended, strict=True))
    assert all(end <= start for end, start in zip(ended, began[1:], strict=False))


@given(speech, parameters, st.integers(5, 30), st.data())
@settings(max_examples=settings.default.max_examples // 2)
def test_from_any_mark_on_the_same_is_decided_again(probabilities, parameters, word, data):
    whole = run(probabilities, parameters, word=word)
    index = data.draw(st.integers(0, len(probabilities) - 1))
    mark = whole.marks[index]
    again = run(probabilities, parameters, mark=mark, word=word)
    later = [each for each in whole.decisions if each[0] > index]
    assert [each for each in again.decisions if each[0] > index] == later


@given(speech, parameters)
def test_marks_only_move_on_and_lie_between_frames(probabilities, parameters):
    starts = [mark.start for mark in run(probabilities, parameters).marks]
    assert all(before <= after for before, after in pairwise(starts))
    assert all(start % FRAME == 0 for start in starts)
