from collections import Counter

import pytest

from trunkline_phrases.amounts import Number, Price
from trunkline_phrases.fillers import Style
from trunkline_phrases.languages import LANGUAGES
from trunkline_phrases.lexicon import lexicon
from trunkline_phrases.times import Clock, Date, Departure, TimeOfDay


def said(filler, *form):
    return [filler.say(Style(language), form) for language in LANGUAGES]


@pytest.mark.parametrize(
    ("clock", "texts"),
    [
        (Clock(1, 0), ["one o'clock", "la una", "ein Uhr", "une heure"]),
        (Clock(3, 0), ["three o'clock", "las tres", "drei Uhr", "trois heures"]),
        (Clock(3, 5), ["five past three", "las tres y cinco", "fünf nach drei", "trois heures cinq"]),
        (Clock(1, 15), ["quarter past one", "la una y cuarto", "Viertel nach eins", "une heure et quart"]),
        (Clock(4, 20), ["twenty past four", "las cuatro y veinte", "zwanzig nach vier", "quatre heures vingt"]),
        (Clock(6, 25), ["twenty-five past six", "las seis y veinticinco", "fünf vor halb sieben", "six heures vingt-cinq"]),
        (Clock(2, 30), ["half past two", "las dos y media", "halb drei", "deux heures et demie"]),
        (Clock(7, 35), ["twenty-five to eight", "las ocho menos veinticinco", "fünf nach halb acht", "huit heures moins vingt-cinq"]),
        (Clock(9, 45), ["quarter to ten", "las diez menos cuarto", "Viertel vor zehn", "dix heures moins le quart"]),
        (Clock(0, 50), ["ten to one", "la una menos diez", "zehn vor eins", "une heure moins dix"]),
    ],
)  # fmt: skip
def test_clock_times_are_as_in_the_table(clock, texts):
    assert said(clock) == texts


def test_spanish_has_a_verb_for_one_hour_and_one_for_the_others():
    assert Clock(1, 30).say(Style("es"), ("is",)) == "es la una y media"
    assert Clock(2, 30).say(Style("es"), ("is",)) == "son las dos y media"
    assert Clock(11, 30).say(Style("en"), ("is",)) == "half past eleven"


@pytest.mark.parametrize(
    ("time", "texts"),
    [
        (TimeOfDay(8, 0), ["eight o'clock in the morning", "las ocho de la mañana", "acht Uhr morgens", "huit heures du matin"]),
        (TimeOfDay(11, 30), ["half past eleven in the morning", "las once y media de la mañana", "halb zwölf vormittags", "onze heures et demie du matin"]),
        (TimeOfDay(15, 15), ["quarter past three in the afternoon", "las tres y cuarto de la tarde", "Viertel nach drei nachmittags", "trois heures et quart de l'après-midi"]),
        (TimeOfDay(19, 0), ["seven o'clock in the evening", "las siete de la tarde", "sieben Uhr abends", "sept heures du soir"]),
        (TimeOfDay(21, 45), ["quarter to ten in the evening", "las diez menos cuarto de la noche", "Viertel vor zehn abends", "dix heures moins le quart du soir"]),
    ],
)  # fmt: skip
def test_parts_of_the_day_are_as_in_the_table(time, texts):
    assert said(time) == texts


@pytest.mark.parametrize(
    ("departure", "texts"),
    [
        (Departure(13, 5), ["thirteen oh five", "las trece cero cinco", "dreizehn Uhr fünf", "treize heures cinq"]),
        (Departure(15, 30), ["fifteen thirty", "las quince treinta", "fünfzehn Uhr dreißig", "quinze heures trente"]),
        (Departure(21, 21), ["twenty-one twenty-one", "las veintiuna veintiuno", "einundzwanzig Uhr einundzwanzig", "vingt et une heures vingt et une"]),
        (Departure(18, 1), ["eighteen oh one", "las dieciocho cero uno", "achtzehn Uhr eins", "dix-huit heures une"]),
    ],
)  # fmt: skip
def test_departures_are_as_in_the_table(departure, texts):
    assert said(departure) == texts


def test_dates_are_as_in_the_table():
    assert said(Date(1, 5)) == ["the first of May", "el uno de mayo", "der erste Mai", "le premier mai"]
    assert said(Date(22, 8)) == [
        "the twenty-second of August",
        "el veintidós de agosto",
        "der zweiundzwanzigste August",
        "le vingt-deux août",
    ]
    assert Date(3, 3).say(Style("de"), ("dat",)) == "dritten März"
    assert [Date(3, 3).say(Style("es"), (form,)) for form in ("of", "to", "bare")] == [
        "del tres de marzo",
        "al tres de marzo",
        "tres de marzo",
    ]
    assert [Date(1, 3).say(Style("fr"), (form,)) for form in ("of", "to", "bare")] == [
        "du premier mars",
        "au premier mars",
        "premier mars",
    ]


@pytest.mark.parametrize(
    ("price", "texts"),
    [
        (Price(12, 0), ["twelve euros", "doce euros", "zwölf Euro", "douze euros"]),
        (Price(21, 50), ["twenty-one euros fifty", "veintiún euros con cincuenta", "einundzwanzig Euro fünfzig", "vingt et un euros cinquante"]),
        (Price(200, 0), ["two hundred euros", "doscientos euros", "zweihundert Euro", "deux cents euros"]),
        (Price(3, 99), ["three euros ninety-nine", "tres euros con noventa y nueve", "drei Euro neunundneunzig", "trois euros quatre-vingt-dix-neuf"]),
    ],
)  # fmt: skip
def test_prices_are_as_in_the_table(price, texts):
    assert said(price) == texts


def test_counts_take_the_gender_that_is_asked():
    assert [Number(21).say(Style("es"), form) for form in ((), ("m",), ("f",))] == [
        "veintiuno",
        "veintiún",
        "veintiuna",
    ]
    assert [Number(21).say(Style("fr"), form) for form in ((), ("m",), ("f",))] == [
        "vingt et un",
        "vingt et un",
        "vingt et une",
    ]


@pytest.mark.parametrize("category", ["clock", "daytime", "departure", "date", "year", "price", "number"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_members_are_said_alike(category, language):
    texts = Counter(member.say(Style(language)) for member in lexicon()[category].members)
    assert [text for text, count in texts.items() if count > 1] == []
