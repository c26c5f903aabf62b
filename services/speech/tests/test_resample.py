"""Rates: what comes in pieces comes out whole, and on time."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from trunkline_speech.resample import Resampler

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def resampled(samples: np.ndarray, rate_hz: int, sizes: list[int]) -> np.ndarray:
    resampler, pieces, at = Resampler(rate_hz), [], 0
    for size in sizes:
        pieces.append(resampler.feed(samples[at : at + size]))
        at += size
    return np.concatenate([*pieces, resampler.feed(samples[at:]), resampler.finish()])


@given(
    rate_hz=st.sampled_from(RATES),
    length=st.integers(0, 6_000),
    sizes=st.lists(st.integers(0, 2_000), max_size=30),
)
def test_pieces_of_any_size_give_exactly_what_one_call_gives(
    rate_hz: int, length: int, sizes: list[int]
) -> None:
    samples = np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32)
    whole = samples if rate_hz == 16_000 else soxr.resample(samples, rate_hz, 16_000)
    assert np.array_equal(resampled(samples, rate_hz, sizes), whole)


@given(rate_hz=st.sampled_from(RATES), length=st.integers(1, 20_000))
def test_the_length_is_that_of_the_same_time(rate_hz: int, length: int) -> None:
    assert abs(len(resampled(np.zeros(length, np.float32), rate_hz, [])) - length * 16_000 / rate_hz) <= 1


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_click_stays_at_its_time_also_after_a_minute(rate_hz: int) -> None:
    samples = np.zeros(60 * rate_hz, np.float32)
    clicks_s = (0.5, 30.0, 59.5)
    for click_s in clicks_s:
        samples[round(click_s * rate_hz)] = 1.0
    heard = resampled(samples, rate_hz, [rate_hz // 50] * 3_000)
    for click_s in clicks_s:
        around = round(click_s * 16_000)
        loudest = around - 800 + int(np.argmax(np.abs(heard[around - 800 : around + 800])))
        assert abs(loudest - click_s * 16_000) <= 1


def test_at_16_khz_nothing_is_touched_or_held_back() -> None:
    samples = np.linspace(-1, 1, 777, dtype=np.float32)
    resampler = Resampler(16_000)
    assert np.array_equal(resampler.feed(samples), samples)
    assert len(resampler.finish()) == 0
