"""English numbers in words, as written in Britain: one hundred and five."""

from typing import Final

UNITS: Final = [
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
TENS: Final = ["", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS: Final = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
    "twenty": "twentieth",
    "thirty": "thirtieth",
}
"""Those that are not the cardinal and -th."""


def cardinal(number: int) -> str:
    """0 to 9999."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        tens, unit = divmod(number, 10)
        return TENS[tens] + (f"-{UNITS[unit]}" if unit else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{UNITS[hundreds]} hundred" + (f" and {cardinal(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    link = " and " if rest < 100 else " "
    return f"{UNITS[thousands]} thousand" + (f"{link}{cardinal(rest)}" if rest else "")


def ordinal(number: int) -> str:
    """1 to 31: first, twenty-second."""
    head, dash, last = cardinal(number).rpartition("-")
    return head + dash + ORDINALS.get(last, f"{last}th")


def year(number: int) -> str:
    """1910 to 2099: nineteen oh five is not among them, two thousand and five is."""
    if 2000 <= number < 2010:
        return cardinal(number)
    century, rest = divmod(number, 100)
    return f"{cardinal(century)} {cardinal(rest)}"
