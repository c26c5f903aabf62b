"""Words with their times, from the pieces of text that an engine gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import RATE_HZ, Word

_FRAME: Final = RATE_HZ // 50
_SILENCE_DB: Final = -30.0
"""Below the loudest frame."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text. One that begins with a space begins a word."""

    text: str
    start_s: float
    end_s: float
    """Negative when it is not known."""


def timed(pieces: Iterable[Piece], samples: int) -> tuple[Word, ...]:
    """Words of pieces, so that punctuation sticks to the word that it belongs to.

    Times are put in order: no word begins before the one ahead of it has ended, and none ends after the audio.

    Args:
        pieces: in the order of the text.
        samples: how long the audio is.
    """
    words: list[Word] = []
    reached = 0
    for piece in pieces:
        text = "".join(piece.text.split())
        if not text:
            continue
        start = min(max(round(piece.start_s * RATE_HZ), reached), samples)
        end = samples if piece.end_s < 0 else min(max(round(piece.end_s * RATE_HZ), start), samples)
        if words and not piece.text[0].isspace():
            last = words.pop()
            words.append(Word(last.text + text, last.start, end))
        else:
            words.append(Word(text, start, end))
        reached = end
    return tuple(words)


def estimated(text: str, samples: Samples) -> tuple[Word, ...]:
    """Words of a text, each as long as it is written, over the part of the audio that is not silent."""
    texts = text.split()
    if not texts:
        return ()
    first, last = _loud(samples)
    ends = np.cumsum([len(each) + 1 for each in texts])
    bounds = [first, *(first + (last - first) * ends // ends[-1])]
    return tuple(
        Word(each, int(start), int(end)) for each, start, end in zip(texts, bounds, bounds[1:], strict=False)
    )


def _loud(samples: Samples) -> tuple[int, int]:
    """First sample, and the one after the last, of what is not silent."""
    frames = len(samples) // _FRAME
    power = np.square(samples[: frames * _FRAME].reshape(frames, _FRAME)).mean(axis=1)
    if not frames or not power.max():
        return 0, len(samples)
    loud = np.flatnonzero(power >= power.max() * 10 ** (_SILENCE_DB / 10))
    return int(loud[0]) * _FRAME, int(loud[-1] + 1) * _FRAME
