import numpy as np
import pytest

from trunkline_whisper_micro import mel
from trunkline_whisper_micro.noises import RATE_HZ


def sweep():
    time = np.arange(RATE_HZ) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * (200 + 1500 * time) * time) * np.exp(-2 * time)).astype(np.float32)


def test_it_is_what_whispers_own_feature_extractor_gives():
    # By transformers' WhisperFeatureExtractor(feature_size=80, chunk_length=8) on this very sound.
    expected = {
        (0, 0): 1.1658,
        (0, 5): 1.2761,
        (10, 8): 0.3666,
        (25, 12): -0.5740,
        (75, 40): -0.5932,
        (99, 44): -0.4550,
        (99, 60): -0.3012,
    }
    heard = mel.log_mel(sweep())
    assert heard.shape == (100, mel.BANDS)
    assert {place: float(heard[place]) for place in expected} == pytest.approx(expected, abs=1e-3)
    assert float(heard.mean()) == pytest.approx(-0.4409, abs=1e-3)
    assert mel.floor(heard) == pytest.approx(-0.5932, abs=1e-3)


def test_silence_after_a_clip_changes_nothing_before_it():
    sound = np.concatenate([sweep(), np.zeros(RATE_HZ, np.float32)])
    longer = mel.log_mel(sound)
    assert longer[:100] == pytest.approx(mel.log_mel(sweep()), abs=1e-5)
    assert longer[103:] == pytest.approx(mel.floor(longer), abs=1e-6)


def test_a_tone_sounds_in_its_band():
    time = np.arange(RATE_HZ) / RATE_HZ
    bands = [
        int(mel.log_mel(np.sin(2 * np.pi * hertz * time).astype(np.float32))[50].argmax())
        for hertz in (200, 500, 1000, 3000, 6000)
    ]
    assert bands == sorted(set(bands))
    peaks = mel.filters()[:, bands].argmax(axis=0) * RATE_HZ / 400
    assert peaks == pytest.approx([200, 500, 1000, 3000, 6000], rel=0.15)


def test_loudness_moves_all_values_alike():
    quiet = mel.log_mel(sweep() / 10)
    assert mel.log_mel(sweep()) - quiet == pytest.approx(0.5, abs=1e-3)


def test_bytes_hold_it_within_half_a_step():
    heard = mel.log_mel(sweep())
    stored, low = mel.to_bytes(heard)
    assert stored.dtype == np.uint8
    assert stored * (2.0 / 255) + low == pytest.approx(heard, abs=1.01 / 255)


@pytest.mark.parametrize("count", [1, 159, 160, 161, 5000])
def test_there_is_a_frame_for_every_ten_milliseconds_begun(count):
    assert len(mel.log_mel(np.ones(count, np.float32))) == -(-count // 160)


def test_digital_silence_is_the_floor():
    heard = mel.log_mel(np.zeros(1600, np.float32))
    assert heard == pytest.approx(mel.floor(heard), abs=1e-6)
