"""Which parts of a recording are heard: those in which somebody speaks, none longer than the recogniser hears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from trunkline_speech.config import Parameters
from trunkline_speech.loops import Span
from trunkline_speech.parts import Frame
from trunkline_speech.segmenter import FRAME, Decision, Full, SegmentEnded, Segmenter

PARAMETERS: Final = Parameters(buffer_s=28.0)
"""Segments end where a live session's do; only the window cuts them."""
_TAIL: Final = 10 * FRAME
"""Silence that is heard behind the speech."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a recording."""

    start: int
    end: int
    speech_end: int
    """After its last voiced frame."""
    voiced: tuple[Span, ...]
    """Where somebody speaks in it."""


def pieces(frames: Iterable[Frame], window: int) -> Iterator[Piece]:
    """The pieces of a recording, in order.

    Args:
        frames: all of it.
        window: most samples of a piece. What is longer is cut in a silence, or where it is quietest.
    """
    segmenter = Segmenter(PARAMETERS, window)
    for frame in frames:
        yield from _pieces(segmenter, segmenter.feed(frame))
    yield from _pieces(segmenter, segmenter.finish())


def _pieces(segmenter: Segmenter, decisions: Iterable[Decision]) -> Iterator[Piece]:
    for decision in decisions:
        match decision:
            case Full(start):
                voiced = segmenter.voiced
                end = segmenter.cut(segmenter.quietest)
                before = tuple((first, min(last, end)) for first, last in voiced if first < end)
                yield Piece(start, end, before[-1][1] if before else end, before)
            case SegmentEnded(start, end, speech_end, voiced):
                yield Piece(start, min(end, speech_end + _TAIL), speech_end, voiced)
            case _:
                """Passes and utterances are a live session's."""
