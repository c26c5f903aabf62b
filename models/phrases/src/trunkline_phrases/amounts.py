"""Numbers, counts and prices in words."""

from dataclasses import dataclass
from typing import Final

from trunkline_phrases.fillers import Form, Style
from trunkline_phrases.languages import Language
from trunkline_phrases.numerals import english, french, german, spanish

AGREEMENTS: Final[dict[Form, spanish.Agreement]] = {(): "", ("m",): "m", ("f",): "f"}


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number, 0 to 9999. Its form is the gender of what it counts, if it counts: ("f",)."""

    value: int

    @property
    def key(self) -> str:
        return str(self.value)

    def gender(self, language: Language) -> str:
        return "n"

    def say(self, style: Style, form: Form = ()) -> str:
        match style.language:
            case "en":
                return english.cardinal(self.value)
            case "es":
                return spanish.cardinal(self.value, AGREEMENTS[form])
            case "de":
                return german.cardinal(self.value)
            case "fr":
                return french.cardinal(self.value, feminine=form == ("f",))


@dataclass(frozen=True, slots=True)
class Price:
    """An amount of money: twelve euros fifty, doce euros con cincuenta, zwölf Euro fünfzig."""

    euros: int
    """2 to 9999, but none whose last two digits are 01, which German inflects."""
    cents: int

    @property
    def key(self) -> str:
        return f"{self.euros}.{self.cents:02}"

    def gender(self, language: Language) -> str:
        return "n"

    def say(self, style: Style, form: Form = ()) -> str:
        euros, cents = self.euros, self.cents
        match style.language:
            case "en":
                return f"{english.cardinal(euros)} euros" + (f" {english.cardinal(cents)}" if cents else "")
            case "es":
                tail = f" con {spanish.cardinal(cents)}" if cents else ""
                return f"{spanish.cardinal(euros, 'm')} euros{tail}"
            case "de":
                return f"{german.cardinal(euros)} Euro" + (f" {german.cardinal(cents)}" if cents else "")
            case "fr":
                return f"{french.cardinal(euros)} euros" + (f" {french.cardinal(cents)}" if cents else "")
