"""Voices without people: pulses through resonances, whose places change with what is said and scale with who says it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import RATE_HZ, Word

_VOWELS_HZ = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
    (490, 1350, 1690),
)
"""Formants of six vowels (Peterson and Barney 1952)."""


@dataclass(frozen=True)
class Voice:
    """Somebody: a pitch, and a vocal tract so much shorter than another's."""

    pitch_hz: float
    tract: float

    def says(self, seconds: float, seed: int = 0) -> Samples:
        random = np.random.default_rng(seed)
        spoken: list[np.ndarray] = []
        while sum(map(len, spoken)) < seconds * RATE_HZ:
            for formants in random.permutation(_VOWELS_HZ):
                spoken.append(self._vowel(formants, int(random.uniform(0.08, 0.2) * RATE_HZ), random))
        return np.concatenate(spoken or [np.empty(0)])[: round(seconds * RATE_HZ)].astype(np.float32)

    def _vowel(self, formants: np.ndarray, length: int, random: np.random.Generator) -> np.ndarray:
        pitch = self.pitch_hz * 2 ** random.normal(0, 0.08)
        pulses = np.diff(np.floor(np.arange(length + 1) * pitch / RATE_HZ)) + 0.01 * random.standard_normal(
            length
        )
        for formant in (*formants, 3600, 4700):
            around = 2 * np.pi * formant * self.tract / RATE_HZ
            near = np.exp(-np.pi * (60 + formant * 0.04) / RATE_HZ)
            pulses = lfilter([1 - near], [1, -2 * near * np.cos(around), near**2], pulses)
        return 0.1 * pulses / np.abs(pulses).max()


LOW = Voice(105, 0.9)
HIGH = Voice(215, 1.12)
CHILD = Voice(310, 1.35)


def words(samples: int, start: int = 0) -> tuple[Word, ...]:
    """A quarter of a second each, without a pause."""
    step = RATE_HZ // 4
    return tuple(
        Word("word", at, min(at + step, start + samples)) for at in range(start, start + samples, step)
    )
