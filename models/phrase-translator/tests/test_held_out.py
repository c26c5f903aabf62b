import pytest

from trunkline_phrase_translator.held_out import held_out
from trunkline_phrases import templates


def test_the_same_seed_gives_the_same_sentences_in_every_pair():
    first, second = held_out("en", "de", 50, seed=3), held_out("en", "fr", 50, seed=3)
    assert first == held_out("en", "de", 50, seed=3)
    assert [one.source for one in first] == [other.source for other in second]
    assert [one.target for one in first] != [other.target for other in second]


def test_none_of_their_templates_was_trained_on():
    trained = {template.id for template in templates("train")}
    sentences = held_out("es", "fr", 300)
    assert not trained & {sentence.template for sentence in sentences}
    assert len({sentence.template for sentence in sentences}) > 40


def test_answers_carry_what_they_answer():
    sentences = held_out("fr", "de", 400)
    answers = [sentence for sentence in sentences if sentence.before is not None]
    assert answers
    assert {sentence.family for sentence in answers} == {"dialogue"}
    assert all(sentence.before is None for sentence in held_out("fr", "de", 200, answers=False))


def test_a_formality_is_named_where_it_makes_a_difference():
    sentences = held_out("en", "de", 400)
    informal = [sentence for sentence in sentences if sentence.formality == "informal"]
    assert informal
    assert not any(" Sie " in sentence.target or "Ihnen" in sentence.target for sentence in informal)
    assert any(sentence.formality is None for sentence in sentences)


@pytest.mark.parametrize("source", ["es", "de", "fr"])
def test_unasked_sentences_name_none_and_follow_the_source(source):
    for sentence in held_out(source, "en", 200, asked=False):
        assert sentence.formality is None
        assert sentence.direction.formality is None
