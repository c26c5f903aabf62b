"""When a session listens: from frames to passes, segments and utterances.

Synchronous, and on the clock of the samples alone: what is decided depends on the audio, not on when it came.

    frames  ........|||||||||||||||..||||||||||......|||||||||..............
    passes             ^ first   ^     ^ interval ^ silence  ^ silence
    segment       [ pre-roll + speech . . . . . . . . ]  final after segment_silence
    utterance     [ . . . . . . . . . . . . . . . . . . . . . . . . ]  end after utterance_silence
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

import numpy as np

from trunkline_speech.config import Parameters
from trunkline_speech.loops import Span
from trunkline_speech.parts import Frame
from trunkline_speech.transcript import RATE_HZ

FRAME: Final = 512
"""Samples of a frame."""
PRE_ROLL: Final = 9 * FRAME
"""What is heard before the first voiced frame, 0.29 s: the detector wakes up a little late."""
ONSET_FRAMES: Final = 2
"""So many voiced frames in a row begin speech; one alone is a click."""
HYSTERESIS: Final = 0.15
"""Speech goes on at a probability this much below the one it begins at."""
QUIET_S: Final = 0.2
"""Silence after which all of the speech is heard, before it is known whether the segment ends."""
GAP: Final = 3 * FRAME
"""Silence that is no part of a word: a segment that is too long may end there."""
LEAST_CUT: Final = RATE_HZ // 2
"""What is cut off a segment that is too long has at least this length."""
NEVER: Final = -60 * RATE_HZ
"""Longer ago than anything that is waited for."""


class Kind(Enum):
    """Why a pass is due."""

    INTERVAL = "interval"
    """Time has passed. It may be left out."""
    SILENCE = "silence"
    """The speech seems to be over."""
    LAST = "last"
    """The segment ends, or is cut, behind it."""


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """An utterance begins."""

    position: int


@dataclass(frozen=True, slots=True)
class PassDue:
    """The segment is to be heard, from its beginning to `end`."""

    start: int
    end: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Full:
    """The segment is as long as may be: call `Segmenter.cut` before the next frame."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SegmentEnded:
    """The segment is over. Its last pass was due before."""

    start: int
    end: int
    speech_end: int
    """After its last voiced frame."""
    voiced: tuple[Span, ...]
    """Where somebody speaks in it."""


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """Nobody has spoken for a while, since `position`."""

    position: int


