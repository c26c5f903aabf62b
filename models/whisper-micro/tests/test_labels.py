from random import Random

import numpy as np
import pytest

from trunkline_phrases import LANGUAGES, sample, spoken
from trunkline_whisper_micro.clips import Clip, Segment
from trunkline_whisper_micro.espeak import Word
from trunkline_whisper_micro.labels import BLANK, CHARACTERS, Label, Said, characters


def clip(*segments):
    made = tuple(Segment(tuple(Word(*word) for word in words), words[-1][2]) for words in segments)
    return Clip(np.zeros(64_000, np.float32), "es", made, (), "es+m1", 150)


ONE = clip([("Buenos", 0.31, 0.8), ("días.", 0.8, 1.3)])
TWO = clip([("Sí.", 0.2, 0.5)], [("Ya", 1.0, 1.2), ("voy.", 1.2, 1.61)])


def spell(tokens, ids):
    names = {place: token for token, place in tokens.special.items()}
    return "".join(names.get(place) or tokens.decode([place]) for place in ids)


def test_with_stamps_every_sentence_stands_between_its_times(tokens):
    assert spell(tokens, Label.of(TWO, tokens).sequence(tokens, stamped=True)) == (
        "<|startoftranscript|><|es|><|transcribe|><|0.20|> Sí.<|0.50|><|1.00|> Ya voy.<|1.60|><|endoftext|>"
    )


def test_without_stamps_there_is_only_the_text(tokens):
    assert spell(tokens, Label.of(ONE, tokens).sequence(tokens, stamped=False)) == (
        "<|startoftranscript|><|es|><|transcribe|><|notimestamps|> Buenos días.<|endoftext|>"
    )


def test_silence_ends_at_once(tokens):
    silent = Label.of(clip(), tokens)
    assert spell(tokens, silent.sequence(tokens, stamped=False)).endswith("<|notimestamps|><|endoftext|>")
    # Pipelines make a transcript with time stamps begin with one.
    assert spell(tokens, silent.sequence(tokens, stamped=True)).endswith(
        "<|transcribe|><|0.00|><|endoftext|>"
    )
    assert silent.characters == ()


def test_hints_come_from_texts_and_begin_as_hints_do(tokens):
    label, other = Label.of(ONE, tokens), Label.of(TWO, tokens)
    hints = label.hints(tokens, Random(1), [other])
    assert hints[0] == tokens.special["<|startofprev|>"]
    texts = {place for one in (label, other) for segment in one.segments for place in segment.text}
    assert set(hints[1:]) <= texts
    assert hints[1:]


def test_characters_are_those_of_the_spoken_form(tokens):
    assert Label.of(ONE, tokens).characters == characters("buenos días")
    assert len(characters("buenos días")) == len("buenos días")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_character_of_a_language_has_a_number(language):
    rng = Random(1)
    for _ in range(300):
        text = spoken(sample(rng).texts[language], language)
        numbers = characters(text)
        assert len(numbers) == len(text)
        assert all(BLANK < number < CHARACTERS for number in numbers)


def test_a_label_keeps_times_as_they_were(tokens):
    said = Label.of(ONE, tokens).segments
    assert said == (Said(0.31, 1.3, tuple(tokens.encode(" Buenos días."))),)
