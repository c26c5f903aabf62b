from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_phrases import LANGUAGES
from trunkline_whisper_micro import voices

seeds = st.integers(0, 2**32)
languages = st.sampled_from(LANGUAGES)


@given(seeds, languages)
def test_training_never_hears_a_voice_or_a_speed_of_the_test(seed, language):
    voice = voices.draw(Random(seed), language, "train")
    assert voice.variant in voices.VARIANTS
    assert not voices.is_held_out(voice.words_per_minute)


@given(seeds, languages, st.sampled_from(["validation", "test"]))
def test_a_test_hears_no_voice_and_no_speed_of_training(seed, language, part):
    voice = voices.draw(Random(seed), language, part)
    assert voice.variant in voices.HELD_OUT_VARIANTS
    assert voices.is_held_out(voice.words_per_minute)


def test_no_variant_is_on_both_sides():
    assert not set(voices.VARIANTS) & set(voices.HELD_OUT_VARIANTS)
    assert len(voices.HELD_OUT_VARIANTS) >= 10


@given(seeds, languages)
def test_what_is_drawn_is_what_espeak_takes(seed, language):
    voice = voices.draw(Random(seed), language, "train")
    assert voice.accent in voices.ACCENTS[language]
    assert voices.SPEEDS[0] <= voice.words_per_minute < voices.SPEEDS[1]
    assert 0 <= voice.pitch <= 99
    assert 0 <= voice.pitch_range <= 99
    assert 0 < voice.volume <= 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_accent_and_every_variant_is_drawn(language):
    rng = Random(1)
    drawn = [voices.draw(rng, language, "train") for _ in range(2000)]
    assert {voice.accent for voice in drawn} == set(voices.ACCENTS[language])
    assert {voice.variant for voice in drawn} == set(voices.VARIANTS)
