"""Segments as subtitles: at most two lines of 42 characters, and seven seconds, a cue."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_local.transcribe_session import seconds

LINE = 42
LINES = 2
LONGEST_S = 7.0
"""As broadcasters have it (EBU-TT, BBC subtitle guidelines)."""


class Format(Enum):
    """Of a file of cues."""

    SRT = "srt"
    VTT = "vtt"


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen at once."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    speaker: int = 0


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start_s: float
    end_s: float
    speaker: int


def cues(segment: pb.Segment) -> Iterator[Cue]:
    """A segment in as many cues as it takes, each of one speaker, split between words."""
    waiting: list[_Word] = []
    for word in _words(segment):
        if waiting and not _fits([*waiting, word]):
            yield _cue(waiting)
            waiting = []
        waiting.append(word)
    if waiting:
        yield _cue(waiting)


def header(form: Format) -> str:
    """What a file begins with."""
    return "WEBVTT\n\n" if form is Format.VTT else ""


def render(cue: Cue, number: int, form: Format) -> str:
    """A cue as it stands in the file, with the empty line behind it."""
    times = f"{_time(cue.start_s, form)} --> {_time(cue.end_s, form)}"
    if form is Format.SRT:
        return "\n".join([str(number), times, *cue.lines]) + "\n\n"
    voice = f"<v Speaker {cue.speaker}>" if cue.speaker else ""
    text = "\n".join(escape(line, quote=False) for line in cue.lines)
    return f"{times}\n{voice}{text}\n\n"


def _words(segment: pb.Segment) -> list[_Word]:
    """With times: its own, or by their letters within the segment's."""
    if segment.words:
        return [
            _Word(word.text, seconds(word.start_time), seconds(word.end_time), word.speaker_tag)
            for word in segment.words
        ]
    begin, end = seconds(segment.start_time), seconds(segment.end_time)
    texts = segment.text.split()
    letters = max(1, sum(map(len, texts)))
    words, place = [], 0
    for text in texts:
        start = begin + (end - begin) * place / letters
        place += len(text)
        words.append(_Word(text, start, begin + (end - begin) * place / letters, segment.speaker_tag))
    return words


def _fits(words: Sequence[_Word]) -> bool:
    return (
        words[-1].speaker == words[0].speaker
        and words[-1].end_s - words[0].start_s <= LONGEST_S
        and len(_lines(words)) <= LINES
    )


def _lines(words: Sequence[_Word]) -> list[str]:
    """In as few lines as it takes, and those of one length where it can be."""
    text = " ".join(word.text for word in words)
    lines = _wrapped(text, LINE)
    if len(lines) != LINES:
        return lines
    return next(
        wrapped for width in range(len(text) // 2, LINE + 1) if len(wrapped := _wrapped(text, width)) <= LINES
    )


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _cue(words: Sequence[_Word]) -> Cue:
    start_s = words[0].start_s
    return Cue(start_s, max(start_s, words[-1].end_s), tuple(_lines(words)), words[0].speaker)


def _time(at_s: float, form: Format) -> str:
    milliseconds = round(at_s * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    mark = "," if form is Format.SRT else "."
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"
