"""Where one person stops and another one begins."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trunkline_speech.embedding import Embedding, Vectors
from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import RATE_HZ, Word

_GAP: Final = RATE_HZ * 3 // 10
"""Silence between two words that breaks a span of speech."""
_WINDOW: Final = RATE_HZ * 3 // 2
_STEP: Final = RATE_HZ // 4
CHANGE: Final = 0.8
"""Of the embedding's threshold. A change too many costs little: turns that are one person's are joined again."""
_LEAST: Final = RATE_HZ // 2
"""No turn inside a span is shorter."""
_LONGEST: Final = 30 * RATE_HZ
"""Longer spans are looked at in parts, so that their distances fit into memory."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One person speaks."""

    start: int
    end: int

    @property
    def seconds(self) -> float:
        """How long."""
        return (self.end - self.start) / RATE_HZ

    def overlap(self, word: Word) -> int:
        """Samples of the word within it; less than 0 when there are none, by how far it is away."""
        return min(self.end, word.end) - max(self.start, word.start)


def turn_of(word: Word, found: Sequence[Turn]) -> int:
    """Index of the turn in which most of the word lies, or which is closest. Turns are in order."""
    first = bisect_left(found, word.start, key=lambda turn: turn.end)
    last = bisect_left(found, word.end, key=lambda turn: turn.start)
    near = range(max(0, first - 1), min(len(found), last + 1))
    return max(near, key=lambda index: found[index].overlap(word))


def spans(words: Sequence[Word], length: int) -> list[Turn]:
    """Speech without a pause, in order, from words in audio so long."""
    found: list[Turn] = []
    for word in words:
        start, end = max(0, word.start), min(word.end, length)
        if start >= end:
            continue
        if found and start - found[-1].end < _GAP:
            found[-1] = Turn(found[-1].start, max(found[-1].end, end))
        else:
            found.append(Turn(start, end))
    return found


def turns(embedding: Embedding, samples: Samples, words: Sequence[Word]) -> list[Turn]:
    """The turns of the speech in which the words are, in order.

    A change of speakers is where the second before and the second after are furthest apart, and further than one
    person's would be (as DISTBIC, Delacourt and Wellekens 2000, with the embedding's own distance).

    Args:
        embedding: what voices are compared by.
        samples: the audio.
        words: in order, counted from its first sample.
    """
    found: list[Turn] = []
    for span in spans(words, len(samples)):
        for start in range(span.start, span.end, _LONGEST):
            part = Turn(start, min(start + _LONGEST, span.end))
            cuts = [part.start, *_changes(embedding, samples, part), part.end]
            found += _joined(embedding, samples, [Turn(*edges) for edges in pairwise(cuts)])
    return found


def embed(embedding: Embedding, samples: Samples, found: Sequence[Turn]) -> Vectors:
    """A vector for each turn."""
    return embedding.embed([samples[turn.start : turn.end] for turn in found])


def _changes(embedding: Embedding, samples: Samples, span: Turn) -> list[int]:
    at = list(range(span.start + _LEAST, span.end - _LEAST + 1, _STEP))
    if not at:
        return []
    before = embedding.embed([samples[max(span.start, moment - _WINDOW) : moment] for moment in at])
    after = embedding.embed([samples[moment : min(span.end, moment + _WINDOW)] for moment in at])
    apart = np.diagonal(embedding.distances(before, after))
    return _peaks(at, apart, CHANGE * embedding.threshold)


def _joined(embedding: Embedding, samples: Samples, found: list[Turn]) -> list[Turn]:
    """The turns, neighbours that turn out to be one person's joined: whole turns tell more than a second does."""
    vectors = embed(embedding, samples, found)
    while len(found) > 1:
        apart = np.diagonal(embedding.distances(vectors[:-1], vectors[1:]))
        closest = int(np.argmin(apart))
        if apart[closest] > embedding.threshold:
            break
        found[closest : closest + 2] = [Turn(found[closest].start, found[closest + 1].end)]
        vectors = np.delete(vectors, closest + 1, axis=0)
        vectors[closest] = embed(embedding, samples, found[closest : closest + 1])[0]
    return found


def _peaks(at: Sequence[int], apart: NDArray[np.float64], threshold: float) -> list[int]:
    """The moments at which it is further than the threshold, and than it is anywhere near."""
    near = _LEAST // _STEP
    return [
        moment
        for index, moment in enumerate(at)
        if apart[index] > threshold
        and index - max(0, index - near) == np.argmax(apart[max(0, index - near) : index + near + 1])
    ]
