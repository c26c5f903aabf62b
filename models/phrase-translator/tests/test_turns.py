from random import Random

import pytest

from trunkline_phrase_translator.turn import Direction, Turn
from trunkline_phrase_translator.turns import Filled, draw, draw_filled
from trunkline_phrases import realise, spoken, templates
from trunkline_phrases.lexicon import fill


def filled(identity, seed=3):
    template = next(template for template in templates() if template.id == identity)
    return Filled(template, fill(template.slots, Random(seed)))


def test_the_target_addresses_people_as_was_asked_whatever_the_source_does():
    sentence = filled("people.you-come-from-q")
    for addressed in ("formal", "informal"):
        (asked,) = sentence.turns(Direction("es", "de", "informal"), addressed)
        assert asked.source == realise(sentence.template, sentence.fillers, addressed).texts["es"]
        assert asked.target.startswith("Kommst du ")


def test_asked_for_nothing_the_target_follows_what_the_source_shows():
    sentence = filled("people.you-come-from-q")
    assert sentence.turns(Direction("es", "fr"), "informal")[0].target.startswith("Est-ce que tu ")
    assert sentence.turns(Direction("es", "fr"), "formal")[0].target.startswith("Est-ce que vous ")


def test_asked_for_nothing_where_the_source_shows_nothing_the_target_is_formal():
    sentence = filled("people.you-come-from-q")
    for addressed in ("formal", "informal"):
        (turn,) = sentence.turns(Direction("en", "de"), addressed)
        assert turn.target.startswith("Kommen Sie ")


def test_a_sentence_that_answers_comes_after_what_it_answers():
    sentence = filled("dialogue.turn-on")
    before, turn = sentence.turns(Direction("en", "fr", "formal"), "formal")
    assert before.source.endswith(" is off.")
    assert turn.source == "Please turn it on."
    assert turn.target.startswith("Allumez-")


def test_the_same_state_draws_the_same_turns():
    direction = Direction("de", "es", "formal")
    first, second = Random(11), Random(11)
    assert [draw(first, direction) for _ in range(200)] == [draw(second, direction) for _ in range(200)]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_held_out_parts_are_drawn_from_their_own_templates(part):
    rng = Random(5)
    known = {template.id for template in templates(part)}
    assert all(draw_filled(rng, part).template.id in known for _ in range(300))


def test_some_sources_are_in_their_spoken_form_and_no_target_is():
    rng = Random(2)
    turns = [turn for _ in range(3000) for turn in draw(rng, Direction("en", "de"), "validation")]
    heard = [turn for turn in turns if turn.source == spoken(turn.source, "en") and len(turn.source) > 30]
    assert 0.04 < len(heard) / len(turns) < 0.2
    # The others are long numbers, alone.
    assert sum(turn.target[-1] in ".?!" for turn in heard) > 0.8 * len(heard)


def test_a_placeholder_stands_in_both_texts_or_in_neither():
    rng = Random(4)
    turns = [turn for _ in range(2000) for turn in draw(rng, Direction("fr", "es"))]
    marked = [turn for turn in turns if "<|" in turn.source]
    assert 0.03 < len(marked) / len(turns) < 0.3
    for turn in turns:
        for place in range(10):
            mark = f"<|{place}|>"
            assert turn.source.count(mark) == turn.target.count(mark) <= 1, turn


def test_no_turn_is_empty():
    rng = Random(9)
    for _ in range(3000):
        for turn in draw(rng, Direction("es", "fr", "informal")):
            assert turn.source.strip() == turn.source != ""
            assert turn.target.strip() == turn.target != ""
            assert isinstance(turn, Turn)
