"""Sounds that are no speech, made of nothing but random numbers. All are mono at 16 kHz, of RMS 1."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

RATE_HZ: Final = 16_000

Sound: TypeAlias = npt.NDArray[np.float32]
Maker: TypeAlias = Callable[[np.random.Generator, int], Sound]


def coloured(rng: np.random.Generator, count: int, slope: float, low_hz: float, high_hz: float) -> Sound:
    """Noise whose power falls as 1 / f ** slope between two frequencies, and is nothing beyond them."""
    size = next_fast_len(count, real=True)
    frequencies = rfftfreq(size, 1 / RATE_HZ)
    shape = np.where(
        (frequencies >= low_hz) & (frequencies <= high_hz), np.maximum(frequencies, 20.0) ** (-slope / 2), 0.0
    )
    return unit(irfft(rfft(rng.standard_normal(size)) * shape, size)[:count])


def white(rng: np.random.Generator, count: int) -> Sound:
    """All frequencies alike."""
    return coloured(rng, count, 0.0, 0.0, RATE_HZ / 2)


def pink(rng: np.random.Generator, count: int) -> Sound:
    """All octaves about alike."""
    return coloured(rng, count, rng.uniform(0.6, 1.4), 20.0, RATE_HZ / 2)


def brown(rng: np.random.Generator, count: int) -> Sound:
    """A rumble."""
    return coloured(rng, count, rng.uniform(1.6, 2.4), 20.0, RATE_HZ / 2)


def band(rng: np.random.Generator, count: int) -> Sound:
    """Hiss of an octave or two."""
    low_hz = rng.uniform(80.0, 3000.0)
    return coloured(rng, count, 0.5, low_hz, min(low_hz * rng.uniform(1.5, 4.0), RATE_HZ / 2))


def hum(rng: np.random.Generator, count: int) -> Sound:
    """Mains and its harmonics."""
    return unit(
        _harmonics(rng, _time(count) * rng.choice((50.0, 60.0)), 12, falls=0.8) + 0.05 * pink(rng, count)
    )


def murmur(rng: np.random.Generator, count: int) -> Sound:
    """Many voices far away: bands of noise that swell and fade as syllables do."""
    parts = []
    for _ in range(rng.integers(3, 7)):
        low_hz = rng.uniform(200.0, 2000.0)
        swell = coloured(rng, count, 0.0, 0.5, 6.0)
        parts.append(coloured(rng, count, 1.0, low_hz, low_hz * 2) * np.maximum(swell, 0.0))
    return unit(np.sum(parts, axis=0))


def crackle(rng: np.random.Generator, count: int) -> Sound:
    """Clicks of a bad line or of rain, over a little hiss."""
    clicks = np.zeros(count)
    number = max(1, int(count / RATE_HZ * rng.uniform(2.0, 60.0)))
    clicks[rng.integers(0, count, number)] = rng.standard_normal(number) * rng.exponential(1.0, number)
    ring = np.exp(-np.arange(160) / rng.uniform(4.0, 40.0)) * rng.standard_normal(160)
    return unit(np.convolve(clicks, ring)[:count] + 0.01 * white(rng, count))


def beeps(rng: np.random.Generator, count: int) -> Sound:
    """Tones and sweeps that start and stop."""
    sound = np.zeros(count)
    for _ in range(max(1, int(count / RATE_HZ * rng.uniform(0.5, 3.0)))):
        first = int(rng.integers(0, count))
        length = min(int(RATE_HZ * rng.uniform(0.05, 0.6)), count - first)
        sweep = np.linspace(rng.uniform(200.0, 3500.0), rng.uniform(200.0, 3500.0), length)
        sound[first : first + length] += np.sin(2 * np.pi * np.cumsum(sweep) / RATE_HZ)
    return unit(sound + 0.01 * white(rng, count))


def music(rng: np.random.Generator, count: int) -> Sound:
    """Chords of decaying tones over a bass, with a drum of noise."""
    return _music(rng, count, lambda phase: _harmonics(rng, phase, 6, falls=1.2))


def engine(rng: np.random.Generator, count: int) -> Sound:
    """A motor: harmonics of a speed that wanders, beating, with the wind beside it."""
    time = _time(count)
    speed_hz = rng.uniform(45.0, 110.0) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.05, 0.4) * time))
    motor = _harmonics(rng, np.cumsum(speed_hz) / RATE_HZ, 30, falls=0.6)
    beat = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(4.0, 12.0) * time)
    return unit(unit(motor * beat) + rng.uniform(0.3, 1.0) * coloured(rng, count, 1.0, 60.0, 5000.0))


def bells(rng: np.random.Generator, count: int) -> Sound:
    """Music of another kind: tones whose phase is moved by tones."""

    def ring(phase: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        moved = rng.uniform(1.0, 4.0) * np.sin(2 * np.pi * phase * rng.choice((1.4, 2.0, 3.5)))
        return np.asarray(np.sin(2 * np.pi * phase + moved))

    return _music(rng, count, ring)


TRAINING: Final[Mapping[str, Maker]] = {
    "white": white,
    "pink": pink,
    "brown": brown,
    "band": band,
    "hum": hum,
    "murmur": murmur,
    "crackle": crackle,
    "beeps": beeps,
    "music": music,
}
"""What training hears behind the speech, and instead of it."""

HELD_OUT: Final[Mapping[str, Maker]] = {"engine": engine, "bells": bells}
"""What only tests hear: the first behind the speech, both instead of it."""


def unit(sound: npt.NDArray[np.floating]) -> Sound:
    """The sound at RMS 1; silence stays silence."""
    rms = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if len(sound) else 0.0
    return (sound / rms if rms > 0 else sound).astype(np.float32)


def _time(count: int) -> npt.NDArray[np.float64]:
    return np.arange(count) / RATE_HZ


def _harmonics(
    rng: np.random.Generator, phase: npt.NDArray[np.float64], number: int, falls: float
) -> npt.NDArray[np.float64]:
    sound = np.zeros(len(phase))
    for harmonic in range(1, number + 1):
        turn = rng.uniform()
        sound += rng.uniform(0.3, 1.0) / harmonic**falls * np.sin(2 * np.pi * (harmonic * phase + turn))
    return sound


def _music(
    rng: np.random.Generator,
    count: int,
    tone: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> Sound:
    beat = int(RATE_HZ * 60 / rng.uniform(70.0, 160.0))
    root = rng.uniform(110.0, 260.0)
    sound = np.zeros(count + 4 * beat)
    for first in range(0, count, beat):
        fade = np.exp(-np.arange(2 * beat) / (beat * rng.uniform(0.4, 1.2)))
        chord = rng.choice(((0, 4, 7), (0, 3, 7), (5, 9, 12), (7, 11, 14)))
        for step in (*chord, int(rng.integers(0, 24))):
            phase = np.arange(2 * beat) / RATE_HZ * root * 2 ** (step / 12)
            sound[first : first + 2 * beat] += fade * tone(phase)
        if rng.uniform() < 0.7:
            length = beat // 4
            hit = rng.standard_normal(length) * np.exp(-np.arange(length) / (length / 5))
            sound[first : first + length] += hit
    return unit(sound[:count])
