import pytest

from trunkline_phrases.adjectives import Adjective
from trunkline_phrases.fillers import Style
from trunkline_phrases.lexicon import lexicon
from trunkline_phrases.nouns import Noun, Word

RED = Adjective.of("red", ["a red", "rojo, roja", "rot", "rouge, rouge"])
EXPENSIVE = Adjective.of("expensive", ["an expensive", "caro, cara", "teuer, teur", "cher, chère"])


def noun(category, key):
    return next(member for member in lexicon()[category].members if member.key == key)


SUITCASE, CAMERA, BOOK = noun("thing", "suitcase"), noun("thing", "camera"), noun("thing", "book")
HOTEL, STATION, CHURCH = noun("place", "hotel"), noun("place", "station"), noun("place", "church")
WATER, COLLEAGUE = noun("dish", "water"), noun("person", "colleague")


def said(language, filler, form, adjective=None, formality="formal"):
    return filler.say(Style(language, formality), tuple(form.split(".")), adjective)


@pytest.mark.parametrize(
    ("filler", "form", "text"),
    [
        (SUITCASE, "the", "der Koffer"),
        (SUITCASE, "the.acc", "den Koffer"),
        (SUITCASE, "a.acc", "einen Koffer"),
        (SUITCASE, "my.dat", "meinem Koffer"),
        (SUITCASE, "this.acc", "diesen Koffer"),
        (CAMERA, "a", "eine Kamera"),
        (CAMERA, "the.dat", "der Kamera"),
        (CAMERA, "this", "diese Kamera"),
        (BOOK, "a.acc", "ein Buch"),
        (BOOK, "this.acc", "dieses Buch"),
        (BOOK, "my.dat", "meinem Buch"),
        (STATION, "the.to", "zum Bahnhof"),
        (CHURCH, "the.to", "zur Kirche"),
        (CHURCH, "the.from", "von der Kirche"),
        (HOTEL, "the.in", "im Hotel"),
        (CHURCH, "the.at", "an der Kirche"),
        (COLLEAGUE, "my", "mein Kollege"),
        (COLLEAGUE, "my.acc", "meinen Kollegen"),
        (COLLEAGUE, "my.dat", "meinem Kollegen"),
        (BOOK, "plural", "Bücher"),
        (BOOK, "plural.dat", "Büchern"),
        (CAMERA, "plural.dat", "Kameras"),
    ],
)
def test_german_has_cases_and_contractions(filler, form, text):
    assert said("de", filler, form) == text


@pytest.mark.parametrize(
    ("filler", "form", "text"),
    [
        (SUITCASE, "the", "der rote Koffer"),
        (SUITCASE, "the.acc", "den roten Koffer"),
        (SUITCASE, "the.dat", "dem roten Koffer"),
        (SUITCASE, "my", "mein roter Koffer"),
        (SUITCASE, "my.acc", "meinen roten Koffer"),
        (CAMERA, "a", "eine rote Kamera"),
        (CAMERA, "this.acc", "diese rote Kamera"),
        (CAMERA, "my.dat", "meiner roten Kamera"),
        (BOOK, "a", "ein rotes Buch"),
        (BOOK, "the.acc", "das rote Buch"),
        (BOOK, "my.acc", "mein rotes Buch"),
    ],
)
def test_german_adjectives_are_weak_after_der_and_mixed_after_ein(filler, form, text):
    assert said("de", filler, form, RED) == text


def test_german_adjectives_may_have_another_stem_and_stand_alone():
    assert said("de", BOOK, "a", EXPENSIVE) == "ein teures Buch"
    assert EXPENSIVE.say(Style("de"), ("f",)) == "teuer"
    assert [RED.say(Style("de"), ("acc", gender)) for gender in "mfn"] == ["roten", "rote", "rote"]


@pytest.mark.parametrize(
    ("filler", "form", "text"),
    [
        (HOTEL, "the", "el hotel"),
        (HOTEL, "the.to", "al hotel"),
        (HOTEL, "the.of", "del hotel"),
        (STATION, "the.to", "a la estación"),
        (STATION, "the.of", "de la estación"),
        (COLLEAGUE, "my.to", "a mi compañero"),
        (CAMERA, "this", "esta cámara"),
        (WATER, "the", "el agua mineral"),
        (CAMERA, "plural", "cámaras"),
    ],
)
def test_spanish_contracts_a_and_de_with_el(filler, form, text):
    assert said("es", filler, form) == text


def test_spanish_feminine_nouns_with_el_take_feminine_adjectives():
    assert said("es", WATER, "the", EXPENSIVE) == "el agua mineral cara"


@pytest.mark.parametrize(
    ("filler", "form", "text"),
    [
        (STATION, "the", "la gare"),
        (HOTEL, "the", "l'hôtel"),
        (HOTEL, "the.to", "à l'hôtel"),
        (HOTEL, "the.of", "de l'hôtel"),
        (BOOK, "the.to", "au livre"),
        (BOOK, "the.of", "du livre"),
        (STATION, "the.of", "de la gare"),
        (CAMERA, "a", "un appareil photo"),
        (CAMERA, "this", "cet appareil photo"),
        (BOOK, "this", "ce livre"),
        (CHURCH, "this", "cette église"),
        (CHURCH, "my", "mon église"),
        (SUITCASE, "my", "ma valise"),
        (COLLEAGUE, "my.to", "à mon collègue"),
    ],
)
def test_french_elides_and_contracts(filler, form, text):
    assert said("fr", filler, form) == text


def test_possessives_follow_the_formality():
    assert [said("de", CAMERA, "your.acc", formality=kind) for kind in ("formal", "informal")] == [
        "Ihre Kamera",
        "deine Kamera",
    ]
    assert [said("es", CAMERA, "your", formality=kind) for kind in ("formal", "informal")] == [
        "su cámara",
        "tu cámara",
    ]
    assert [said("fr", CHURCH, "your", formality=kind) for kind in ("formal", "informal")] == [
        "votre église",
        "ton église",
    ]


def test_an_english_article_fits_the_word_after_it():
    umbrella = noun("thing", "umbrella")
    assert said("en", umbrella, "a") == "an umbrella"
    assert said("en", umbrella, "a", RED) == "a red umbrella"
    assert said("en", SUITCASE, "a", EXPENSIVE) == "an expensive suitcase"


def test_french_and_spanish_adjectives_follow_and_agree():
    assert said("fr", SUITCASE, "my", EXPENSIVE) == "ma valise chère"
    assert said("es", SUITCASE, "my", EXPENSIVE) == "mi maleta cara"
    assert said("es", BOOK, "a", RED) == "un libro rojo"


def test_what_nobody_counts_has_no_plural():
    with pytest.raises(KeyError, match="no plural"):
        said("es", noun("device", "heating"), "plural")


@pytest.mark.parametrize("entry", ["suitcase", "l'hôtel", "der Koffer, Koffer, Koffer, Koffer", ""])
def test_what_is_no_dictionary_entry_is_refused(entry):
    with pytest.raises(ValueError, match="entry"):
        Word.of(entry)


def test_every_german_noun_has_a_capital_and_no_other_language_s_does():
    nouns = [
        member
        for category in lexicon().values()
        for member in getattr(category, "members", ())
        if isinstance(member, Noun)
    ]
    assert len(nouns) > 150
    for each in nouns:
        assert each.words["de"].singular[0].isupper(), each.key
        assert each.words["de"].plural[:1] in {"", each.words["de"].plural[:1].upper()}, each.key
        for language in ("en", "es", "fr"):
            assert each.words[language].singular[0].islower(), (each.key, language)
