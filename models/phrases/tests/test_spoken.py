import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_phrases import LANGUAGES, spoken


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("en", "It is twenty-five to eight.", "it is twenty five to eight"),
        ("en", "Maria\u2019s train, please!", "maria's train please"),
        ("en", "It is one o'clock.", "it is one o'clock"),
        ("es", "¿Dónde está la estación?", "dónde está la estación"),
        ("es", "¡Buenos días, Nina!", "buenos días nina"),
        ("de", "Öffnen Sie die Tür in der Straße.", "öffnen sie die tür in der straße"),
        ("fr", "Où est l\u2019hôtel, s'il vous plaît ?", "où est l' hôtel s' il vous plaît"),
        ("fr", "Aujourd'hui, c'est le vingt-deux août.", "aujourd'hui c' est le vingt deux août"),
        ("fr", "Est-ce qu'elle a perdu l'œuf ?", "est ce qu' elle a perdu l' œuf"),
        ("en", "'Quoted', she said: “yes” …", "quoted she said yes"),
        ("fr", "", ""),
    ],
)
def test_the_spoken_form_has_neither_capitals_nor_punctuation(language, written, said):
    assert spoken(written, language) == said


def test_decomposed_accents_are_composed():
    assert spoken("Cafe\u0301", "fr") == "caf\u00e9"


@given(st.text(), st.sampled_from(LANGUAGES))
def test_a_spoken_form_is_its_own(text, language):
    once = spoken(text, language)
    assert spoken(once, language) == once
    assert "  " not in once
    assert once == once.strip()
