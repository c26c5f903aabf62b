from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_phrases import LANGUAGES, sample
from trunkline_whisper_micro.tokens import STEP_S, Tokens

LEARNED = Tokens.learn(["low lower lowest", "new newer newest"] * 3, 8.0, merges=12)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(text):
    assert LEARNED.decode(LEARNED.encode(text)) == text


def test_phrases_of_all_languages_come_back(tokens):
    rng = Random(1)
    for _ in range(200):
        for text in sample(rng, "test").texts.values():
            assert tokens.decode(tokens.encode(" " + text)) == " " + text


def test_frequent_pairs_become_tokens():
    assert LEARNED.merges[0] in {("e", "w"), ("l", "o"), ("o", "w"), ("w", "e")}
    assert len(LEARNED.encode(" lower")) < len(" lower")
    assert len(LEARNED.encode(" xyz")) == len(" xyz")


def test_the_same_texts_give_the_same_tokens_in_any_order():
    texts = ["a rose is a rose", "is it a rose", "it is"]
    assert Tokens.learn(texts, 8.0, 20) == Tokens.learn(texts[::-1], 8.0, 20)


def test_too_few_texts_give_fewer_merges():
    assert len(Tokens.learn(["ab"], 8.0, 50).merges) < 50


def test_ids_are_bytes_then_merges_then_special_then_stamps(tokens):
    ids = [*tokens.vocabulary.values(), *tokens.special.values()]
    assert ids == list(range(tokens.size))
    assert tokens.special["<|endoftext|>"] == 256 + len(tokens.merges)
    # A pipeline takes the token after <|notimestamps|> for the first time stamp.
    assert tokens.first_stamp == tokens.special["<|notimestamps|>"] + 1
    assert [tokens.language(language) for language in LANGUAGES] == [
        tokens.special["<|startoftranscript|>"] + 1 + place for place in range(len(LANGUAGES))
    ]


def test_stamps_cover_the_window_in_steps(tokens):
    assert tokens.special[f"<|{tokens.window_s:.2f}|>"] == tokens.size - 1
    assert tokens.stamp(0.02) == tokens.first_stamp + 1
    assert tokens.stamp(tokens.window_s) == tokens.size - 1


@given(st.floats(-1.0, 20.0))
def test_a_stamp_is_within_half_a_step_of_its_time(time_s):
    stamp = LEARNED.stamp(time_s) - LEARNED.first_stamp
    assert abs(stamp * STEP_S - min(max(time_s, 0.0), 8.0)) <= STEP_S / 2 + 1e-9


def test_special_tokens_say_nothing(tokens):
    ids = [tokens.stamp(1.0), *tokens.encode(" Hola."), tokens.special["<|endoftext|>"]]
    assert tokens.decode(ids) == " Hola."


def test_a_vocabulary_is_read_as_it_was_written(tokens):
    assert Tokens.from_json(tokens.to_json()) == tokens


@pytest.mark.parametrize("text", ["¿Dónde está?", "l'hôtel", "don't", "19 Euro", "Grüße,  bitte"])
def test_pieces_of_a_text_are_encoded_each_by_itself(text):
    ids = LEARNED.encode(text)
    assert LEARNED.decode(ids) == text
    assert LEARNED.encode(text + " " + text)[: len(ids)] == ids
