"""Sentences of texts that are there and of texts that arrive."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trunkline_translate.sentences import LONGEST, Sentences, split

LANGUAGES = ("", "en", "es", "de", "fr", "zh", "ja", "xx")
FRAGMENTS = (
    *" \n.!?…,;:\"'“”„‚‘’«»()[]¿¡—-0123456789abIJZzéß。！？．「」『』（），、我说とでん\u3000\u00a0😀\ue000",
    *[
        "……",
        "Dr",
        "no",
        "isn't",
        "U.S",
        "p.m",
        "etc",
        "Mai",
        "The",
        "said",
        "John",
        "いう",
        "ても",
        "言った",
        "だから",
        "\n\n",
        "\u2029",
        "\r\n",
        "é",
        "[1]",
    ],
    "z. B",
    "am 3",
    " " * 19,
    "\u200b",
)
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join)


def feed(text: str, sizes: list[int], language: str, longest: int) -> list[str]:
    sentences = Sentences(language, longest)
    found, start = [], 0
    for size in sizes:
        found += sentences.feed(text[start : start + size])
        start += size
    return found + sentences.feed(text[start:]) + sentences.flush()


@given(TEXTS, st.lists(st.integers(0, 9)), st.sampled_from(LANGUAGES), st.sampled_from((3, 20, LONGEST)))
@example("“We won!” John said. Yes.", [1] * 30, "en", LONGEST)
@example("« Non ! » Oui", [1] * 30, "fr", LONGEST)
@example("What?\u2029😀", [], "", LONGEST)
@example("好。 😀好", [1] * 9, "zh", LONGEST)
@settings(max_examples=300, deadline=None)
def test_how_a_text_is_cut_into_pieces_makes_no_difference(
    text: str, sizes: list[int], language: str, longest: int
):
    whole = [text[span.start : span.end] for span in split(text, language, longest)]
    assert feed(text, sizes, language, longest) == whole


@given(TEXTS, st.integers(0, 60), st.sampled_from(LANGUAGES), st.sampled_from((5, LONGEST)))
@settings(max_examples=300, deadline=None)
def test_another_one_that_is_fed_what_waits_goes_on_the_same(
    text: str, cut: int, language: str, longest: int
):
    first, second, undisturbed = (Sentences(language, longest) for _ in range(3))
    begun = first.feed(text[:cut])
    assert second.feed(first.pending) == []
    whole = undisturbed.feed(text[:cut]) + undisturbed.feed(text[cut:]) + undisturbed.flush()
    assert begun + second.feed(text[cut:]) + second.flush() == whole


@given(TEXTS, st.sampled_from(LANGUAGES), st.sampled_from((1, 7, LONGEST)))
@settings(max_examples=300, deadline=None)
def test_between_sentences_is_white_space_only_and_none_is_empty_or_too_long(
    text: str, language: str, longest: int
):
    end = 0
    for span in split(text, language, longest):
        assert not text[end : span.start].strip()
        sentence = text[span.start : span.end]
        assert sentence == sentence.strip() != ""
        assert len(sentence) <= longest
        end = span.end
    assert not text[end:].strip()


def test_a_full_stop_at_the_end_of_a_piece_is_undecided_until_something_follows():
    sentences = Sentences("en")
    assert sentences.feed("It costs 3.") == []
    assert sentences.feed("50 dollars.") == []
    assert sentences.pending == "It costs 3.50 dollars."
    assert sentences.feed(" ") == []
    assert sentences.feed("Too much.") == ["It costs 3.50 dollars."]
    assert sentences.flush() == ["Too much."]
    assert sentences.pending == ""


def test_chinese_needs_no_space_but_the_next_character_for_it_may_be_a_quote():
    sentences = Sentences("zh")
    assert sentences.feed("下雨了。") == []
    assert sentences.feed("我") == ["下雨了。"]
    assert sentences.feed("们在家。”") == []
    assert sentences.pending == "我们在家。”"


def test_an_empty_line_ends_a_sentence_at_once():
    assert Sentences("en").feed("A title\n\n") == ["A title"]


def test_a_flush_makes_a_sentence_of_what_waits_and_what_follows_is_another():
    sentences = Sentences("en")
    sentences.feed("I met Dr.")
    assert sentences.flush() == ["I met Dr."]
    assert sentences.feed("Smith came. Then") == ["Smith came."]
    assert sentences.flush() == ["Then"]
    assert sentences.flush() == []


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("one two three; four, five six seven", "one two three;"),
        ("one two three, four five six seven", "one two three,"),
        ("one two three and four five six", "one two three"),
        ("one two three four five six seven", "one two three four"),
        ("一二三四五六七八九，十一二三四五六七八九十", "一二三四五六七八九，"),
        ("「二三四五六七八九十一二三四五六七八九十」一", "「二三四五六七八九十一二三四五六七八九"),
        ("aaaaaaaaaaaaaaaaaaae\u0301bbbbbbbbbbbbbb", "a" * 19),
        ("1,000,000,000,000,000,000,000", "1,000,000,000,000,00"),
    ],
)
def test_a_sentence_that_is_too_long_is_cut_where_it_does_least_harm(text: str, first: str):
    sentences = Sentences("en", longest=20)
    assert sentences.feed(text)[0] == first


def test_a_sentence_that_just_fits_is_not_cut_and_waits():
    sentences = Sentences("en", longest=21)
    assert sentences.feed("It has 20 letters...") == []
    assert sentences.feed("   ") == []
    assert sentences.feed("Next") == ["It has 20 letters..."]


def test_text_without_an_end_does_not_pile_up():
    sentences = Sentences("en")
    for _ in range(50):
        sentences.feed("!" * 100 + " " * 100)
        assert len(sentences.pending) <= LONGEST + 200


def test_white_space_behind_words_does_not_pile_up_either():
    sentences = Sentences("en", longest=20)
    found = sentences.feed("one; two")
    for _ in range(50):
        found += sentences.feed(" " * 7)
        assert len(sentences.pending) <= 40
    assert found + sentences.feed("three") + sentences.flush() == ["one; two", "three"]


GRAPHEMES = (
    "\U0001f469\u200d\U0001f467",  # woman and girl, joined
    "\U0001f44d\U0001f3fd",  # a thumb of some colour
    "\U0001f1e9\U0001f1ea",  # two letters that are a flag
    "\u0915\u093f",  # ka and a vowel sign
    "\u0e01\u0e31",  # ko kai and a vowel above it
    "e\u0301\u0323",
    "\u1112\u1161\u11ab",  # a syllable of three letters
)


@given(st.integers(0, 21), st.sampled_from(GRAPHEMES), st.integers(1, 5))
def test_what_is_one_character_to_a_reader_is_not_cut(before: int, grapheme: str, times: int):
    text = "a" * before + grapheme * times + "b" * 30
    whole = text.replace(grapheme, "\ue000")
    found = split(text, "", 20)
    cut = [text[span.start : span.end] for span in found]
    assert "".join(each.replace(grapheme, "\ue000") for each in cut) == whole


def test_white_space_alone_is_no_sentence():
    assert split(" \n\t\u3000 ") == []
    sentences = Sentences()
    assert sentences.feed("  \n\n ") == []
    assert sentences.flush() == []
    assert sentences.pending == ""


def test_emoji_stay_with_the_sentence_before():
    assert Sentences("en").feed("Great! 😀 See you. 👍🏽 Bye") == ["Great! 😀", "See you. 👍🏽"]


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u2060", "\u200e", "\u200f"])
def test_what_nobody_sees_does_not_hide_an_end(mark: str):
    text = f"It rains.{mark} We go.{mark}"
    assert [text[span.start : span.end] for span in split(text, "en")] == [
        f"It rains.{mark}",
        f"We go.{mark}",
    ]
    assert len(split(f"Look at example.{mark}com now", "en")) == 1


def test_a_wrong_language_does_no_harm_to_what_all_have_in_common():
    assert [span.end for span in split("Es regnet. Wir gehen.", "ja")] == [10, 21]
