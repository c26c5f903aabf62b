"""Voice activity: who is heard, and by whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_speech import ear, vad
from trunkline_speech.config import AudioFormat, Detector
from trunkline_speech.vad import FRAME

AUDIO = Path(__file__).parent / "audio"
BOTH = pytest.mark.parametrize("kind", list(Detector))


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """A spoken sentence of 3 s, [frames, 512]."""
    samples = ear.whole((AUDIO / "sentence.wav").read_bytes(), AudioFormat(), 60).samples
    return samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)


@BOTH
def test_speech_is_heard_and_silence_is_not(kind: Detector, speech: np.ndarray) -> None:
    heard = vad.detector(kind).feed(speech)
    assert np.median(heard) > 0.9
    assert vad.detector(kind).feed(np.zeros((60, FRAME), np.float32)).max() < 0.2


@BOTH
def test_it_falls_silent_after_the_speech_does(kind: Detector, speech: np.ndarray) -> None:
    silence = np.zeros((32, FRAME), np.float32)
    heard = vad.detector(kind).feed(np.concatenate([silence, speech, silence]))
    assert heard[:30].max() < 0.5
    assert heard[-16:].max() < 0.5


def test_noise_and_music_are_no_speech_to_the_network() -> None:
    time_s = np.arange(3 * 16_000) / 16_000
    chord = sum(np.sin(2 * np.pi * hertz * time_s) for hertz in (220.0, 277.2, 329.6)) / 10
    noise = np.random.default_rng(1).normal(0, 0.05, 3 * 16_000)
    for sound in (chord, noise):
        assert vad.probabilities(sound.astype(np.float32)).max() < 0.5


@BOTH
@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 92), max_size=5))
def test_how_many_frames_come_at_once_changes_nothing(
    kind: Detector, speech: np.ndarray, cuts: list[int]
) -> None:
    detector = vad.detector(kind)
    parts = np.split(speech, sorted(cuts))
    assert np.array_equal(
        np.concatenate([detector.feed(part) for part in parts]), vad.detector(kind).feed(speech)
    )


@BOTH
def test_two_streams_in_turns_hear_what_each_hears_alone(kind: Detector, speech: np.ndarray) -> None:
    noise = np.random.default_rng(2).normal(0, 0.3, speech.shape).astype(np.float32)
    first, second = vad.detector(kind), vad.detector(kind)
    in_turns = [
        (first.feed(one[None]), second.feed(other[None])) for one, other in zip(speech, noise, strict=True)
    ]
    assert np.array_equal(np.concatenate([one for one, _ in in_turns]), vad.detector(kind).feed(speech))
    assert np.array_equal(np.concatenate([other for _, other in in_turns]), vad.detector(kind).feed(noise))


@BOTH
def test_a_reset_detector_is_a_new_one(kind: Detector, speech: np.ndarray) -> None:
    detector = vad.detector(kind)
    detector.feed(speech[:40])
    detector.reset()
    assert np.array_equal(detector.feed(speech), vad.detector(kind).feed(speech))


def test_a_recording_has_a_probability_for_every_frame_begun() -> None:
    assert len(vad.probabilities(np.zeros(2 * FRAME + 1, np.float32))) == 3
    assert len(vad.probabilities(np.zeros(0, np.float32))) == 0
