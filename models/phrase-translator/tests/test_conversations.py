from random import Random

from jinja2.sandbox import ImmutableSandboxedEnvironment

from trunkline_phrase_translator.conversations import (
    CHAT_TEMPLATE,
    CONTEXT_PAIRS,
    DIRECTIONS,
    codes,
    draw_conversation,
    messages,
    render,
)
from trunkline_phrase_translator.turn import Direction, Turn


def test_every_pair_of_two_languages_is_a_direction():
    assert len(DIRECTIONS) == len(set(DIRECTIONS)) == 12


def test_the_system_message_is_codes():
    assert codes(Direction("en", "es")) == "en es"
    assert codes(Direction("fr", "de", "informal")) == "fr de informal"


def test_a_prompt_is_what_the_chat_template_makes_of_its_messages():
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(CHAT_TEMPLATE)
    rng = Random(8)
    for _ in range(300):
        direction, turns = draw_conversation(rng)
        *context, turn = turns or [Turn("Hola", "Hello")]
        chat = messages(direction, context, turn.source)
        rendered = template.render(messages=chat, add_generation_prompt=True)
        assert rendered == render(direction, context, turn.source)
        whole = [*chat, {"role": "assistant", "content": turn.target}]
        assert (
            template.render(messages=whole, add_generation_prompt=False) == f"{rendered}{turn.target}<|end|>"
        )


def test_a_conversation_holds_a_text_and_its_context_at_most():
    rng = Random(3)
    lengths = [len(draw_conversation(rng)[1]) for _ in range(2000)]
    assert max(lengths) == CONTEXT_PAIRS + 1
    assert min(lengths) <= 1


def test_all_directions_and_formalities_are_trained():
    rng = Random(5)
    drawn = {draw_conversation(rng)[0] for _ in range(2000)}
    assert drawn == {
        Direction(direction.source, direction.target, formality)
        for direction in DIRECTIONS
        for formality in (None, "formal", "informal")
    }
