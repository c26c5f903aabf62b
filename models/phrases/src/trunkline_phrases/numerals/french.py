"""French numbers in words, in the spelling before 1990, which most people write: vingt et un."""

from typing import Final

UNITS: Final = [
    "zéro",
    "un",
    "deux",
    "trois",
    "quatre",
    "cinq",
    "six",
    "sept",
    "huit",
    "neuf",
    "dix",
    "onze",
    "douze",
    "treize",
    "quatorze",
    "quinze",
    "seize",
    "dix-sept",
    "dix-huit",
    "dix-neuf",
]
TENS: Final = ["", "dix", "vingt", "trente", "quarante", "cinquante", "soixante"]


def cardinal(number: int, feminine: bool = False) -> str:
    """0 to 9999."""
    if number == 1 and feminine:
        return "une"
    if number < 20:
        return UNITS[number]
    if number < 70:
        tens, unit = divmod(number, 10)
        return _linked(TENS[tens], unit, feminine, et=unit == 1)
    if number < 80:
        return _linked("soixante", number - 60, feminine, et=number == 71)
    if number < 100:
        return _linked("quatre-vingt", number - 80, feminine, et=False) if number > 80 else "quatre-vingts"
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        if hundreds == 1:
            return "cent" + (f" {cardinal(rest, feminine)}" if rest else "")
        # `cents` only when nothing follows.
        return f"{UNITS[hundreds]} cent" + (f" {cardinal(rest, feminine)}" if rest else "s")
    thousands, rest = divmod(number, 1000)
    head = "mille" if thousands == 1 else f"{UNITS[thousands]} mille"
    return head + (f" {cardinal(rest, feminine)}" if rest else "")


def year(number: int) -> str:
    """As the number: mille neuf cent quatre-vingt-dix-huit."""
    return cardinal(number)


def _linked(head: str, rest: int, feminine: bool, et: bool) -> str:
    if not rest:
        return head
    return f"{head} et {cardinal(rest, feminine)}" if et else f"{head}-{cardinal(rest, feminine)}"
