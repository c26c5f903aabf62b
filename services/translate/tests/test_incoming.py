"""Text that comes in pieces: which sentences it is, and which pieces they are from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_translate.incoming import Complete, Incoming, Pending
from trunkline_translate.sentences import Sentences

WORDS = [
    "Yes.",
    "No",
    "the cat,",
    "sat? ",
    "Well…",
    " 3.5",
    "好。",
    "你",
    "\n\n",
    " ",
    "Dr.",
    "“So.”",
    "e.g.",
    "!",
]


def incoming(pending: Pending | None = None) -> Incoming:
    return Incoming(Sentences, pending or Pending())


def outline(complete: list[Complete]) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.text, each.text_ids) for each in complete]


def test_a_sentence_names_the_pieces_that_it_is_from():
    text = incoming()
    assert text.add("He", "1", "en") == []
    assert text.add(" sat. The", "2", "en") == [Complete("He sat.", "en", ("1", "2"))]
    assert text.add(" cat ran. ", "3", "en") + text.add("", "", "en") + text.flush() == [
        Complete("The cat ran.", "en", ("2", "3"))
    ]


def test_white_space_belongs_to_the_sentence_behind_it_and_never_to_one_before_as_well():
    text = incoming()
    text.add("One. ", "1", "en")
    assert outline(text.add("\n\n", "2", "en") + text.add("Two", "3", "en")) == [("One.", ("1",))]
    assert outline(text.flush()) == [("Two", ("2", "3"))]


def test_pieces_without_an_id_are_not_named():
    text = incoming()
    text.add("One ", "", "en")
    text.add("two", "2", "en")
    text.add(" three", "", "en")
    assert outline(text.flush()) == [("One two three", ("2",))]


@pytest.mark.parametrize(
    ("before", "after", "together"),
    [
        ("good", "morning", "good morning"),
        ("good ", "morning", "good morning"),
        ("good", " morning", "good morning"),
        ("早上", "好", "早上好"),
        ("他说「", "好」", "他说「好」"),
        ("おは", "よう", "おはよう"),
        ("สวัส", "ดี", "สวัสดี"),
        ("안녕", "하세요", "안녕 하세요"),
        ("早上", "morning", "早上 morning"),
        ("good morning", ", my friend", "good morning, my friend"),
        ("good morning", "...", "good morning..."),
        ("one (two", ") three", "one (two) three"),
        ("we use", ".NET", "we use .NET"),
        ("we use", "...NET", "we use ...NET"),
        ("hola", "¿qué tal", "hola ¿qué tal"),
        ("he said", '"yes', 'he said "yes'),
    ],
)
def test_segments_are_joined_by_a_space_where_the_script_has_one(before, after, together):
    text = incoming()
    text.add(before, "1", "", joined=True)
    text.add(after, "2", "", joined=True)
    assert outline(text.flush()) == [(together, ("1", "2"))]


def test_pieces_are_put_together_as_they_are():
    text = incoming()
    text.add("good", "1", "en")
    text.add("bye", "2", "en")
    assert outline(text.flush()) == [("goodbye", ("1", "2"))]


def test_another_language_begins_a_sentence():
    text = incoming()
    text.add("the cat", "1", "en", joined=True)
    assert text.add("el gato", "2", "es", joined=True) == [Complete("the cat", "en", ("1",))]
    assert text.flush() == [Complete("el gato", "es", ("2",))]


def test_white_space_alone_is_no_sentence_and_does_not_pile_up():
    text = incoming()
    for number in range(1000):
        assert text.add(" \n", str(number), "en") == []
    assert not text.waits and text.flush() == []
    for number in range(1000):
        text.add(" ", str(number), "en")
    assert len(text.pending.pieces) <= 64
    assert outline(text.add("Yes", "yes", "en") + text.flush())[0][0] == "Yes"


def test_ends_that_are_seen_only_where_the_text_goes_on_are_not_lost():
    """As when the replica that goes on is of a version that knows better where sentences end."""
    text = incoming(Pending("One. Two. Thr", "en", (("1", 6), ("2", 7))))
    assert outline(text.add("ee", "3", "en")) == [("One.", ("1",)), ("Two.", ("1", "2"))]
    assert outline(text.flush()) == [("Three", ("2", "3"))]


def test_ends_that_are_seen_only_where_the_text_goes_on_wait_until_they_are_given():
    """It goes on once more before anything was said."""
    before = Pending("One. Two. ", "en", (("1", 6), ("2", 4)))
    text = incoming(before)
    assert text.waits and text.pending == before
    assert outline(incoming(text.pending).flush()) == [("One.", ("1",)), ("Two.", ("1", "2"))]
    assert text.flush() and not text.waits and text.pending.text == ""


pieces = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map("".join), max_size=12)


@given(pieces, st.lists(st.integers(0, 40), max_size=6))
def test_the_sentences_do_not_depend_on_where_the_text_went_on(texts, breaks):
    whole, broken = incoming(), incoming()
    expected, found = [], []
    for number, piece in enumerate(texts):
        expected += whole.add(piece, str(number), "en")
        if number in breaks:
            broken = incoming(broken.pending)
        found += broken.add(piece, str(number), "en")
        assert broken.pending == whole.pending
    assert found + broken.flush() == expected + whole.flush()


@given(pieces)
def test_every_character_is_in_the_sentences_and_every_piece_is_named_by_those_it_is_in(texts):
    text = incoming()
    complete: list[Complete] = []
    for number, piece in enumerate(texts):
        complete += text.add(piece, str(number), "en")
    complete += text.flush()
    assert "".join("".join(each.text.split()) for each in complete) == "".join("".join(texts).split())
    owners = [str(number) for number, piece in enumerate(texts) for _ in "".join(piece.split())]
    for each in complete:
        length = len("".join(each.text.split()))
        mine, owners = owners[:length], owners[length:]
        assert set(mine) <= set(each.text_ids)
        blank = {str(number) for number, piece in enumerate(texts) if not piece.strip()}
        assert set(each.text_ids) <= set(mine) | blank


def test_what_waits_is_a_value():
    text = incoming()
    text.add("One t", "1", "en")
    assert text.pending == Pending("One t", "en", (("1", 5),))
    assert replace(text.pending, text="") != text.pending
