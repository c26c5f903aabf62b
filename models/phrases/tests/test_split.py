from collections import Counter
from random import Random

import pytest

from trunkline_phrases import LANGUAGES, PARTS, families, sample, spoken, templates, vocabulary, words_of
from trunkline_phrases.split import held_out, part_of


def test_the_split_names_templates_that_exist():
    assert set(held_out()) <= {template.id for template in templates()}


def test_parts_are_disjoint_and_together_everything():
    parts = [{template.id for template in templates(part)} for part in PARTS]
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(templates())
    assert [len(part) for part in parts] == [339, 32, 68]


def test_a_template_that_is_added_is_for_training():
    assert part_of("hotel.a-template-of-tomorrow") == "train"


@pytest.mark.parametrize("family", families())
def test_every_family_is_trained_validated_and_tested(family):
    counts = Counter(template.part for template in templates() if template.family == family)
    assert counts["test"] >= 2
    assert counts["validation"] >= 1
    assert counts["train"] >= 2 * (counts["test"] + counts["validation"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_a_held_out_template_is_known_from_training(language):
    known = vocabulary(language, "train")
    unknown = {
        template.id: sorted(words_of(template, language) - known)
        for template in templates()
        if template.part != "train"
    }
    assert {identity: words for identity, words in unknown.items() if words} == {}


def test_no_sentence_is_in_two_parts():
    seen = {part: set() for part in PARTS}
    for part in PARTS:
        rng = Random(part)
        for _ in range(1500):
            sentence = sample(rng, part, ("en",))
            before = sentence.before["en"] if sentence.before else ""
            seen[part].add((spoken(before, "en"), spoken(sentence.texts["en"], "en")))
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]
