"""Noun phrases: determiner, adjective and noun, in gender, case and elision.

A form is a determiner and, where it is not the plain one, a case:

| determiner | a, the, this, my, your (by formality), bare (none), plural (none) |
|---|---|
| case, German | nom (unsaid), acc, dat, to (zum, zur), from (vom, von der), in (im, in der), at (am, an der) |
| case, Spanish, French | to (al, au), of (del, du) |

Dictionary entries carry what cannot be known from the word: `a suitcase, suitcases`, `la maleta,
maletas`, `der Koffer, Koffer`, `la valise, valises`. What an article hides is said after it: `el agua
(f), aguas`, `l'hôtel (m), hôtels`. A German noun of the n-declension gives its other singular third.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trunkline_phrases.adjectives import WEAK_ENDINGS, Adjective
from trunkline_phrases.fillers import Form, Style
from trunkline_phrases.languages import Formality, Language

GERMAN_ARTICLES: Final = {
    "the": {
        "m": {"nom": "der", "acc": "den", "dat": "dem", "to": "zum", "from": "vom", "in": "im", "at": "am"},
        "f": {
            "nom": "die",
            "acc": "die",
            "dat": "der",
            "to": "zur",
            "from": "von der",
            "in": "in der",
            "at": "an der",
        },
        "n": {"nom": "das", "acc": "das", "dat": "dem", "to": "zum", "from": "vom", "in": "im", "at": "am"},
    },
    "this": {
        "m": {"nom": "dieser", "acc": "diesen", "dat": "diesem"},
        "f": {"nom": "diese", "acc": "diese", "dat": "dieser"},
        "n": {"nom": "dieses", "acc": "dieses", "dat": "diesem"},
    },
    # The endings of ein, which mein, dein and Ihr share.
    "a": {
        "m": {"nom": "", "acc": "en", "dat": "em"},
        "f": {"nom": "e", "acc": "e", "dat": "er"},
        "n": {"nom": "", "acc": "", "dat": "em"},
    },
}
MIXED_ENDINGS: Final = {
    "m": {"nom": "er"},
    "f": {"nom": "e", "acc": "e"},
    "n": {"nom": "es", "acc": "es"},
}
"""Of adjectives after ein, mein, dein and Ihr; -en where nothing is said."""
GERMAN_POSSESSIVES: Final[dict[Formality, str]] = {"formal": "Ihr", "informal": "dein"}
SPANISH_DETERMINERS: Final = {
    "a": {"m": "un", "f": "una"},
    "this": {"m": "este", "f": "esta"},
    "my": {"m": "mi", "f": "mi"},
}
SPANISH_POSSESSIVES: Final[dict[Formality, str]] = {"formal": "su", "informal": "tu"}
FRENCH_ARTICLES: Final = {
    "": {"m": "le", "f": "la", "elided": "l'"},
    "to": {"m": "au", "f": "à la", "elided": "à l'"},
    "of": {"m": "du", "f": "de la", "elided": "de l'"},
}
FRENCH_DETERMINERS: Final = {
    # The third before a vowel sound: cet hôtel; mon adresse although it is feminine.
    "this": {"m": "ce", "f": "cette", "elided m": "cet", "elided f": "cette"},
    "my": {"m": "mon", "f": "ma", "elided m": "mon", "elided f": "mon"},
    "formal": {"m": "votre", "f": "votre", "elided m": "votre", "elided f": "votre"},
    "informal": {"m": "ton", "f": "ta", "elided m": "ton", "elided f": "ton"},
}
_ENTRY: Final = re.compile(
    r"(?P<article>an?|el|la|der|die|das|le|l')\s?(?P<noun>[^(]+?)(?: \((?P<gender>[mf])\))?"
)
_GENDERS: Final = {"el": "m", "la": "f", "der": "m", "die": "f", "das": "n", "le": "m", "a": "n", "an": "n"}


@dataclass(frozen=True, slots=True)
class Word:
    """A noun in one language."""

    article: str
    """As in the dictionary; in English the indefinite one."""
    singular: str
    gender: str
    plural: str
    oblique: str
    """German: accusative and dative singular."""

    @classmethod
    def of(cls, entry: str) -> "Word":
        """Reads a dictionary entry.

        Raises:
            ValueError: it is none.
        """
        head, *others = entry.split(", ")
        match = _ENTRY.fullmatch(head)
        if match is None or len(others) > 2:
            raise ValueError(f"not a dictionary entry: {entry!r}")
        gender = match["gender"] or _GENDERS.get(match["article"])
        if gender is None:
            raise ValueError(f"an entry with l' needs its gender: {entry!r}")
        singular = match["noun"]
        return cls(
            match["article"],
            singular,
            gender,
            others[0] if others else "",
            others[1] if len(others) == 2 else singular,
        )


@dataclass(frozen=True, slots=True)
class Noun:
    """A countable noun in all languages. Its plural may be empty, where nobody counts it."""

    key: str
    words: dict[Language, Word]

    @classmethod
    def of(cls, key: str, entries: Sequence[str]) -> "Noun":
        english, spanish, german, french = (Word.of(entry) for entry in entries)
        return cls(key, {"en": english, "es": spanish, "de": german, "fr": french})

    def gender(self, language: Language) -> str:
        return self.words[language].gender

    def say(self, style: Style, form: Form = ("bare",), adjective: Adjective | None = None) -> str:
        word = self.words[style.language]
        determiner, case = (*form, "")[:2]
        if determiner == "plural":
            if not word.plural:
                raise KeyError(f"{self.key} has no plural")
            return _dative_plural(word.plural) if case == "dat" else word.plural
        if style.language == "en":
            return _english(word, determiner, adjective)
        if style.language == "es":
            return _spanish(word, determiner, case, adjective, style.formality)
        if style.language == "de":
            return _german(word, determiner, case or "nom", adjective, style.formality)
        return _french(word, determiner, case, adjective, style.formality)


def _dative_plural(plural: str) -> str:
    return plural if plural.endswith(("n", "s")) else f"{plural}n"


def _english(word: Word, determiner: str, adjective: Adjective | None) -> str:
    noun = f"{adjective.english} {word.singular}" if adjective else word.singular
    if determiner == "bare":
        return noun
    if determiner == "a":
        return f"{adjective.article if adjective else word.article} {noun}"
    return f"{ {'the': 'the', 'this': 'this', 'my': 'my', 'your': 'your'}[determiner] } {noun}"


def _spanish(
    word: Word, determiner: str, case: str, adjective: Adjective | None, formality: Formality
) -> str:
    noun = f"{word.singular} {adjective.spanish[word.gender]}" if adjective else word.singular
    preposition = {"": "", "to": "a ", "of": "de "}[case]
    if determiner == "bare":
        return preposition + noun
    if determiner == "the":
        if word.article == "el" and case:
            return f"{ {'to': 'al', 'of': 'del'}[case] } {noun}"
        return f"{preposition}{word.article} {noun}"
    if determiner == "your":
        return f"{preposition}{SPANISH_POSSESSIVES[formality]} {noun}"
    return f"{preposition}{SPANISH_DETERMINERS[determiner][word.gender]} {noun}"


def _german(word: Word, determiner: str, case: str, adjective: Adjective | None, formality: Formality) -> str:
    noun = word.singular if case == "nom" else word.oblique
    if determiner == "bare":
        return noun
    if determiner in ("the", "this"):
        article, endings = GERMAN_ARTICLES[determiner][word.gender][case], WEAK_ENDINGS
    else:
        stem = {"a": "ein", "my": "mein", "your": GERMAN_POSSESSIVES[formality]}[determiner]
        article, endings = stem + GERMAN_ARTICLES["a"][word.gender][case], MIXED_ENDINGS
    if adjective:
        noun = f"{adjective.german_stem}{endings[word.gender].get(case, 'en')} {noun}"
    return f"{article} {noun}"


def _french(word: Word, determiner: str, case: str, adjective: Adjective | None, formality: Formality) -> str:
    noun = f"{word.singular} {adjective.french[word.gender]}" if adjective else word.singular
    elided = word.article == "l'"
    if determiner == "bare":
        return noun
    if determiner == "the":
        article = FRENCH_ARTICLES[case]["elided" if elided else word.gender]
        return article + ("" if elided else " ") + noun
    if determiner == "a":
        return f"{'un' if word.gender == 'm' else 'une'} {noun}"
    row = FRENCH_DETERMINERS[formality if determiner == "your" else determiner]
    article = row[f"elided {word.gender}" if elided else word.gender]
    return f"{ {'': '', 'to': 'à ', 'of': 'de '}[case] }{article} {noun}"
