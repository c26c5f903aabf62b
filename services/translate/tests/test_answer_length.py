"""How long an answer may be."""

from __future__ import annotations

from trunkline_translate.answer_length import likely_tokens, most_tokens
from trunkline_translate.engine import Ask
from trunkline_translate.language import Direction

EN_ZH = Direction("en", "zh")


def test_an_answer_is_as_long_as_is_asked_for() -> None:
    ask = Ask("Good morning to all of you.", EN_ZH, max_tokens=7)
    assert most_tokens(ask) == likely_tokens(ask) == 7


def test_an_answer_may_be_longer_than_any_translation_but_not_endless() -> None:
    ask = Ask("word " * 100, EN_ZH)
    assert likely_tokens(ask) < len(ask.text) < most_tokens(ask) < 4 * len(ask.text)


def test_half_of_a_model_is_left_to_the_prompt() -> None:
    ask = Ask("word " * 100, EN_ZH)
    assert most_tokens(ask, 512) == 256
    assert most_tokens(Ask("Hi.", EN_ZH), 100_000) == most_tokens(Ask("Hi.", EN_ZH))
    assert most_tokens(ask, 1) == 1
