from random import Random

from hypothesis import given
from hypothesis import strategies as st

from trunkline_phrase_translator.placeholders import PLACEHOLDERS, mask, pairs
from trunkline_phrases.lexicon import lexicon


def member(category, key):
    return next(filler for filler in lexicon()[category].members if filler.key == key)


def test_nouns_pair_without_their_articles_and_in_the_plural():
    found = pairs([member("thing", "suitcase")], "en", "de")
    assert ("suitcase", "Koffer") in found
    assert ("suitcases", "Koffer") in found


def test_adjectives_are_never_masked():
    assert pairs(lexicon()["colour"].members, "en", "es") == []


def test_what_is_masked_is_whole_words():
    masked = mask(
        Random(0), "Paulas Buch ist hier, Paula.", "Paula's book is here, Paul.", [("Paul", "Paul")]
    )
    assert masked == ("Paulas Buch ist hier, Paula.", "Paula's book is here, Paul.")


def test_what_occurs_twice_is_left():
    assert mask(Random(0), "no, no", "nein", [("no", "nein")]) == ("no, no", "nein")


def test_spacing_stays_as_it_was():
    source, target = mask(Random(1), "Wo ist Maria?", "Où est Maria ?", [("Maria", "Maria")])
    mark = source.removeprefix("Wo ist ").removesuffix("?")
    assert mark in PLACEHOLDERS
    assert target == f"Où est {mark} ?"


@given(st.integers(0, 10_000))
def test_putting_back_what_was_masked_gives_the_texts(seed):
    candidates = [("Maria", "Maria"), ("hotel", "Hotel"), ("station", "Bahnhof")]
    here = "Maria walks from the hotel to the station."
    there = "Maria geht vom Hotel zum Bahnhof."
    source, target = mask(Random(seed), here, there, candidates)
    marks = [mark for mark in PLACEHOLDERS if mark in source]
    assert 1 <= len(marks) <= 3
    for mark in marks:
        (pair,) = [
            pair
            for pair in candidates
            if source.replace(mark, pair[0]) in _masked(here, candidates, source, mark)
            and target.count(mark) == 1
        ]
        source, target = source.replace(mark, pair[0]), target.replace(mark, pair[1])
    assert (source, target) == (here, there)


def _masked(text, candidates, source, mark):
    """The text with any of the other marks in place of any other word."""
    found = {text}
    for other in PLACEHOLDERS:
        if other != mark and other in source:
            found |= {old.replace(word, other) for old in found for word, _ in candidates}
    return found
