"""Phrases that no engine may touch."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_hop.errors import BadRequest
from trunkline_translate.masking import (
    FIRST,
    MOST,
    Kind,
    Masked,
    Phrase,
    Unmasker,
    mask,
    without_placeholders,
)

P0, P1, P2 = "\ue000", "\ue001", "\ue002"


def kept(text: str, *keep: str) -> str:
    return mask(text, keep).text


def termed(text: str, **glossary: str) -> str:
    return mask(text, (), tuple(glossary.items())).text


def test_a_phrase_that_stays_becomes_one_character_and_comes_back() -> None:
    masked = mask("Open Trunk Line now", ("Trunk Line",))
    assert masked == Masked(f"Open {P0} now", (Phrase("Trunk Line", Kind.KEEP),))
    assert Unmasker(masked).feed(f"Abre {P0} ahora") == "Abre Trunk Line ahora"


def test_a_term_comes_back_as_its_translation() -> None:
    masked = mask("The Widget, a widget", (), (("widget", "Dings"),))
    assert masked.text == f"The {P0}, a {P1}"
    assert Unmasker(masked).feed(f"Das {P0}, ein {P1}") == "Das Dings, ein Dings"


def test_upper_and_lower_case_differ_for_what_stays_and_not_for_terms() -> None:
    assert kept("apple and Apple", "Apple") == f"apple and {P0}"
    assert termed("APPLE and Apple", apple="manzana") == f"{P0} and {P1}"


@pytest.mark.parametrize(
    ("text", "phrase", "masked"),
    [
        ("cat, concat, cats, cat", "cat", f"{P0}, concat, cats, {P1}"),
        ("cat_1 cat1 cat-1 cat's (cat)", "cat", f"cat_1 cat1 {P0}-1 {P1}'s ({P2})"),
        ("l'iPhone d’iPhone", "iPhone", f"l'{P0} d’{P1}"),
        ("C++ and C", "C++", f"{P0} and C"),
        ("C++x", "C++", f"{P0}x"),
        ("我用iPhone打电话", "iPhone", f"我用{P0}打电话"),
        ("東京都に住む", "東京", f"{P0}都に住む"),
        ("삼성은 크다", "삼성", f"{P0}은 크다"),
        ("cafe\u0301 cafe", "cafe", f"cafe\u0301 {P0}"),
        ("हिन्दी", "हिन", "हिन्दी"),
        ("straße strasse", "strasse", f"straße {P0}"),
        ("a  New\nYork b", "New York", f"a  {P0} b"),
        ("nothing", "", "nothing"),
        ("nothing", "  ", "nothing"),
        ("a.b axb", "a.b", f"{P0} axb"),
        ("Don't ask Don, or Don\u2019t's friend.", "Don", f"Don't ask {P0}, or Don\u2019t's friend."),
        ("Don's hat", "Don", f"{P0}'s hat"),
        ("Don'the", "Don", f"{P0}'the"),
        ("5 or 3.5, 5,000 and 5.", "5", f"{P0} or 3.5, 5,000 and {P1}."),
        ("v.5 a,5", "5", f"v.{P0} a,{P1}"),
        ("13.5 is not 3.5.", "3.5", f"13.5 is not {P0}."),
    ],
)  # fmt: skip
def test_a_phrase_is_whole_words_where_a_script_has_words(text: str, phrase: str, masked: str) -> None:
    assert kept(text, phrase) == masked


def test_upper_and_lower_case_of_every_script_are_the_same_for_terms() -> None:
    assert termed("ΟΔΟΣ Οδός οδος", οδός="street", οδος="way") == f"{P0} {P1} {P2}"
    assert termed("İZMİR ÉTÉ", été="summer") == f"İZMİR {P0}"


def test_two_hundred_phrases_are_found_where_they_are() -> None:
    keep = tuple(f"phrase {number}" for number in range(100))
    glossary = tuple((f"term {number}", f"Wort {number}") for number in range(100))
    masked = mask("phrase 7, phrase 77, Term 99 and term 100", keep, glossary)
    assert masked.restored() == "phrase 7, phrase 77, Wort 99 and term 100"
    assert len(masked.phrases) == 3


def test_the_longest_phrase_wins_where_several_begin() -> None:
    assert kept("New York Times of New York", "New York", "New York Times") == f"{P0} of {P1}"
    assert mask("New York Times", ("New York", "New York Times")).phrases[0].text == "New York Times"


def test_a_shorter_phrase_is_found_where_the_longer_one_is_no_whole_word() -> None:
    assert kept("New Yorkers", "New York", "New") == f"{P0} Yorkers"


def test_what_is_to_stay_and_to_be_translated_stays() -> None:
    assert mask("Widget", ("Widget",), (("widget", "Dings"),)).phrases == (Phrase("Widget", Kind.KEEP),)


def test_a_character_of_the_user_s_own_is_never_taken_for_a_placeholder() -> None:
    masked = mask("a \ue005\ue000 b X", ("X",))
    assert masked.text == f"a {P0} b {P1}"
    assert Unmasker(masked).feed(f"{P1} c {P0}") == "X c \ue005\ue000"


def test_a_lost_phrase_is_missed_by_its_kind() -> None:
    masked = mask("A b", ("A",), (("b", "c"),))
    unmasker = Unmasker(masked)
    assert unmasker.feed(P0) == "A"
    assert unmasker.missing() == {Kind.GLOSSARY}
    assert not unmasker.intact
    unmasker.feed(P1)
    assert unmasker.missing() == frozenset()
    assert unmasker.intact


def test_a_doubled_phrase_is_missed_too() -> None:
    unmasker = Unmasker(mask("A", ("A",)))
    unmasker.feed(P0 + P0)
    assert unmasker.missing() == {Kind.KEEP}


def test_a_phrase_that_is_there_twice_may_come_back_in_any_order_and_under_either_number() -> None:
    masked = mask("A and A", ("A",))
    for answer in (P1 + P0, P0 + P0, P1 + P1):
        unmasker = Unmasker(masked)
        assert unmasker.feed(answer) == "AA"
        assert unmasker.intact


def test_a_placeholder_that_was_made_up_is_left_out_and_known() -> None:
    unmasker = Unmasker(mask("A", ("A",)))
    assert unmasker.feed(f"{P0}{P1}!") == "A!"
    assert unmasker.missing() == frozenset()
    assert not unmasker.intact


@pytest.mark.parametrize(
    ("text", "translatable"), [("?!…", False), ("  ", False), ("«X» ", False), ("😀", False), ("7", True), ("é", True)]
)  # fmt: skip
def test_only_letters_and_digits_are_translated(text: str, translatable: bool) -> None:
    assert mask(text, ("X",)).translatable is translatable


def test_a_sentence_of_terms_alone_is_known_without_an_engine() -> None:
    masked = mask("Widget!", (), (("widget", "Dings"),))
    assert not masked.translatable
    assert masked.restored() == "Dings!"


def test_more_phrases_than_there_are_characters_for_are_refused() -> None:
    assert len(mask("a " * MOST, ("a",)).phrases) == MOST
    with pytest.raises(BadRequest) as refused:
        mask("a " * (MOST + 1), ("a",))
    assert refused.value.reason == "TEXT_TOO_LONG"


# Few letters, so that phrases overlap, and everything that is special here.
letters = st.sampled_from(list("abAB .-'_1é\u0301京都は\ue000\ue001\uf8ff\n"))
words = st.text(letters, max_size=4)
keeps = st.lists(words, max_size=4).map(tuple)
glossaries = st.lists(st.tuples(words, words), max_size=4).map(tuple)


@given(st.text(letters, max_size=30), keeps)
def test_whatever_stays_as_it_is_comes_back_as_it_was(text: str, keep: tuple[str, ...]) -> None:
    masked = mask(text, keep)
    unmasker = Unmasker(masked)
    assert unmasker.feed(masked.text) == text == masked.restored()
    assert unmasker.intact


@given(st.text(letters, max_size=30), keeps, glossaries)
def test_placeholders_are_numbered_in_their_order_and_nothing_else_is_one(
    text: str, keep: tuple[str, ...], glossary: tuple[tuple[str, str], ...]
) -> None:
    masked = mask(text, keep, glossary)
    numbers = [ord(found) - FIRST for found in re.findall("[\ue000-\uf8ff]", masked.text)]
    assert numbers == list(range(len(masked.phrases)))
    assert without_placeholders(masked.text) == re.sub("[\ue000-\uf8ff]", "", masked.text)


@given(st.text(letters, max_size=30), keeps, glossaries, st.data())
def test_an_answer_reads_the_same_however_it_is_cut(
    text: str, keep: tuple[str, ...], glossary: tuple[tuple[str, str], ...], data: st.DataObject
) -> None:
    masked = mask(text, keep, glossary)
    answer = masked.text + data.draw(st.text(letters, max_size=10))
    cut = data.draw(st.integers(0, len(answer)))
    whole, pieces = Unmasker(masked), Unmasker(masked)
    assert whole.feed(answer) == pieces.feed(answer[:cut]) + pieces.feed(answer[cut:])
    assert whole.missing() == pieces.missing()
    assert whole.intact == pieces.intact


@given(st.text(letters, max_size=30), st.text("abAB.京", min_size=1, max_size=4))
def test_a_phrase_between_spaces_is_always_found(text: str, phrase: str) -> None:
    masked = mask(f"{text} {phrase} {text}", (phrase,))
    assert Phrase(phrase, Kind.KEEP) in masked.phrases
