import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_phrases import LANGUAGES, families, realise, templates
from trunkline_phrases.fillers import Style
from trunkline_phrases.languages import FORMALITIES
from trunkline_phrases.lexicon import Phrases, fill, lexicon
from trunkline_phrases.patterns import category_of

MISTAKES = {
    "en": [
        r"\ba [aeiou](?!niversity)",
        r"\ban [^aeiou]",
        r"\bone (?:minutes|hours|days|weeks|nights|people|euros)\b",
    ],
    "es": [
        r"\b(?:a|de) el\b",
        r"\by h?i(?!e)",
        r"\bel (?:la|el)\b",
        r"uno (?:euros|minutos|días|años|grados|kilos)",
    ],
    "de": [r"\b(?:in|an|von|zu) dem\b", r"\bzu der\b", r"\bdie (?:mein|ein)"],
    "fr": [
        # Before a vowel or a silent h these elide; huit, onze and an aspirated h are none.
        r"\b(?:le|la|de|je|ne|que|me|te|se|ce|du|au|ma|ta) (?!huit|onze|hamburger|haut|Hambourg)[aeiouyhàâéèêîôûœÉÈ]",
        r"\b(?:à|de) les?\b",
        r"' ",
        r"\S\?",
    ],
}


@pytest.mark.parametrize("template", templates(), ids=lambda template: template.id)
def test_every_template_realises_in_every_language_both_ways(template):
    rng = Random(template.id)
    for formality in (*FORMALITIES, *FORMALITIES):
        sentence = realise(template, fill(template.slots, rng), formality)
        assert sentence.texts.keys() == set(LANGUAGES)


@given(st.sampled_from(templates()), st.sampled_from(FORMALITIES), st.randoms(use_true_random=False))
def test_a_sentence_is_written_as_people_write(template, formality, rng):
    sentence = realise(template, fill(template.slots, rng), formality)
    for texts in (sentence.texts, sentence.before or {}):
        for language, text in texts.items():
            assert not re.search(r"[{}|~+]|  |^\s|\s$", text), text
            assert re.match(r"¿?[A-ZÁÉÚÀÂÄÖÜÇŒ]", text), text
            assert text.endswith((".", "?")), text
            assert text.count("¿") == (text.count("?") if language == "es" else 0), text
            if language != "fr":
                assert not re.search(r"\s[.?,]", text), text
            for mistake in MISTAKES[language]:
                assert not re.search(mistake, text), (mistake, text)


@given(st.sampled_from(templates()), st.randoms(use_true_random=False))
def test_formality_is_marked_where_and_only_where_it_is_heard(template, rng):
    fillers = fill(template.slots, rng)
    formal, informal = (realise(template, fillers, formality) for formality in FORMALITIES)
    same = (formal.texts, formal.before) == (informal.texts, informal.before)
    assert (formal.formality, informal.formality) == ((None, None) if same else FORMALITIES)
    assert formal.texts["en"] == informal.texts["en"]


@given(st.sampled_from(templates()), st.randoms(use_true_random=False))
def test_two_slots_never_hold_the_same(template, rng):
    fillers = fill(template.slots, rng)
    for one in fillers:
        for other in fillers:
            if one != other and category_of(one) == category_of(other) != "digit":
                assert fillers[one].key != fillers[other].key or isinstance(
                    lexicon()[category_of(one)], Phrases
                )


def test_pairs_are_the_dialogues():
    assert {template.family for template in templates() if template.before} == {"dialogue"}
    assert all(template.before for template in templates() if template.family == "dialogue")


@pytest.mark.parametrize(
    "template",
    [template for template in templates() if template.before],
    ids=lambda template: template.id,
)
def test_the_second_of_a_pair_cannot_be_translated_without_the_first(template):
    rng = Random(template.id)
    referents = {
        slot
        for wording in template.before.values()
        for slot in wording.slots
        if not isinstance(lexicon()[category_of(slot)], Phrases)
    }

    def swaps():
        """What each language says of one referent and of another, everything else being the same."""
        for _ in range(5):
            fillers = fill(template.slots, rng)
            for slot in sorted(referents):
                for other in lexicon()[category_of(slot)].members:
                    yield [
                        (
                            template.say(Style(language), fillers),
                            template.say(Style(language), {**fillers, slot: other}),
                        )
                        for language in LANGUAGES
                    ]

    # One language says the same of both and another does not.
    assert any(len({one == other for one, other in said}) == 2 for said in swaps())


def test_names_of_templates_are_kept_apart():
    names = [template.id for template in templates()]
    assert len(names) == len(set(names))
    assert all(template.id.startswith(f"{template.family}.") for template in templates())
    assert len(families()) == 16


def test_every_category_of_the_lexicon_is_used():
    used = {category_of(slot) for template in templates() for slot in template.slots}
    inside = {
        category_of(slot)
        for category in lexicon().values()
        if isinstance(category, Phrases)
        for phrase in category.phrases
        for slot in phrase.slots
    }
    assert used | inside == set(lexicon())
