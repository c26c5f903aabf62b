"""The log-mel spectrogram that Whisper hears (Radford et al., 2022), and its storage in bytes."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from trunkline_whisper_micro.noises import RATE_HZ, Sound

BANDS: Final = 80
HOP: Final = 160
_FFT: Final = 400
_RANGE: Final = 2.0
"""From the loudest value to the floor, as Whisper scales it: eight powers of ten over four."""


def log_mel(samples: Sound) -> npt.NDArray[np.float32]:
    """[frames, 80] of a clip, 100 frames a second, as of the same clip in a window filled up with silence."""
    count = -(-len(samples) // HOP)
    padded = np.concatenate([samples[_FFT // 2 : 0 : -1], samples, np.zeros(_FFT + HOP, np.float32)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::HOP][:count]
    power = np.abs(np.fft.rfft(windows * np.hanning(_FFT + 1)[:-1].astype(np.float32))) ** 2
    mel = np.log10(np.maximum(power.astype(np.float32) @ filters(), 1e-10))
    floored = np.maximum(mel, mel.max(initial=-10.0) - 4 * _RANGE)
    return np.asarray((floored + 4.0) / 4.0, np.float32)


def floor(mel: npt.NDArray[np.float32]) -> float:
    """What silence is in a window with this clip."""
    return max(float(mel.max()) - _RANGE, -1.5)


@cache
def filters() -> npt.NDArray[np.float32]:
    """[201, 80] triangles on Slaney's mel scale, each of the same area."""
    edges = _hertz(np.linspace(_mel(0.0), _mel(RATE_HZ / 2), BANDS + 2))
    bins = np.linspace(0.0, RATE_HZ / 2, _FFT // 2 + 1)
    rising = (bins[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - bins[:, None]) / np.diff(edges)[None, 1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return triangles.astype(np.float32)


def to_bytes(mel: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], float]:
    """A byte a value, and the value that 0 stands for."""
    low = floor(mel)
    return np.rint(np.clip((mel - low) / _RANGE, 0.0, 1.0) * 255).astype(np.uint8), low


def _mel(hertz: float) -> float:
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))
