"""Speech from eSpeak NG, in process, with the time of every word.

The library is Debian's `libespeak-ng1` (with the package `espeak-ng` come its voices). It keeps one voice a
process and calls back while it synthesises: one thread of a process uses it.
"""

import ctypes
import ctypes.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trunkline_whisper_micro.voices import Voice

_SYNCHRONOUS: Final = 2
_PHONEME_EVENTS: Final = 1
_POSITION_IS_CHARACTER: Final = 1
_UTF8: Final = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_END_OF_LIST, _WORD, _PHONEME = 0, 1, 7
_PAUSES: Final = frozenset({"", "_", "_:", "_^_", "_!", "_|", "_::"})


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it stands in the text, between spaces, and when it is said."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """What eSpeak said."""

    samples: npt.NDArray[np.int16]
    rate_hz: int
    words: tuple[Word, ...]


class EspeakMissing(OSError):
    """The library is not installed, or knows a voice no more."""


class Espeak:
    """The synthesiser of this process."""

    def __init__(self, library: Any, rate_hz: int) -> None:
        self._library = library
        self._rate_hz = rate_hz
        self._chunks: list[npt.NDArray[np.int16]] = []
        self._events: list[tuple[int, int, float, str]] = []
        # Kept, because the library calls it for as long as it lives.
        self._callback = _CALLBACK(self._heard)
        library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: Voice) -> Speech:
        """Says a text.

        Raises:
            EspeakMissing: there is no such voice, or the library fails.
        """
        library = self._library
        if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise EspeakMissing(f"eSpeak NG has no voice {voice.name}")
        for parameter, value in (
            (_RATE, voice.words_per_minute),
            (_VOLUME, voice.volume),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        self._chunks, self._events = [], []
        encoded = text.encode()
        if library.espeak_Synth(encoded, len(encoded) + 1, 0, _POSITION_IS_CHARACTER, 0, _UTF8, None, None):
            raise EspeakMissing(f"eSpeak NG could not say {text!r}")
        library.espeak_Synchronize()
        samples = np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)
        words = word_times(text, self._events, len(samples) / self._rate_hz)
        return Speech(samples, self._rate_hz, words)

    def _heard(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        place = 0
        while events[place].type != _END_OF_LIST:
            event = events[place]
            if event.type in (_WORD, _PHONEME):
                name = "" if event.type == _WORD else event.id.string.decode(errors="replace")
                self._events.append((event.type, event.text_position - 1, event.audio_position / 1000, name))
            place += 1
        return 0


@cache
def espeak() -> Espeak:
    """The synthesiser, opened once.

    Raises:
        EspeakMissing: the library is not installed.
    """
    try:
        library = ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
    except OSError as error:
        raise EspeakMissing("libespeak-ng is not installed: apt-get install espeak-ng") from error
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
    if rate_hz <= 0:
        raise EspeakMissing("eSpeak NG does not find its data")
    return Espeak(library, rate_hz)


def word_times(
    text: str, events: Sequence[tuple[int, int, float, str]], duration_s: float
) -> tuple[Word, ...]:
    """When each word between spaces is said, from (type, place in the text, seconds, phoneme) of the events.

    A word ends where the next one starts, or at the pause before that. Words that eSpeak says in one breath
    ("of the") have one event, and share its time by their letters.
    """
    spans = _spans(text)
    starts: list[float | None] = [None] * len(spans)
    quiet = []
    for kind, place, time_s, name in events:
        if kind == _PHONEME:
            if name.strip("\0") in _PAUSES:
                quiet.append(time_s)
            continue
        for index, (first, last) in enumerate(spans):
            if first <= place < last and starts[index] is None:
                starts[index] = time_s
    if not spans:
        return ()
    if starts[0] is None:
        starts[0] = 0.0
    known = [index for index, start in enumerate(starts) if start is not None]
    times: list[float] = []
    for index, following in pairwise([*known, len(spans)]):
        begin = starts[index] or 0.0
        end = duration_s if following == len(spans) else (starts[following] or 0.0)
        end = min([time for time in quiet if begin < time < end], default=end)
        letters = np.cumsum([0, *(last - first for first, last in spans[index:following])])
        times.extend((begin + (end - begin) * letters[:-1] / letters[-1]).tolist())
    words = []
    for index, (first, last) in enumerate(spans):
        end = times[index + 1] if index + 1 < len(spans) else duration_s
        end = min([time for time in quiet if times[index] < time < end], default=end)
        words.append(Word(text[first:last], times[index], end))
    return tuple(words)


def _spans(text: str) -> list[tuple[int, int]]:
    spans = []
    place = 0
    for part in text.split():
        first = text.index(part, place)
        place = first + len(part)
        if any(letter.isalnum() for letter in part):
            spans.append((first, place))
        elif spans:
            # French sets a space before some marks: they belong to the word before.
            spans[-1] = (spans[-1][0], place)
    return spans
