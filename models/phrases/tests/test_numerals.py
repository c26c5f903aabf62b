import number_parsers as parsers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_phrases.numerals import english, french, german, spanish

# By hand: number, English, Spanish alone, German, French.
TABLE = [
    (0, "zero", "cero", "null", "zéro"),
    (1, "one", "uno", "eins", "un"),
    (12, "twelve", "doce", "zwölf", "douze"),
    (16, "sixteen", "dieciséis", "sechzehn", "seize"),
    (17, "seventeen", "diecisiete", "siebzehn", "dix-sept"),
    (20, "twenty", "veinte", "zwanzig", "vingt"),
    (21, "twenty-one", "veintiuno", "einundzwanzig", "vingt et un"),
    (22, "twenty-two", "veintidós", "zweiundzwanzig", "vingt-deux"),
    (30, "thirty", "treinta", "dreißig", "trente"),
    (31, "thirty-one", "treinta y uno", "einunddreißig", "trente et un"),
    (66, "sixty-six", "sesenta y seis", "sechsundsechzig", "soixante-six"),
    (70, "seventy", "setenta", "siebzig", "soixante-dix"),
    (71, "seventy-one", "setenta y uno", "einundsiebzig", "soixante et onze"),
    (77, "seventy-seven", "setenta y siete", "siebenundsiebzig", "soixante-dix-sept"),
    (80, "eighty", "ochenta", "achtzig", "quatre-vingts"),
    (81, "eighty-one", "ochenta y uno", "einundachtzig", "quatre-vingt-un"),
    (90, "ninety", "noventa", "neunzig", "quatre-vingt-dix"),
    (91, "ninety-one", "noventa y uno", "einundneunzig", "quatre-vingt-onze"),
    (99, "ninety-nine", "noventa y nueve", "neunundneunzig", "quatre-vingt-dix-neuf"),
    (100, "one hundred", "cien", "einhundert", "cent"),
    (101, "one hundred and one", "ciento uno", "einhunderteins", "cent un"),
    (200, "two hundred", "doscientos", "zweihundert", "deux cents"),
    (280, "two hundred and eighty", "doscientos ochenta", "zweihundertachtzig", "deux cent quatre-vingts"),
    (555, "five hundred and fifty-five", "quinientos cincuenta y cinco", "fünfhundertfünfundfünfzig", "cinq cent cinquante-cinq"),
    (716, "seven hundred and sixteen", "setecientos dieciséis", "siebenhundertsechzehn", "sept cent seize"),
    (999, "nine hundred and ninety-nine", "novecientos noventa y nueve", "neunhundertneunundneunzig", "neuf cent quatre-vingt-dix-neuf"),
    (1000, "one thousand", "mil", "eintausend", "mille"),
    (1001, "one thousand and one", "mil uno", "eintausendeins", "mille un"),
    (1100, "one thousand one hundred", "mil cien", "eintausendeinhundert", "mille cent"),
    (2026, "two thousand and twenty-six", "dos mil veintiséis", "zweitausendsechsundzwanzig", "deux mille vingt-six"),
    (4821, "four thousand eight hundred and twenty-one", "cuatro mil ochocientos veintiuno", "viertausendachthunderteinundzwanzig", "quatre mille huit cent vingt et un"),
    (9999, "nine thousand nine hundred and ninety-nine", "nueve mil novecientos noventa y nueve", "neuntausendneunhundertneunundneunzig", "neuf mille neuf cent quatre-vingt-dix-neuf"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "en", "es", "de", "fr"), TABLE)
def test_numbers_are_as_in_the_table(number, en, es, de, fr):
    assert english.cardinal(number) == en
    assert spanish.cardinal(number) == es
    assert german.cardinal(number) == de
    assert french.cardinal(number) == fr


@given(st.integers(0, 9999))
def test_every_number_is_read_back_by_another_grammar(number):
    assert parsers.english(english.cardinal(number)) == number
    assert parsers.german(german.cardinal(number)) == number
    for agreement in ("", "m", "f"):
        assert parsers.spanish(spanish.cardinal(number, agreement)) == number
    for feminine in (False, True):
        assert parsers.french(french.cardinal(number, feminine)) == number


@pytest.mark.parametrize(
    ("number", "masculine", "feminine"),
    [
        (1, "un", "una"),
        (2, "dos", "dos"),
        (21, "veintiún", "veintiuna"),
        (31, "treinta y un", "treinta y una"),
        (100, "cien", "cien"),
        (200, "doscientos", "doscientas"),
        (501, "quinientos un", "quinientas una"),
        (1121, "mil ciento veintiún", "mil ciento veintiuna"),
        (9731, "nueve mil setecientos treinta y un", "nueve mil setecientas treinta y una"),
    ],
)
def test_spanish_numbers_agree_with_what_they_count(number, masculine, feminine):
    assert spanish.cardinal(number, "m") == masculine
    assert spanish.cardinal(number, "f") == feminine


@pytest.mark.parametrize(
    ("number", "feminine"),
    [(1, "une"), (21, "vingt et une"), (71, "soixante et onze"), (81, "quatre-vingt-une")],
)
def test_french_numbers_that_end_in_one_have_a_feminine(number, feminine):
    assert french.cardinal(number, feminine=True) == feminine


@pytest.mark.parametrize(
    ("number", "en", "de"),
    [
        (1, "first", "erst"),
        (2, "second", "zweit"),
        (3, "third", "dritt"),
        (5, "fifth", "fünft"),
        (7, "seventh", "siebt"),
        (8, "eighth", "acht"),
        (9, "ninth", "neunt"),
        (12, "twelfth", "zwölft"),
        (19, "nineteenth", "neunzehnt"),
        (20, "twentieth", "zwanzigst"),
        (21, "twenty-first", "einundzwanzigst"),
        (23, "twenty-third", "dreiundzwanzigst"),
        (30, "thirtieth", "dreißigst"),
        (31, "thirty-first", "einunddreißigst"),
    ],
)
def test_ordinals_are_as_in_the_table(number, en, de):
    assert english.ordinal(number) == en
    assert german.ordinal_stem(number) == de


@pytest.mark.parametrize(
    ("number", "en", "es", "de", "fr"),
    [
        (1950, "nineteen fifty", "mil novecientos cincuenta", "neunzehnhundertfünfzig", "mille neuf cent cinquante"),
        (1998, "nineteen ninety-eight", "mil novecientos noventa y ocho", "neunzehnhundertachtundneunzig", "mille neuf cent quatre-vingt-dix-huit"),
        (2000, "two thousand", "dos mil", "zweitausend", "deux mille"),
        (2005, "two thousand and five", "dos mil cinco", "zweitausendfünf", "deux mille cinq"),
        (2014, "twenty fourteen", "dos mil catorce", "zweitausendvierzehn", "deux mille quatorze"),
    ],
)  # fmt: skip
def test_years_are_said_as_years(number, en, es, de, fr):
    assert english.year(number) == en
    assert spanish.year(number) == es
    assert german.year(number) == de
    assert french.year(number) == fr
