"""Conversations: turns of one direction in the prompt format, and what is learned of them."""

from collections.abc import Sequence
from random import Random
from typing import Final

from trunkline_phrase_translator.turn import Direction, Turn
from trunkline_phrase_translator.turns import draw
from trunkline_phrases import FORMALITIES, LANGUAGES
from trunkline_phrases.languages import Part
from trunkline_phrases.lexicon import pick

CONTEXT_PAIRS: Final = 3
TURNS: Final = CONTEXT_PAIRS + 1
"""The text to translate, after up to three pairs of context."""
DIRECTIONS: Final = tuple(
    Direction(source, target) for source in LANGUAGES for target in LANGUAGES if source != target
)
_ASKED: Final = 0.7
"""How often a formality is asked for."""

CHAT_TEMPLATE: Final = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""Jinja, as it lies in the tokenizer's files."""


def codes(direction: Direction) -> str:
    """The system message: source, target and, if one was asked for, the formality."""
    return " ".join(filter(None, (direction.source, direction.target, direction.formality)))


def messages(direction: Direction, context: Sequence[Turn], text: str) -> list[dict[str, str]]:
    """The chat whose answer is the translation of a text, after what was translated before."""
    chat = [{"role": "system", "content": codes(direction)}]
    for turn in context:
        chat.append({"role": "user", "content": turn.source})
        chat.append({"role": "assistant", "content": turn.target})
    return [*chat, {"role": "user", "content": text}]


def render(direction: Direction, context: Sequence[Turn], text: str) -> str:
    """What CHAT_TEMPLATE makes of `messages`, with the start of the answer."""
    before = "".join(f"<|user|>{turn.source}<|assistant|>{turn.target}<|end|>" for turn in context)
    return f"<|system|>{codes(direction)}{before}<|user|>{text}<|assistant|>"


def draw_conversation(rng: Random, part: Part = "train") -> tuple[Direction, list[Turn]]:
    """One to four turns of one direction; each but the first has those before it as its context."""
    direction = pick(rng, DIRECTIONS)
    if rng.random() < _ASKED:
        direction = Direction(direction.source, direction.target, pick(rng, FORMALITIES))
    wanted = 1 + int(rng.random() * TURNS)
    turns: list[Turn] = []
    while len(turns) < wanted:
        more = draw(rng, direction, part)
        if len(turns) + len(more) > TURNS:
            break
        turns.extend(more)
    return direction, turns
