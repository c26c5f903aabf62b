"""What a voice is made of, every 10 ms: the shape of its spectrum, and its pitch."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import RATE_HZ

HOP: Final = RATE_HZ // 100
CEPSTRA: Final = 24

_WINDOW: Final = RATE_HZ // 40
_BINS: Final = 512
_BANDS: Final = 40
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7600.0
_FLOOR: Final = 1e-4
"""Of a frame's mean power: below it lie quantisation and the bands that a telephone cuts off."""

_PITCH_WINDOW: Final = RATE_HZ // 25
_PITCH_BINS: Final = 2048
_PITCH_HZ: Final = (60, 400)
_LONG_LAG: Final = 0.0002
"""What a lag's correlation loses a sample: of a period and its multiples the shortest is meant."""
_QUIET_DB: Final = 25.0
"""So far below the loud frames of its piece a frame is a pause."""


class Frames(NamedTuple):
    """Short-time analysis of a piece of speech, a row every HOP samples."""

    cepstra: NDArray[np.float64]
    """[frames, CEPSTRA] mel-frequency cepstral coefficients (Davis and Mermelstein 1980) from the first, without the
    zeroth: loudness tells nobody apart."""
    octaves: NDArray[np.float64]
    """[frames] pitch, in octaves above 1 Hz; of voiceless frames it means nothing."""
    voicing: NDArray[np.float64]
    """[frames] how periodic it is, to 1."""
    loud: NDArray[np.bool_]
    """[frames] False in pauses."""


def analyse(samples: Samples) -> Frames:
    """The frames of a piece of speech, at least one: silence follows what is shorter than the analysis window."""
    signal = np.pad(samples.astype(np.float64), (0, max(0, _PITCH_WINDOW - len(samples))))
    # Both windows lie around the same moments.
    wide = np.lib.stride_tricks.sliding_window_view(signal, _PITCH_WINDOW)[::HOP]
    edge = (_PITCH_WINDOW - _WINDOW) // 2
    narrow = wide[:, edge : edge + _WINDOW]
    octaves, voicing = _pitch(wide)
    power = np.mean(narrow**2, axis=1)
    level = 10 * np.log10(power + 1e-10)
    return Frames(_cepstra(narrow), octaves, voicing, level >= np.quantile(level, 0.95) - _QUIET_DB)


def _cepstra(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    spectrum = np.abs(fft.rfft(frames * np.hamming(_WINDOW), _BINS)) ** 2
    bands = spectrum @ _mel_bands()
    floor = _FLOOR * bands.mean(axis=1, keepdims=True) + 1e-9
    return np.asarray(fft.dct(np.log(bands + floor), norm="ortho")[:, 1 : CEPSTRA + 1])


def _pitch(frames: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Autocorrelation of the windowed signal over that of the window (Boersma 1993)."""
    window = np.hanning(_PITCH_WINDOW)
    centred = (frames - frames.mean(axis=1, keepdims=True)) * window
    shortest, longest = RATE_HZ // _PITCH_HZ[1], RATE_HZ // _PITCH_HZ[0]
    correlation = _autocorrelation(centred)[:, : longest + 1]
    of_window = _autocorrelation(window[None])[0, : longest + 1]
    scale = correlation[:, :1] + 1e-9
    periodic = (correlation / scale / (of_window / of_window[0]))[:, shortest:]
    lags = np.arange(shortest, longest + 1)
    best = np.argmax(periodic - _LONG_LAG * lags, axis=1)
    return np.log2(RATE_HZ / lags[best]), periodic[np.arange(len(best)), best]


def _autocorrelation(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(fft.irfft(np.abs(fft.rfft(frames, _PITCH_BINS)) ** 2))


@cache
def _mel_bands() -> NDArray[np.float64]:
    """[_BINS / 2 + 1, _BANDS] triangles, evenly spaced in mel (O'Shaughnessy 1987)."""
    low, high = (1127 * np.log1p(hertz / 700) for hertz in (_LOWEST_HZ, _HIGHEST_HZ))
    edges = 700 * np.expm1(np.linspace(low, high, _BANDS + 2) / 1127)
    hertz = np.arange(_BINS // 2 + 1)[:, None] * RATE_HZ / _BINS
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)))
