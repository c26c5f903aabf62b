"""What is found wrong with answers, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_translate.checks import Checks, Finding
from trunkline_translate.detect import Detector
from trunkline_translate.language import Direction


@pytest.fixture(scope="module")
def checks() -> Checks:
    return Checks(Detector(("en", "es", "de", "fr", "zh", "ja")))


def direction(text: str) -> Direction:
    return Direction(*text.split("-"))


HARD = [
    # empty
    ("en-es", "Hello.", "", "empty"),
    ("en-es", "Hello.", " \n ", "empty"),
    ("en-es", "Hello there.", "...", "empty"),
    # placeholders
    ("en-es", "Call \ue000 now.", "Llama ahora.", "placeholders"),
    ("en-es", "Call \ue000 now.", "Llama a \ue000 \ue000 ahora.", "placeholders"),
    ("en-es", "Call \ue000 now.", "Llama a \ue001 ahora.", "placeholders"),
    ("en-es", "Call now.", "Llama a \ue000 ahora.", "placeholders"),
    # control
    ("en-es", "Hello.", "Hola.<|im_end|>", "control"),
    ("en-es", "Hello.", "```Hola.```", "control"),
    # script
    ("en-es", "Good morning.", "早上好。", "script"),
    ("en-de", "That is good.", "Das ist 很好.", "script"),
    ("en-de", "Good morning.", "Доброе утро.", "script"),
    ("en-zh", "Good morning, everybody.", "Buenos días a todos.", "script"),
    ("en-zh", "This is my book.", "これは私の本です。", "script"),
    ("en-ja", "Where is the station?", "The station is where?", "script"),
    # echo
    ("en-es", "Where is the next station?", "Where is the next station?", "echo"),
    ("en-es", "Where is the next station?", "where is the next station", "echo"),
    (
        "en-es",
        "Where is the next station?",
        "Where is the next station? ¿Dónde está la próxima estación?",
        "echo",
    ),
    ("de-fr", "Wo ist der nächste Bahnhof?", "Wo ist der nächste Bahnhof?", "echo"),
    # language
    ("en-es", "Where is the next station?", "Où est la prochaine gare ?", "language"),
    ("en-de", "I would like a coffee, please.", "Quisiera un café, por favor.", "language"),
    ("zh-es", "请问最近的车站在哪里？", "Where is the nearest station, please?", "language"),
    # preamble
    ("de-en", "Wo ist der Bahnhof?", "Here is the translation: Where is the station?", "preamble"),
    (
        "de-en",
        "Wo ist der Bahnhof?",
        "Sure! Here's the English translation:\nWhere is the station?",
        "preamble",
    ),
    ("de-en", "Wo ist der Bahnhof?", "Translation: Where is the station?", "preamble"),
    ("de-en", "Wo ist der Bahnhof?", "**Translation:** Where is the station?", "preamble"),
    ("de-en", "Wo ist der Bahnhof?", "English: Where is the station?", "preamble"),
    ("de-en", "Wo ist der Bahnhof?", "The translation is: Where is the station?", "preamble"),
    ("de-en", "Wo ist der Bahnhof?", "I'm sorry, but I can't translate this text.", "preamble"),
    ("de-en", "Wo ist der Bahnhof?", "Where is the station?\n\nNote: it is a question.", "preamble"),
    ("en-es", "Where is it?", "Aquí está la traducción: ¿Dónde está?", "preamble"),
    ("en-es", "Where is it?", "Claro, aquí tienes la traducción al español: ¿Dónde está?", "preamble"),
    ("en-es", "Where is it?", "Traducción: ¿Dónde está?", "preamble"),
    ("en-de", "Where is it?", "Übersetzung: Wo ist es?", "preamble"),
    ("en-de", "Where is it?", "Natürlich! Hier ist die Übersetzung: Wo ist es?", "preamble"),
    ("en-de", "Where is it?", "Die Übersetzung lautet: Wo ist es?", "preamble"),
    ("en-de", "Where is it?", "Auf Deutsch: Wo ist es?", "preamble"),
    ("en-fr", "Where is it?", "Voici la traduction : Où est-ce ?", "preamble"),
    ("en-fr", "Where is it?", "Bien sûr, voici votre traduction : Où est-ce ?", "preamble"),
    ("en-fr", "Where is it?", "Traduction : Où est-ce ?", "preamble"),
    ("en-zh", "Where is it?", "翻译：它在哪里？", "preamble"),
    ("en-zh", "Where is it?", "好的，以下是翻译：它在哪里？", "preamble"),
    ("en-ja", "Where is it?", "翻訳：どこですか。", "preamble"),
    ("en-ja", "Where is it?", "以下は翻訳です：どこですか。", "preamble"),
    # repetition
    ("en-es", "I have a red car.", "Tengo un coche coche coche coche coche coche coche coche.", "repetition"),
    ("en-zh", "I do not know.", "我不知道我不知道我不知道我不知道我不知道我不知道我不知道", "repetition"),
]
SOFT = [
    ("en-de", "Say no.", '"Sag nein."', "quotes"),
    ("en-de", "Say no.", "„Sag nein.“", "quotes"),
    ("en-zh", "Say no.", "“拒绝吧。”", "quotes"),
    ("en-es", "No.", "No, la verdad es que no creo que eso sea posible de ninguna manera.", "length"),
    (
        "en-es",
        "I would like to know where the next station is and when the train leaves.",
        "¿Dónde?",
        "length",
    ),
    ("en-es", "Thank you, hotel.", "Thank you, hotel.", "echo"),
    ("es-en", "No puedo ayudarte con eso.", "I can't help with that.", "preamble"),
    ("es-en", "No puedo traducir esto.", "I can't translate this.", "preamble"),
    ("es-en", "El texto se traduce al inglés.", "The text translates to English.", "preamble"),
    ("en-es", "Ha ha ha ha ha!", "¡Ja ja ja ja ja ja ja!", "repetition"),
    ("en-es", "Noooo!", "¡Nooooooo!", "repetition"),
]
RIGHT = [
    ("en-es", "OK", "OK"),
    ("en-es", "Tom", "Tom"),
    ("en-de", "Tom Hanks", "Tom Hanks"),
    ("en-de", "Hotel Berlin", "Hotel Berlin"),
    ("en-fr", "12", "12"),
    ("en-fr", "3.50 €", "3,50 €"),
    ("en-fr", "?!", "?!"),
    ("en-fr", "😀", "😀"),
    ("en-fr", "\ue000", "\ue000"),
    ("es-en", "No.", "No."),
    ("en-de", "Taxi!", "Taxi!"),
    ("en-es", "no", "no"),
    ("zh-ja", "日本", "日本"),
    ("fr-en", "Table.", "Table."),
    ("en-de", "My name is Ludwig van Beethoven.", "Ich heiße Ludwig van Beethoven."),
    ("en-zh", "My name is Jack.", "我叫Jack。"),
    ("en-zh", "I use Google Chrome on my iPhone 15 Pro.", "我在iPhone 15 Pro上用Google Chrome。"),
    ("zh-en", "我叫小明。", "My name is Xiaoming."),
    ("zh-en", "“明”字怎么写？", "How do you write 明?"),
    ("en-ja", "I like coffee.", "コーヒーが好きです。"),
    ("ja-zh", "東京", "东京"),
    ("en-es", "Call \ue000 and \ue001.", "Llama a \ue001 y a \ue000."),
    ("en-fr", "Translation: a difficult art", "Traduction : un art difficile"),
    ("en-de", "Here is the translation you wanted.", "Hier ist die Übersetzung, die du wolltest."),
    ("en-de", '"Say no."', "„Sag nein.“"),
    ("en-de", '"Yes", she said, "it is."', '"Ja", sagte sie, "das ist es."'),
    ("en-es", "Ha ha ha ha ha ha ha ha!", "¡Ja ja ja ja ja ja ja ja!"),
    ("en-es", "No, no, no, no.", "No, no, no, no."),
    ("es-en", "Ja, ja, ja, ja.", "Ja, ja, ja, ja."),
    ("en-es", "See <|this|> token.", "Mira el token <|this|>."),
    ("en-de", "Sure.", "Klar."),
    ("en-fr", "Yes.", "Oui, bien sûr."),
    ("en-de", "The temperature is 30 °C.", "Die Temperatur beträgt 30 °C."),
    ("en-de", "The angle is 30°, in formulas θ.", "Der Winkel ist 30°, in Formeln θ."),
    ("en-ca", "Where is the next station?", "On és la propera estació de tren, si us plau?"),
    ("xx-yy", "Hello.", "Bonjour."),
]


@pytest.mark.parametrize(("pair", "source", "answer", "name"), HARD)
def test_what_is_no_translation_is_not_given(checks: Checks, pair: str, source: str, answer: str, name: str):
    assert checks.find(source, answer, direction(pair)) == Finding(name, hard=True)


@pytest.mark.parametrize(("pair", "source", "answer", "name"), SOFT)
def test_what_may_be_a_translation_is_marked(checks: Checks, pair: str, source: str, answer: str, name: str):
    assert checks.find(source, answer, direction(pair)) == Finding(name, hard=False)


@pytest.mark.parametrize(("pair", "source", "answer"), RIGHT)
def test_names_numbers_cognates_and_short_answers_pass(checks: Checks, pair: str, source: str, answer: str):
    assert checks.find(source, answer, direction(pair)) is None


def test_the_length_of_an_answer_that_was_cut_tells_nothing(checks: Checks):
    source, answer = "I would like to know where the next station is and when the train leaves.", "¿Dónde?"
    assert checks.find(source, answer, Direction("en", "es"), finished=False) is None


def test_a_sentence_that_is_in_the_target_language_already_may_stay_as_it_is(checks: Checks):
    assert checks.find("Je ne sais pas du tout.", "Je ne sais pas du tout.", Direction("en", "fr")) is None


@given(source=st.text(max_size=60), answer=st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_the_checks(checks: Checks, source: str, answer: str):
    finding = checks.find(source, answer, Direction("en", "zh"))
    assert finding is None or finding.name


def test_an_answer_of_any_length_is_checked_in_time_that_grows_with_it(checks: Checks):
    assert checks.find("Yes.", "wort " * 20_000, Direction("en", "de")) == Finding("repetition", hard=True)
