from random import Random

import pytest

from trunkline_phrases import LANGUAGES, PARTS, sample, sentence_count, templates, vocabulary, words
from trunkline_phrases.fillers import Style
from trunkline_phrases.lexicon import lexicon


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_five_hundred_words_without_its_numbers(language):
    numbers = {
        word
        for category in ("number", "date", "year")
        for member in lexicon()[category].members
        for word in words(member.say(Style(language)), language)
    }
    assert len(vocabulary(language) - numbers) >= 500


@pytest.mark.parametrize("part", PARTS)
def test_what_is_sampled_is_in_the_vocabulary_of_its_part(part):
    rng = Random(part)
    for _ in range(400):
        sentence = sample(rng, part)
        for texts in (sentence.texts, sentence.before or {}):
            for language, text in texts.items():
                assert set(words(text, language)) <= vocabulary(language, part), text


def test_there_are_more_than_a_million_sentences_in_every_part():
    for part in PARTS:
        assert sum(map(sentence_count, templates(part))) > 1_000_000


def test_fillings_are_counted():
    counts = {template.id: sentence_count(template) for template in templates()}
    assert counts["calendar.today-weekday"] == 7
    assert counts["numbers.age"] == 24 * 98
    assert counts["numbers.distance-between"] == len(lexicon()["amount"].members) * 30 * 29
    assert counts["numbers.code"] == 10**3 + 10**4 + 10**6
