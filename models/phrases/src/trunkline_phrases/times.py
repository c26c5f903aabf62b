"""Clock times, dates and years in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from trunkline_phrases.fillers import Form, Style
from trunkline_phrases.languages import Language
from trunkline_phrases.numerals import english, french, german, spanish

MONTHS: Final[dict[Language, list[str]]] = {
    "en": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "es": [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    "de": [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
    "fr": [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
}
DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ENGLISH_MINUTES: Final = {5: "five", 10: "ten", 15: "quarter", 20: "twenty", 25: "twenty-five"}
_SPANISH_MINUTES: Final = {5: "cinco", 10: "diez", 15: "cuarto", 20: "veinte", 25: "veinticinco", 30: "media"}
_GERMAN_MINUTES: Final = {5: "fünf", 10: "zehn", 15: "Viertel", 20: "zwanzig"}
_FRENCH_MINUTES: Final = {5: "cinq", 10: "dix", 15: "le quart", 20: "vingt", 25: "vingt-cinq"}


@dataclass(frozen=True, slots=True)
class Clock:
    """A time as on a clock face: half past three, halb vier. By fives; no noon, which has no hour in French.

    Spanish has its article: las tres y media; the form `is` has the verb too: son las tres, es la una.
    """

    hour: int
    """0 to 11, but 0 only after the half."""
    minute: int

    @property
    def key(self) -> str:
        return f"{self.hour}:{self.minute:02}"

    def gender(self, language: Language) -> str:
        return "n"

    def say(self, style: Style, form: Form = ()) -> str:
        # The hour that is named: after the half the coming one.
        hour = self.hour + (self.minute > 30)
        match style.language:
            case "en":
                return self._english(hour)
            case "es":
                verb = {(): "", ("is",): "es " if hour == 1 else "son "}[form]
                return verb + self._spanish(hour)
            case "de":
                return self._german(hour)
            case "fr":
                return self._french(hour)

    def _english(self, hour: int) -> str:
        name = english.cardinal(hour)
        if self.minute == 0:
            return f"{name} o'clock"
        if self.minute == 30:
            return f"half past {name}"
        if self.minute < 30:
            return f"{_ENGLISH_MINUTES[self.minute]} past {name}"
        return f"{_ENGLISH_MINUTES[60 - self.minute]} to {name}"

    def _spanish(self, hour: int) -> str:
        name = f"{'la' if hour == 1 else 'las'} {spanish.cardinal(hour, 'f')}"
        if self.minute == 0:
            return name
        if self.minute <= 30:
            return f"{name} y {_SPANISH_MINUTES[self.minute]}"
        return f"{name} menos {_SPANISH_MINUTES[60 - self.minute]}"

    def _german(self, hour: int) -> str:
        if self.minute == 0:
            return f"{'ein' if hour == 1 else german.cardinal(hour)} Uhr"
        if 20 < self.minute < 40:
            before = {25: "fünf vor ", 30: "", 35: "fünf nach "}[self.minute]
            return f"{before}halb {german.cardinal(self.hour + 1)}"
        if self.minute < 30:
            return f"{_GERMAN_MINUTES[self.minute]} nach {german.cardinal(hour)}"
        return f"{_GERMAN_MINUTES[60 - self.minute]} vor {german.cardinal(hour)}"

    def _french(self, hour: int) -> str:
        name = f"{french.cardinal(hour, feminine=True)} {'heure' if hour == 1 else 'heures'}"
        if self.minute == 0:
            return name
        if self.minute == 15:
            return f"{name} et quart"
        if self.minute == 30:
            return f"{name} et demie"
        if self.minute < 30:
            return f"{name} {_FRENCH_MINUTES[self.minute]}"
        return f"{name} moins {_FRENCH_MINUTES[60 - self.minute]}"


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """A time and its part of the day: a quarter past three in the afternoon, Viertel nach drei nachmittags."""

    hour: int
    """6 to 22, without 12."""
    minute: int
    """By quarters."""

    @property
    def key(self) -> str:
        return f"{self.hour}:{self.minute:02}"

    def gender(self, language: Language) -> str:
        return "n"

    def say(self, style: Style, form: Form = ()) -> str:
        clock = Clock(self.hour % 12, self.minute).say(style, form)
        if self.hour < 12:
            german_part = "morgens" if self.hour < 10 else "vormittags"
            part = {"en": "in the morning", "es": "de la mañana", "de": german_part, "fr": "du matin"}
        elif self.hour < 18:
            part = {
                "en": "in the afternoon",
                "es": "de la tarde",
                "de": "nachmittags",
                "fr": "de l'après-midi",
            }
        else:
            spanish_part = "de la tarde" if self.hour < 20 else "de la noche"
            part = {"en": "in the evening", "es": spanish_part, "de": "abends", "fr": "du soir"}
        return f"{clock} {part[style.language]}"


@dataclass(frozen=True, slots=True)
class Departure:
    """A time as it is announced: fifteen oh five, fünfzehn Uhr fünf."""

    hour: int
    """13 to 23."""
    minute: int
    """1 to 59."""

    @property
    def key(self) -> str:
        return f"{self.hour}:{self.minute:02}"

    def gender(self, language: Language) -> str:
        return "n"

    def say(self, style: Style, form: Form = ()) -> str:
        hour, minute = self.hour, self.minute
        match style.language:
            case "en":
                return f"{english.cardinal(hour)} {'oh ' if minute < 10 else ''}{english.cardinal(minute)}"
            case "es":
                zero = "cero " if minute < 10 else ""
                return f"las {spanish.cardinal(hour, 'f')} {zero}{spanish.cardinal(minute)}"
            case "de":
                return f"{german.cardinal(hour)} Uhr {german.cardinal(minute)}"
            case "fr":
                return (
                    f"{french.cardinal(hour, feminine=True)} heures {french.cardinal(minute, feminine=True)}"
                )


@dataclass(frozen=True, slots=True)
class Date:
    """A day of a month with its article: the first of May, el uno de mayo, der erste Mai, le premier mai.

    Forms: German `dat` (ersten Mai, after am, vom, zum); Spanish and French `of` and `to` (del, du; al, au)
    and `bare`, without the article.
    """

    day: int
    month: int

    @property
    def key(self) -> str:
        return f"{self.month}-{self.day}"

    def gender(self, language: Language) -> str:
        return "n"

    def say(self, style: Style, form: Form = ()) -> str:
        month = MONTHS[style.language][self.month - 1]
        match style.language:
            case "en":
                return f"the {english.ordinal(self.day)} of {month}"
            case "es":
                article = {(): "el ", ("of",): "del ", ("to",): "al ", ("bare",): ""}[form]
                return f"{article}{spanish.cardinal(self.day)} de {month}"
            case "de":
                stem = german.ordinal_stem(self.day)
                return {(): f"der {stem}e {month}", ("dat",): f"{stem}en {month}"}[form]
            case "fr":
                article = {(): "le ", ("of",): "du ", ("to",): "au ", ("bare",): ""}[form]
                return f"{article}{'premier' if self.day == 1 else french.cardinal(self.day)} {month}"


@dataclass(frozen=True, slots=True)
class Year:
    """A year: nineteen ninety-eight."""

    number: int
    """1910 to 2099."""

    @property
    def key(self) -> str:
        return str(self.number)

    def gender(self, language: Language) -> str:
        return "n"

    def say(self, style: Style, form: Form = ()) -> str:
        words = {"en": english.year, "es": spanish.year, "de": german.year, "fr": french.year}
        return words[style.language](self.number)


def clocks() -> Iterator[Clock]:
    """Every time whose named hour is 1 to 11, in French too."""
    for hour in range(12):
        for minute in range(0, 60, 5):
            if (hour > 0 or minute > 30) and (hour < 11 or minute <= 30):
                yield Clock(hour, minute)


def times_of_day() -> Iterator[TimeOfDay]:
    """Quarters from six in the morning to ten in the evening."""
    for hour in (*range(6, 12), *range(13, 23)):
        for minute in (0, 15, 30, 45):
            # Neither names twelve, nor 45 to the next part of the day.
            if not (minute == 45 and hour in (11, 17)):
                yield TimeOfDay(hour, minute)


def departures() -> Iterator[Departure]:
    """Every minute from 13:01 to 23:59 but the full hours."""
    return (Departure(hour, minute) for hour in range(13, 24) for minute in range(1, 60))


def dates() -> Iterator[Date]:
    """Every day of a leap year."""
    return (Date(day, month) for month, days in enumerate(DAYS, 1) for day in range(1, days + 1))


def years() -> Iterator[Year]:
    """1950 to 2025."""
    return (Year(number) for number in range(1950, 2026))