Decision: TypeAlias = SpeechBegan | PassDue | Full | SegmentEnded | UtteranceEnded


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a segmenter can be set up again: what it knew when the audio at `start` was about to come."""

    start: int = 0
    speaking: bool = False
    """A segment begins at `start`, cut off from one before."""
    utterance: bool = False
    """An utterance is open."""
    first: bool = True
    """The first pass of the utterance is still to come."""
    voiced_end: int = 0
    """After the last voiced frame."""
    last_pass: int = NEVER
    """How far the last pass went."""
    anchor: int = NEVER
    """Where the time to the next pass is counted from."""


class Segmenter:
    """Decides for one session.

    Args:
        parameters: when it listens. May be set while it runs.
        window: most samples the recogniser hears at once. May be set as well.
        mark: where it begins.
    """

    def __init__(self, parameters: Parameters, window: int, mark: Mark | None = None) -> None:
        self.parameters = parameters
        self.window = window
        mark = mark or Mark()
        self._position = mark.start
        self._floor = mark.start
        self._voiced_end = mark.voiced_end
        self._last_pass = mark.last_pass
        self._anchor = mark.anchor
        self._utterance = mark.utterance
        self._first = mark.first
        self._run = 0
        self._start: int | None = None
        self._mark = mark
        self._heard_all = False
        self._voiced: list[Span] = []
        self._loudness: list[tuple[int, float]] = []
        if mark.speaking:
            self._start = mark.start
            self._voiced_end = mark.start

    @property
    def position(self) -> int:
        """How far it has listened."""
        return self._position

    @property
    def open(self) -> bool:
        """True inside a segment."""
        return self._start is not None

    @property
    def voiced(self) -> tuple[Span, ...]:
        """Where somebody speaks in the segment."""
        return tuple(self._voiced)

    @property
    def mark(self) -> Mark:
        """The last place to begin again at: the beginning of the segment, or a little before now."""
        if self.open:
            return self._mark
        back = self._position - PRE_ROLL - self._run * FRAME
        return self._marked(max(self._floor, back), speaking=False)

    @property
    def quietest(self) -> int:
        """The best place to cut the segment where no word is known to end: the quietest of its last third."""
        assert self._start is not None
        third = self._start + (self._position - self._start) * 2 // 3
        late = [each for each in self._loudness if each[0] >= third]
        return min(late, key=lambda each: each[1])[0] if late else self._position

    def feed(self, frame: Frame) -> Iterator[Decision]:
        """What the next frame decides. Take every decision before the next frame."""
        length = len(frame.samples)
        self._position = frame.position + length
        if self.open:
            self._note(frame)
            yield from self._inside()
        elif frame.probability >= self.parameters.voice_threshold:
            self._run += 1
            if self._run >= ONSET_FRAMES:
                yield from self._begin(self._position - self._run * length)
        else:
            self._run = 0
        if self._utterance and not self.open and self._run == 0:
            yield from self._end_utterance(self.parameters.utterance_silence_s)

    def finish(self) -> Iterator[Decision]:
        """What is left to decide when no more audio comes."""
        if self.open:
            yield from self._end_segment()
        self._floor = self._position
        yield from self._end_utterance(0.0)

    def split(self) -> Iterator[Decision]:
        """Ends the segment here, without waiting for silence. Whoever speaks goes on in the next one."""
        if not self.open:
            return
        speaking = self._voiced_end == self._position
        yield from self._end_segment()
        if speaking:
            self._start = self._voiced_end = self._position
            self._mark = self._marked(self._position, speaking=True)

    def cut(self, position: int) -> int:
        """Ends the segment at about a position; the rest of it becomes the next segment.

        Returns:
            where it was cut: between two frames, so that the audio behind it can be cut into the same frames again.
        """
        assert self._start is not None
        frames = max(1, round((position - self._start) / FRAME))
        cut = min(self._start + frames * FRAME, self._position)
        self._start = cut
        self._mark = self._marked(cut, speaking=True)
        self._voiced = [(max(start, cut), end) for start, end in self._voiced if end > cut]
        self._loudness = [each for each in self._loudness if each[0] >= cut]
        return cut

    def _begin(self, onset: int) -> Iterator[Decision]:
        start = max(self._floor, onset - PRE_ROLL)
        if not self._utterance:
            self._first = True
        self._mark = self._marked(start, speaking=False)
        self._start = start
        self._anchor = onset
        self._run = 0
        self._heard_all = False
        self._voiced = [(onset, self._position)]
        self._voiced_end = self._position
        self._loudness = []
        if not self._utterance:
            self._utterance = True
            yield SpeechBegan(onset)

    def _note(self, frame: Frame) -> None:
        energy = float(np.dot(frame.samples, frame.samples)) / max(1, len(frame.samples))
        self._loudness.append((frame.position, energy))
        if frame.probability < self.parameters.voice_threshold - HYSTERESIS:
            return
        if self._voiced and self._voiced[-1][1] == frame.position:
            self._voiced[-1] = (self._voiced[-1][0], self._position)
        else:
            self._voiced.append((frame.position, self._position))
        self._voiced_end = self._position
        self._heard_all = False

    def _inside(self) -> Iterator[Decision]:
        assert self._start is not None
        limits, silence = self.parameters, self._position - self._voiced_end
        quiet = samples(min(max(limits.min_interval_s, QUIET_S), limits.segment_silence_s))
        rested = self._position - self._last_pass >= samples(limits.min_interval_s)
        if silence == 0:
            due = samples(limits.first_interval_s if self._first else limits.interval_s)
            if self._position - self._anchor >= due and rested:
                yield self._pass(Kind.INTERVAL)
        elif silence >= quiet and not self._heard_all and rested:
            yield self._pass(Kind.SILENCE)
            self._heard_all = True
        if silence >= samples(limits.segment_silence_s) and self._heard_all:
            yield from self._end_segment()
        elif self._position - self._start + FRAME > min(samples(limits.buffer_s), self.window):
            if silence >= GAP:
                # There is no better place to cut than a silence.
                yield from self._end_segment()
            else:
                if rested:
                    yield self._pass(Kind.LAST)
                yield Full(self._start, self._position)

    def _pass(self, kind: Kind) -> PassDue:
        assert self._start is not None
        self._last_pass = self._anchor = self._position
        self._first = False
        return PassDue(self._start, self._position, kind)

    def _end_segment(self) -> Iterator[Decision]:
        assert self._start is not None
        if not self._heard_all:
            yield self._pass(Kind.LAST)
        ended = SegmentEnded(self._start, self._position, max(self._start, self._voiced_end), self.voiced)
        self._start = None
        self._floor = self._position
        self._run = 0
        self._heard_all = False
        self._voiced, self._loudness = [], []
        yield ended

    def _end_utterance(self, silence_s: float) -> Iterator[Decision]:
        if self._utterance and self._position - self._voiced_end >= samples(silence_s):
            self._utterance = False
            self._first = True
            yield UtteranceEnded(self._voiced_end)

    def _marked(self, start: int, *, speaking: bool) -> Mark:
        return Mark(
            start, speaking, self._utterance, self._first, self._voiced_end, self._last_pass, self._anchor
        )


def samples(seconds: float) -> int:
    """So many samples at RATE_HZ."""
    return round(seconds * RATE_HZ)
