"""German numbers in words: one word up to 9999."""

from typing import Final

UNITS: Final = [
    "null",
    "eins",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
]
TENS: Final = [
    "",
    "zehn",
    "zwanzig",
    "dreißig",
    "vierzig",
    "fünfzig",
    "sechzig",
    "siebzig",
    "achtzig",
    "neunzig",
]
ORDINAL_STEMS: Final = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}
"""Those that are not the cardinal and -t or, from twenty on, -st."""


def cardinal(number: int) -> str:
    """0 to 9999."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        tens, unit = divmod(number, 10)
        return f"{_joined(unit)}und{TENS[tens]}" if unit else TENS[tens]
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{_joined(hundreds)}hundert" + (cardinal(rest) if rest else "")
    thousands, rest = divmod(number, 1000)
    return f"{_joined(thousands)}tausend" + (cardinal(rest) if rest else "")


def ordinal_stem(number: int) -> str:
    """1 to 31, without its ending: dritt, for der dritte and am dritten."""
    return ORDINAL_STEMS.get(number, cardinal(number) + ("t" if number < 20 else "st"))


def year(number: int) -> str:
    """neunzehnhundertachtundneunzig, zweitausendsechsundzwanzig."""
    if number >= 2000:
        return cardinal(number)
    century, rest = divmod(number, 100)
    return f"{cardinal(century)}hundert" + (cardinal(rest) if rest else "")


def _joined(number: int) -> str:
    """Inside a word `eins` loses its s."""
    return "ein" if number == 1 else UNITS[number]
