"""What training reads beside the grammar's own sentences, none of it a held-out one."""

from random import Random

import pytest

from trunkline_phrase_translator.chunks import alike, chunks
from trunkline_phrase_translator.conversations import DIRECTIONS
from trunkline_phrase_translator.crossing import Both, cross, held_out_like
from trunkline_phrase_translator.exchange import exchange
from trunkline_phrase_translator.turn import Direction, Turn
from trunkline_phrase_translator.turns import Filled, draw_filled
from trunkline_phrases import LANGUAGES, templates
from trunkline_phrases.fillers import Style
from trunkline_phrases.lexicon import lexicon


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_held_out_sentence_is_recognised(part, language):
    rng = Random(f"{part} {language}")
    for _ in range(500):
        filled = draw_filled(rng, part)
        answers = filled.template.before is not None
        for formality in ("formal", "informal"):
            text = filled.texts(language, formality)[-1]
            assert held_out_like(language, answers).fullmatch(text), text


def test_crossed_sentences_are_none_that_was_held_out():
    rng = Random(1)
    made = 0
    for _ in range(1500):
        filled = draw_filled(rng, "train")
        crossed = cross(rng, filled.template, filled.fillers)
        if crossed is None:
            continue
        made += 1
        answers = filled.template.before is not None
        for language in LANGUAGES:
            for formality in ("formal", "informal"):
                text = Filled(filled.template, crossed).texts(language, formality)[-1]
                assert not held_out_like(language, answers).fullmatch(text), text
    assert made > 300


def test_crossing_says_the_same_thing_in_every_language():
    template = next(template for template in templates("train") if template.id == "directions.village")
    rng = Random(3)
    for _ in range(50):
        fillers = cross(rng, template, draw_filled_like(template, rng).fillers)
        if fillers is None:
            continue
        for filler in fillers.values():
            assert template.say(Style("en"), fillers) and filler.key
            assert "{" not in template.say(Style("de"), fillers)


def draw_filled_like(template, rng):
    from trunkline_phrases.lexicon import fill

    return Filled(template, fill(template.slots, rng))


def test_two_fillers_share_a_slot_in_the_form_it_asks_for():
    nouns = {noun.key: noun for noun in lexicon()["thing"].members}
    both = Both(nouns["suitcase"], nouns["umbrella"], {"de": "und", "en": "and", "es": "y", "fr": "et"})
    assert both.say(Style("de"), ("the", "acc")) == "den Koffer und den Regenschirm"
    assert both.say(Style("fr"), ("my",)) == "ma valise et mon parapluie"


def test_groups_of_words_that_always_stand_together_translate_each_other():
    found = {chunk.source: chunk.target for chunk in chunks("en", "de", "informal")}
    assert found["can you"] == "kannst du"
    assert found["where is"] == "wo ist"
    assert found["very"] == "sehr"


def test_chunks_come_from_training_templates_only(monkeypatch):
    asked = []
    from trunkline_phrase_translator import chunks as module

    monkeypatch.setattr(module, "templates", lambda part=None: asked.append(part) or templates(part))
    module.chunks.__wrapped__("es", "fr", "formal")
    module._neighbours.__wrapped__("es", "formal")
    assert set(asked) == {"train"}


@pytest.mark.parametrize("direction", DIRECTIONS, ids=str)
def test_what_is_exchanged_is_alike_in_both_languages(direction):
    classes = alike(direction.source, direction.target, "formal")
    assert len(classes) > 15
    for chunk, others in classes.items():
        assert chunk not in others
        assert all(other in classes for other in others)


def test_an_exchange_puts_one_group_for_another_and_keeps_the_capital():
    rng = Random(0)
    turn = Turn("Where does the train leave?", "Wo fährt der Zug ab?")
    made = {exchange(rng, turn, Direction("en", "de", "formal"), answers=False) for _ in range(60)}
    assert Turn("Today does the train leave?", "Heute fährt der Zug ab?") in made
    assert all(one is None or (one.source[0].isupper() and one.target[0].isupper()) for one in made)


def test_exchanged_sentences_are_none_that_was_held_out():
    rng = Random(6)
    made = 0
    for place in range(3000):
        direction = DIRECTIONS[place % len(DIRECTIONS)]
        asked = Direction(direction.source, direction.target, "informal")
        filled = draw_filled(rng, "train")
        answers = filled.template.before is not None
        turn = exchange(rng, filled.turns(asked, "informal")[-1], asked, answers=answers)
        if turn is not None:
            made += 1
            assert not held_out_like(asked.source, answers).fullmatch(turn.source)
            assert not held_out_like(asked.target, answers).fullmatch(turn.target)
    assert made > 200
