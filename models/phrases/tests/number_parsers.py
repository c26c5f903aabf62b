"""Reads numbers in words back, by grammars of its own: nothing here is shared with what writes them."""

import re

ENGLISH = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {
    word: 10 * tens
    for tens, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
    )
}

SPANISH = {
    "cero": 0, "un": 1, "uno": 1, "una": 1, "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5, "seis": 6,
    "siete": 7, "ocho": 8, "nueve": 9, "diez": 10, "once": 11, "doce": 12, "trece": 13, "catorce": 14,
    "quince": 15, "dieciséis": 16, "diecisiete": 17, "dieciocho": 18, "diecinueve": 19, "veinte": 20,
    "veintiuno": 21, "veintiún": 21, "veintiuna": 21, "veintidós": 22, "veintitrés": 23,
    "veinticuatro": 24, "veinticinco": 25, "veintiséis": 26, "veintisiete": 27, "veintiocho": 28,
    "veintinueve": 29, "treinta": 30, "cuarenta": 40, "cincuenta": 50, "sesenta": 60, "setenta": 70,
    "ochenta": 80, "noventa": 90, "cien": 100, "ciento": 100, "doscientos": 200, "trescientos": 300,
    "cuatrocientos": 400, "quinientos": 500, "seiscientos": 600, "setecientos": 700, "ochocientos": 800,
    "novecientos": 900,
}  # fmt: skip

GERMAN = {
    "null": 0, "ein": 1, "eins": 1, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "sechs": 6, "sieben": 7,
    "acht": 8, "neun": 9, "zehn": 10, "elf": 11, "zwölf": 12, "dreizehn": 13, "vierzehn": 14,
    "fünfzehn": 15, "sechzehn": 16, "siebzehn": 17, "achtzehn": 18, "neunzehn": 19, "zwanzig": 20,
    "dreißig": 30, "vierzig": 40, "fünfzig": 50, "sechzig": 60, "siebzig": 70, "achtzig": 80, "neunzig": 90,
}  # fmt: skip

FRENCH = {
    "zéro": 0, "un": 1, "une": 1, "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "six": 6, "sept": 7,
    "huit": 8, "neuf": 9, "dix": 10, "onze": 11, "douze": 12, "treize": 13, "quatorze": 14, "quinze": 15,
    "seize": 16, "vingt": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60,
}  # fmt: skip


def english(text: str) -> int:
    """Sums up; hundred and thousand multiply what came before."""
    total = current = 0
    for word in text.replace("-", " ").split():
        if word == "hundred":
            current *= 100
        elif word == "thousand":
            total, current = current * 1000, 0
        elif word != "and":
            current += ENGLISH[word]
    return total + current


def spanish(text: str) -> int:
    """Sums up; mil multiplies what came before, or is one thousand."""
    total = current = 0
    for word in text.split():
        if word == "mil":
            total, current = max(current, 1) * 1000, 0
        elif word != "y":
            current += SPANISH[re.sub(r"cientas$", "cientos", word.replace("quinientas", "quinientos"))]
    return total + current


def german(text: str) -> int:
    """Splits the one word at tausend, hundert and und."""
    thousands, found, rest = text.rpartition("tausend")
    total = german(thousands) * 1000 if found else 0
    hundreds, found, rest = rest.rpartition("hundert")
    total += german(hundreds) * 100 if found else 0
    if not rest:
        return total
    if rest in GERMAN:
        return total + GERMAN[rest]
    unit, tens = re.fullmatch(r"(\w+)und(\w+)", rest).groups()
    return total + GERMAN[unit] + GERMAN[tens]


def french(text: str) -> int:
    """Sums up; vingt after quatre, cent and mille multiply."""
    total = current = last = 0
    for word in text.replace("-", " ").split():
        if word == "mille":
            total, current, value = max(current, 1) * 1000, 0, 0
        elif word in ("cent", "cents"):
            current, value = max(current, 1) * 100, 0
        elif word in ("vingt", "vingts") and last == 4:
            current, value = current + 76, 80
        elif word == "et":
            continue
        else:
            value = FRENCH[word]
            current += value
        last = value
    return total + current
