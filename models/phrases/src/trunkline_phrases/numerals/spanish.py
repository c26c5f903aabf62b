"""Spanish numbers in words. They agree: veintiuno, veintiún euros, veintiuna noches."""

from typing import Final, Literal, TypeAlias

Agreement: TypeAlias = Literal["", "m", "f"]
"""Alone; before a masculine noun; before or standing for a feminine one."""

UNITS: Final = [
    "cero",
    "uno",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
    "once",
    "doce",
    "trece",
    "catorce",
    "quince",
    "dieciséis",
    "diecisiete",
    "dieciocho",
    "diecinueve",
    "veinte",
    "veintiuno",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
]
TENS: Final = ["", "", "", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"]
HUNDREDS: Final = [
    "",
    "ciento",
    "doscient",
    "trescient",
    "cuatrocient",
    "quinient",
    "seiscient",
    "setecient",
    "ochocient",
    "novecient",
]
"""Stems from 200 on: their ending agrees."""
ONE: Final[dict[Agreement, tuple[str, str]]] = {
    "": ("uno", "veintiuno"),
    "m": ("un", "veintiún"),
    "f": ("una", "veintiuna"),
}


def cardinal(number: int, agreement: Agreement = "") -> str:
    """0 to 9999."""
    if number == 1:
        return ONE[agreement][0]
    if number == 21:
        return ONE[agreement][1]
    if number < 30:
        return UNITS[number]
    if number < 100:
        tens, unit = divmod(number, 10)
        return TENS[tens] + (f" y {cardinal(unit, agreement)}" if unit else "")
    if number == 100:
        return "cien"
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        ending = "" if hundreds == 1 else "as" if agreement == "f" else "os"
        return HUNDREDS[hundreds] + ending + (f" {cardinal(rest, agreement)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    head = "mil" if thousands == 1 else f"{UNITS[thousands]} mil"
    return head + (f" {cardinal(rest, agreement)}" if rest else "")


def year(number: int) -> str:
    """As the number."""
    return cardinal(number)
