import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_whisper_micro import augment, noises
from trunkline_whisper_micro.augment import Conditions
from trunkline_whisper_micro.noises import RATE_HZ

seeds = st.integers(0, 2**32)


def tone(hertz=1000.0, seconds=1.0, level=0.3):
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(
        np.float32
    )


def rms(sound):
    return float(np.sqrt(np.mean(sound.astype(float) ** 2)))


@given(seeds, st.booleans())
def test_a_recording_is_as_long_as_the_speech_and_within_full_scale(seed, held_out):
    rng = np.random.default_rng(seed)
    conditions = augment.draw_held_out(rng) if held_out else augment.draw(rng)
    sound = augment.record(tone(seconds=0.3), conditions, rng)
    assert sound.shape == (round(0.3 * RATE_HZ),)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= 1.0


@given(seeds)
def test_training_never_hears_the_noise_of_the_test(seed):
    conditions = augment.draw(np.random.default_rng(seed))
    assert conditions.noise is None or conditions.noise in noises.TRAINING
    assert augment.draw_held_out(np.random.default_rng(seed)).noise in noises.HELD_OUT


def test_every_kind_of_condition_is_drawn():
    rng = np.random.default_rng(1)
    drawn = [augment.draw(rng) for _ in range(1000)]
    assert {condition.noise for condition in drawn} == {None, *noises.TRAINING}
    for name in ("reverberation_s", "tilt_db", "telephone", "overdrive_db"):
        assert {bool(getattr(condition, name)) for condition in drawn} == {True, False}


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
def test_noise_lies_as_far_below_the_speech_as_asked(snr_db):
    speech = np.concatenate([np.zeros(RATE_HZ, np.float32), tone(level=0.01)])
    sound = augment.record(
        speech, Conditions(noise="white", snr_db=snr_db, peak_db=-3.0), np.random.default_rng(1)
    )
    noise = rms(sound[:RATE_HZ])
    speech_power = rms(sound[RATE_HZ:]) ** 2 - noise**2
    assert 10 * np.log10(speech_power / noise**2) == pytest.approx(snr_db, abs=0.5)


def test_a_telephone_leaves_its_band_only():
    rng = np.random.default_rng(1)
    assert rms(augment.limit_band(tone(1000.0), 300.0, 3400.0)) == pytest.approx(rms(tone(1000.0)), rel=0.02)
    for hertz in (100.0, 5000.0):
        assert rms(augment.limit_band(tone(hertz), 300.0, 3400.0)) < 0.02 * rms(tone(hertz))
    both = augment.record(tone(1000.0) + tone(6000.0), Conditions(telephone=True), rng)
    spectrum = np.abs(np.fft.rfft(both))
    assert spectrum[6000] < 0.01 * spectrum[1000]


def test_a_tilt_is_so_much_between_125_and_8000_hertz():
    low, high = (rms(augment.tilt(tone(hertz), 12.0)) / rms(tone(hertz)) for hertz in (250.0, 4000.0))
    assert 20 * np.log10(high / low) == pytest.approx(12.0 * 4 / 6, abs=0.3)


def test_an_echo_comes_after_the_sound_and_decays():
    click = np.zeros(RATE_HZ, np.float32)
    click[1000] = 1.0
    wet = augment.reverberate(click, 0.4, 0.3, np.random.default_rng(1))
    assert not wet[:999].round(5).any()
    assert wet[1000] == pytest.approx(1.0, abs=1e-3)
    early, late = rms(wet[1200:2000]), rms(wet[5000:5800])
    assert early > 3 * late > 0
    assert float((wet[1001:] ** 2).sum()) == pytest.approx(0.3, rel=0.05)


def test_overdrive_clips_at_the_peak():
    clipped = augment.gain(tone(), -6.0, overdrive_db=12.0)
    level = 10 ** (-6 / 20)
    assert np.abs(clipped).max() == pytest.approx(level, rel=1e-5)
    assert np.mean(np.abs(clipped) > 0.999 * level) > 0.5
    assert np.mean(np.abs(augment.gain(tone(), -6.0)) > 0.999 * level) < 0.2


@given(st.floats(-60.0, 0.0))
def test_the_loudest_sample_comes_to_lie_where_asked(peak_db):
    peak = np.abs(augment.gain(tone(seconds=0.1), peak_db)).max()
    assert peak == pytest.approx(min(10 ** (peak_db / 20), 0.99), rel=1e-4)


def test_silence_stays_silence():
    silence = np.zeros(1000, np.float32)
    conditions = Conditions(noise="pink", snr_db=5.0, reverberation_s=0.2, tilt_db=3.0, telephone=True)
    assert not augment.record(silence, conditions, np.random.default_rng(1)).any()


def test_the_level_of_speech_is_that_of_where_there_is_speech():
    padded = np.concatenate([np.zeros(3 * RATE_HZ, np.float32), tone()])
    assert augment.active_rms(padded) == pytest.approx(rms(tone()), rel=0.01)
    assert augment.active_rms(np.zeros(10, np.float32)) == 0.0
