from itertools import pairwise

import numpy as np
import pytest

from trunkline_whisper_micro import noises

KINDS = {**noises.TRAINING, **noises.HELD_OUT}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [6400, 16_000, 40_001])
def test_every_sound_is_as_long_as_asked_and_as_loud(kind, count):
    sound = KINDS[kind](np.random.default_rng(3), count)
    assert sound.shape == (count,)
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert np.sqrt(np.mean(sound.astype(float) ** 2)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_sound_and_another_one_another(kind):
    first, again, other = (KINDS[kind](np.random.default_rng(seed), 4000) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_sound_of_the_test_is_a_sound_of_training():
    assert not set(noises.TRAINING) & set(noises.HELD_OUT)
    assert not set(noises.TRAINING.values()) & set(noises.HELD_OUT.values())


def test_coloured_noise_has_its_band_and_its_slope():
    sound = noises.coloured(np.random.default_rng(1), 160_000, 2.0, 100.0, 4000.0)
    power = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / noises.RATE_HZ)
    assert power[(hertz > 4100) | (hertz < 90)].sum() < 1e-3 * power.sum()
    octaves = [power[(hertz > low) & (hertz < 2 * low)].mean() for low in (250, 500, 1000)]
    assert [4 * high / low for low, high in pairwise(octaves)] == pytest.approx([1, 1], rel=0.3)


def test_silence_stays_silence():
    assert not noises.unit(np.zeros(10)).any()
    assert noises.unit(np.zeros(0)).shape == (0,)
