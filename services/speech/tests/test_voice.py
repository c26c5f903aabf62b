import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voices import HIGH, LOW

from trunkline_speech.transcript import RATE_HZ
from trunkline_speech.voice import CEPSTRA, HOP, analyse


@pytest.mark.parametrize("hertz", [80, 120, 200, 310])
def test_the_pitch_of_pulses_is_how_many_there_are_a_second(hertz):
    at = np.arange(RATE_HZ)
    pulses = np.where(at % (RATE_HZ // hertz) == 0, 0.5, 0).astype(np.float32)
    frames = analyse(pulses)
    assert np.median(2**frames.octaves) == pytest.approx(RATE_HZ / (RATE_HZ // hertz), rel=0.02)
    assert np.median(frames.voicing) > 0.9


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32) * 0.1
    assert np.quantile(analyse(noise).voicing, 0.9) < 0.75


def test_loudness_changes_no_cepstrum():
    spoken = LOW.says(1.0)
    assert analyse(spoken).cepstra == pytest.approx(analyse(spoken * 0.25).cepstra, abs=0.05)


def test_pauses_are_not_loud():
    spoken = np.concatenate([HIGH.says(0.5), np.zeros(RATE_HZ // 2, np.float32)])
    loud = analyse(spoken).loud
    assert loud[:45].mean() > 0.9
    assert not loud[52:].any()


@given(st.integers(0, 5000), st.floats(0, 1, width=32))
def test_every_length_and_level_is_analysed(length, level):
    frames = analyse(np.full(length, level, np.float32))
    assert len(frames.cepstra) == len(frames.loud) == max(0, length - RATE_HZ // 25) // HOP + 1
    assert frames.cepstra.shape[1] == CEPSTRA
    assert all(np.isfinite(values).all() for values in frames)
    assert frames.loud.any()
