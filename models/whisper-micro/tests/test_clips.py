from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speakers import LETTER_S, Mute, Tones

from trunkline_phrases import templates, words, words_of
from trunkline_whisper_micro import clips, voices
from trunkline_whisper_micro.clips import WINDOW_S, Clip, Segment
from trunkline_whisper_micro.espeak import Word
from trunkline_whisper_micro.noises import RATE_HZ

TRAINING = {template.id for template in templates("train")}


def clip_of(*segments, seconds=4.0):
    made = tuple(
        Segment(tuple(Word(*word) for word in segment), max(end for _, _, end in segment))
        for segment in segments
    )
    return Clip(np.zeros(round(seconds * RATE_HZ), np.float32), "en", made, (), "en+m1", 150)


TWO = clip_of(
    [("Good", 0.5, 0.8), ("day", 0.8, 1.2)], [("Where", 2.0, 2.4), ("is", 2.4, 2.6), ("it?", 2.6, 3.0)]
)


@pytest.mark.parametrize("seed", range(60))
def test_what_training_hears_is_of_the_training_split_and_fits_the_window(seed, speaker):
    clip = clips.draw(Random(seed), "es", speaker)
    assert set(clip.templates) <= TRAINING
    assert 0 < len(clip.samples) <= WINDOW_S * RATE_HZ
    assert np.abs(clip.samples).max() <= 1.0
    ends = [0.0]
    for segment in clip.segments:
        assert segment.words
        for word in segment.words:
            assert ends[-1] - 1e-6 <= word.start_s < word.end_s <= len(clip.samples) / RATE_HZ
            ends.append(word.end_s)
        assert segment.end_s <= len(clip.samples) / RATE_HZ
    assert all(voice.variant in voices.VARIANTS for voice in speaker.voices)


def test_training_hears_one_sentence_two_pieces_and_nobody(speaker):
    rng = Random(1)
    drawn = [clips.draw(rng, "en", speaker) for _ in range(150)]
    assert {0, 1, 2} == {len(clip.segments) for clip in drawn}
    assert any(not clip.voice for clip in drawn)
    assert any(clip.text and clip.text not in speaker.texts and len(clip.segments) == 1 for clip in drawn)


def test_shuffled_words_are_those_of_the_training_split(speaker):
    rng = Random(1)
    known = {word for template in templates("train") for word in words_of(template, "en")}
    for _ in range(60):
        clip = clips.draw(rng, "en", speaker, shuffle=True)
        assert not clip.templates
        assert {word for text in speaker.texts for word in words(text, "en")} <= known


@pytest.mark.parametrize("part", ["validation", "test"])
def test_what_is_measured_is_whole_and_held_out(part, speaker):
    rng = Random(1)
    held_out = {template.id for template in templates(part)}
    for _ in range(30):
        clip = clips.draw_held_out(rng, "en", part, speaker)
        assert set(clip.templates) <= held_out
        assert clip.text in speaker.texts
        assert len(clip.samples) <= WINDOW_S * RATE_HZ
    assert all(voice.variant in voices.HELD_OUT_VARIANTS for voice in speaker.voices)


def test_a_seed_gives_the_same_clip(speaker):
    first, again = (clips.draw(Random(5), "en", speaker) for _ in range(2))
    assert np.array_equal(first.samples, again.samples)
    assert first.segments == again.segments


def test_words_are_where_the_sound_is(speaker):
    clip = clips.say(Random(3), "en", "train", 2, speaker)
    for segment in clip.segments:
        for word in segment.words:
            inside = clip.samples[
                round((word.start_s + 0.01) * RATE_HZ) : round((word.end_s - 0.01) * RATE_HZ)
            ]
            assert np.abs(inside).max() > 0.1
        assert segment.end_s - segment.start_s == pytest.approx(LETTER_S * len(segment.text.replace(" ", "")))
    between = clip.samples[
        round((clip.segments[0].end_s + 0.02) * RATE_HZ) : round((clip.segments[1].start_s - 0.02) * RATE_HZ)
    ]
    assert np.abs(between).max(initial=0.0) < 0.02


def test_a_word_that_is_cut_is_not_said():
    cut = clips.cut(TWO, 0.0, 2.5)
    assert [segment.text for segment in cut.segments] == ["Good day", "Where"]
    assert cut.segments[1].end_s == 2.5
    assert [segment.text for segment in clips.cut(TWO, 0.7, 4.0).segments] == ["day", "Where is it?"]


def test_a_piece_between_sentences_is_silent():
    assert clips.cut(TWO, 1.25, 1.95).segments == ()


def test_times_of_a_piece_count_from_its_start():
    cut = clips.cut(TWO, 1.5, 4.0)
    assert cut.segments[0].start_s == pytest.approx(0.5)
    assert cut.segments[0].end_s == pytest.approx(1.5)


@given(st.floats(0.0, 3.5), st.floats(0.1, 4.0))
def test_a_piece_says_every_word_that_lies_in_it_and_none_that_does_not(first, length):
    last = min(first + length, 4.0)
    cut = clips.cut(TWO, first, last)
    words = [word for segment in TWO.segments for word in segment.words]
    inside = {word.text for word in words if first <= word.start_s and word.end_s <= last}
    nearly = {word.text for word in words if first - 0.051 <= word.start_s and word.end_s <= last + 0.051}
    assert inside <= set(cut.text.split()) <= nearly
    for segment in cut.segments:
        assert 0.0 <= segment.start_s <= segment.end_s <= len(cut.samples) / RATE_HZ


def test_a_voice_that_says_nothing_is_an_error():
    with pytest.raises(ValueError, match="says nothing"):
        clips.say(Random(1), "en", "train", 1, Mute())


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 48_000])
def test_resampling_keeps_pitch_and_length(rate_hz):
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)).astype(np.int16)
    sound = clips.to_rate(tone, rate_hz)
    assert len(sound) == pytest.approx(RATE_HZ, abs=1)
    assert np.argmax(np.abs(np.fft.rfft(sound))) == pytest.approx(440, abs=1)


def test_speakers_are_asked_in_their_language():
    tones = Tones()
    clips.say(Random(1), "de", "train", 1, tones)
    assert tones.voices[0].accent in voices.ACCENTS["de"]
