"""What happens to speech on its way to a microphone and behind it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from trunkline_whisper_micro import noises
from trunkline_whisper_micro.noises import RATE_HZ, Sound

_FULL_SCALE: Final = 0.99


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a recording is made. None of a field leaves that out."""

    noise: str | None = None
    """A name of `noises.TRAINING` or `noises.HELD_OUT`."""
    snr_db: float = 0.0
    """Speech over noise, where there is speech."""
    reverberation_s: float | None = None
    """The time in which the room's echo falls by 60 dB."""
    wet: float = 0.0
    """Energy of the echo over that of the direct sound."""
    tilt_db: float = 0.0
    """What the microphone gives to 8 kHz over what it gives to 125 Hz."""
    telephone: bool = False
    """300 to 3400 Hz, as of a sampling rate of 8 kHz."""
    peak_db: float = -3.0
    """Where the loudest sample comes to lie, in dB of full scale."""
    overdrive_db: float | None = None
    """By how much more it is amplified, and then clipped."""


def draw(rng: np.random.Generator) -> Conditions:
    """Conditions that training hears."""
    noisy = rng.uniform() < 0.7
    return Conditions(
        noise=str(rng.choice(list(noises.TRAINING))) if noisy else None,
        snr_db=float(rng.uniform(5.0, 35.0)) if noisy else 0.0,
        reverberation_s=float(rng.uniform(0.1, 0.6)) if rng.uniform() < 0.3 else None,
        wet=float(rng.uniform(0.02, 0.4)),
        tilt_db=float(rng.uniform(-12.0, 12.0)) if rng.uniform() < 0.4 else 0.0,
        telephone=bool(rng.uniform() < 0.15),
        peak_db=float(rng.uniform(-30.0, -0.5)),
        overdrive_db=float(rng.uniform(3.0, 15.0)) if rng.uniform() < 0.1 else None,
    )


def draw_held_out(rng: np.random.Generator) -> Conditions:
    """Conditions of the test: a noise that training never hears, with half the clips in a small room."""
    return Conditions(
        noise=next(iter(noises.HELD_OUT)),
        snr_db=float(rng.uniform(10.0, 30.0)),
        reverberation_s=float(rng.uniform(0.1, 0.4)) if rng.uniform() < 0.5 else None,
        wet=float(rng.uniform(0.02, 0.2)),
        peak_db=float(rng.uniform(-20.0, -1.0)),
    )


def record(speech: Sound, conditions: Conditions, rng: np.random.Generator) -> Sound:
    """Speech as it is recorded, as long as it was: float32 within full scale."""
    sound = speech
    if conditions.reverberation_s is not None:
        sound = reverberate(sound, conditions.reverberation_s, conditions.wet, rng)
    if conditions.tilt_db:
        sound = tilt(sound, conditions.tilt_db)
    if conditions.noise is not None:
        maker = noises.TRAINING.get(conditions.noise) or noises.HELD_OUT[conditions.noise]
        level = active_rms(sound) * 10 ** (-conditions.snr_db / 20)
        sound = sound + maker(rng, len(sound)) * np.float32(level)
    if conditions.telephone:
        sound = limit_band(sound, 300.0, 3400.0)
    return gain(sound, conditions.peak_db, conditions.overdrive_db)


def active_rms(sound: Sound) -> float:
    """The level where there is sound: of the 20-ms blocks within 30 dB of the loudest."""
    blocks = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    if not len(blocks):
        return 0.0
    power = np.square(blocks, dtype=np.float64).mean(axis=1)
    return float(np.sqrt(power[power >= power.max() / 1000].mean()))


def reverberate(sound: Sound, decay_s: float, wet: float, rng: np.random.Generator) -> Sound:
    """With the echo of a room: noise that decays by 60 dB in the time given, a moment after the direct sound."""
    count = int(decay_s * RATE_HZ)
    echo = rng.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    echo[: int(rng.uniform(0.001, 0.01) * RATE_HZ)] = 0.0
    echo *= np.sqrt(wet / max(np.square(echo).sum(), 1e-9))
    echo[0] = 1.0
    size = next_fast_len(len(sound) + count, real=True)
    return np.asarray(irfft(rfft(sound, size) * rfft(echo, size), size)[: len(sound)], np.float32)


def tilt(sound: Sound, tilt_db: float) -> Sound:
    """Weaker or stronger by the octave: `tilt_db` between 125 Hz and 8 kHz."""
    size = next_fast_len(len(sound), real=True)
    octaves = np.log2(np.maximum(rfftfreq(size, 1 / RATE_HZ), 60.0) / 1000.0)
    curve = 10 ** (tilt_db / 6 * octaves / 20)
    return np.asarray(irfft(rfft(sound, size) * curve, size)[: len(sound)], np.float32)


def limit_band(sound: Sound, low_hz: float, high_hz: float) -> Sound:
    """Without what lies beyond two frequencies."""
    size = next_fast_len(len(sound), real=True)
    frequencies = rfftfreq(size, 1 / RATE_HZ)
    edge = 1 / (1 + np.exp(-(frequencies - low_hz) / 20.0)) / (1 + np.exp((frequencies - high_hz) / 50.0))
    return np.asarray(irfft(rfft(sound, size) * edge, size)[: len(sound)], np.float32)


def gain(sound: Sound, peak_db: float, overdrive_db: float | None = None) -> Sound:
    """With its loudest sample at `peak_db` of full scale, or amplified beyond that and clipped."""
    peak = float(np.abs(sound).max(initial=0.0))
    if peak == 0.0:
        return sound
    level = min(10 ** (peak_db / 20), _FULL_SCALE)
    if overdrive_db is None:
        return np.asarray(sound * (level / peak), np.float32)
    driven = sound * (level / peak * 10 ** (overdrive_db / 20))
    return np.asarray(np.clip(driven, -level, level), np.float32)
