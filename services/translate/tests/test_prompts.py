"""What language models are asked, and how their answers are read."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_translate.engine import Ask, EngineFailed, Exchange, Formality
from trunkline_translate.language import Direction
from trunkline_translate.prompts import Prompt, Style

SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", *(f"<|{n}|>" for n in range(10)))
EN_ES = Direction("en", "es")
ZERO, ONE = "\ue000", "\ue001"


def codes() -> Prompt:
    return Prompt(Style.CODES, SPECIAL)


def test_codes_name_the_languages_and_the_formality() -> None:
    ask = Ask("See you.", EN_ES, Formality.INFORMAL)
    assert codes().messages(ask) == [
        {"role": "system", "content": "en es informal"},
        {"role": "user", "content": "See you."},
    ]


def test_without_formality_codes_say_none() -> None:
    assert codes().messages(Ask("See you.", EN_ES))[0]["content"] == "en es"


def test_context_comes_before_as_turns_and_the_oldest_goes_first() -> None:
    context = tuple(Exchange(f"s{n}", f"t{n}") for n in range(5))
    turns = codes().messages(Ask("now", EN_ES, context=context))[1:]
    assert [turn["content"] for turn in turns] == ["s2", "t2", "s3", "t3", "s4", "t4", "now"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 3 + ["user"]


def test_a_model_without_context_gets_none() -> None:
    prompt = Prompt(Style.CODES, SPECIAL, context_pairs=0)
    assert len(prompt.messages(Ask("now", EN_ES, context=(Exchange("a", "b"),)))) == 2


def test_an_instructed_model_is_told_languages_formality_and_what_to_keep() -> None:
    ask = Ask(f"{ZERO} is here.", Direction("de", "ja"), Formality.FORMAL)
    system, user = Prompt(Style.INSTRUCT).messages(ask)
    assert "from German into Japanese" in system["content"]
    assert "formally" in system["content"]
    assert "⟦0⟧" in system["content"]
    assert user["content"] == "⟦0⟧ is here."


def test_a_language_without_a_name_is_called_by_its_code() -> None:
    assert "'tlh'" in Prompt(Style.INSTRUCT).messages(Ask("x", Direction("en", "tlh")))[0]["content"]


def test_a_placeholder_is_spelled_as_the_model_knows_it() -> None:
    assert codes().messages(Ask(f"{ONE} and {ZERO}", EN_ES))[-1]["content"] == "<|1|> and <|0|>"


def test_more_placeholders_than_the_model_knows_are_not_its_engines_fault() -> None:
    with pytest.raises(EngineFailed) as failure:
        codes().messages(Ask(chr(0xE00A), EN_ES))
    assert not failure.value.counts
    assert Prompt(Style.INSTRUCT).messages(Ask(chr(0xE00A), EN_ES))[-1]["content"] == "⟦10⟧"


def test_placeholders_that_a_user_wrote_out_are_taken_apart() -> None:
    assert codes().messages(Ask(f"<|0|> {ZERO}", EN_ES))[-1]["content"] == "< |0|> <|0|>"
    assert Prompt(Style.INSTRUCT).messages(Ask(f"⟦0⟧ {ZERO}", EN_ES))[-1]["content"] == "⟦ 0⟧ ⟦0⟧"


def test_control_tokens_of_users_are_taken_apart_in_context_too() -> None:
    ask = Ask("hi<|end|>", EN_ES, context=(Exchange("<|user|>", "<|ASSISTANT|>"),))
    assert [turn["content"] for turn in codes().messages(ask)[1:]] == [
        "< |user|>",
        "< |ASSISTANT|>",
        "hi< |end|>",
    ]


def test_where_the_tokens_are_not_known_those_of_well_known_models_count() -> None:
    text = "</s> [INST] <start_of_turn> <|im_start|> <b>"
    said = Prompt(Style.INSTRUCT).messages(Ask(text, EN_ES))[-1]["content"]
    assert said == "< /s> [ INST] < start_of_turn> < |im_start|> <b>"
    known = Prompt(Style.INSTRUCT, ["<|im_start|>"]).messages(Ask("<s> <|im_start|>", EN_ES))[-1]["content"]
    assert known == "<s> < |im_start|>"


@pytest.mark.parametrize("token", ["x", " ", "  ", "a "])
def test_a_token_that_no_space_takes_apart_is_left(token: str) -> None:
    prompt = Prompt(Style.INSTRUCT, [token])
    assert prompt.messages(Ask(f"a {token}b", EN_ES))[-1]["content"] == f"a {token}b"


@given(st.lists(st.sampled_from([*SPECIAL, "<", "|", ">", "<|", "|>", "end", "0", " ", "a"]), max_size=12))
def test_no_control_token_gets_through(pieces: list[str]) -> None:
    said = codes().messages(Ask("".join(pieces), EN_ES))[-1]["content"]
    assert not [token for token in SPECIAL if token in said]


def read(prompt: Prompt, pieces: list[str]) -> str:
    answer = prompt.answer()
    return "".join(map(answer.feed, pieces)) + answer.end()


def test_an_answers_placeholders_become_their_characters() -> None:
    assert read(codes(), ["a <|1|> b<|0|>"]) == f"a {ONE} b{ZERO}"
    assert read(Prompt(Style.INSTRUCT), ["a ⟦12⟧."]) == f"a {chr(0xE00C)}."


def test_a_placeholder_may_come_in_pieces_and_is_held_back_meanwhile() -> None:
    answer = codes().answer()
    assert [answer.feed(piece) for piece in ("a <", "|", "1|", "> b")] == ["a ", "", "", f"{ONE} b"]


def test_what_only_began_like_a_placeholder_is_said() -> None:
    answer = Prompt(Style.INSTRUCT).answer()
    assert [answer.feed(piece) for piece in ("⟦", "7", " x", "⟦1")] == ["", "", "⟦7 x", ""]
    assert answer.end() == "⟦1"


def test_an_answer_ends_at_a_control_token() -> None:
    answer = codes().answer()
    assert answer.feed("a<|e") == "a"
    assert answer.feed("nd|>b") == ""
    assert answer.ended
    assert answer.feed("c") == ""
    assert answer.end() == ""


@given(st.data(), st.text("<|>01⟦⟧end", max_size=40), st.sampled_from(Style))
def test_how_an_answer_is_cut_changes_nothing(data: st.DataObject, text: str, style: Style) -> None:
    prompt = Prompt(style, SPECIAL if style is Style.CODES else ("<|end|>",))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    bounds = [0, *cuts, len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(bounds)]
    assert read(prompt, pieces) == read(prompt, [text])


@given(st.lists(st.sampled_from(["a", " ", "é", "日", *map(chr, range(0xE000, 0xE00A))]), max_size=20))
def test_a_model_that_repeats_gives_the_placeholders_back(characters: list[str]) -> None:
    text = "".join(characters)
    for prompt in (codes(), Prompt(Style.INSTRUCT)):
        said = prompt.messages(Ask(text, EN_ES))[-1]["content"]
        assert read(prompt, list(said)) == text
