"""Adjectives: after a verb, instead of a noun (the red one, der rote), or in a noun phrase (see `nouns`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trunkline_phrases.fillers import Form, Style
from trunkline_phrases.languages import Language

WEAK_ENDINGS: Final = {
    "m": {"nom": "e"},
    "f": {"nom": "e", "acc": "e"},
    "n": {"nom": "e", "acc": "e"},
}
"""German, after der and dieser; -en where nothing is said."""


@dataclass(frozen=True, slots=True)
class Adjective:
    """An adjective. As a filler its form is the gender of what it is said of: ("f",).

    A German case before it, ("acc", "m"), makes it stand after der, die, das without a noun.
    """

    key: str
    article: str
    """English: a or an, if it comes first."""
    english: str
    spanish: dict[str, str]
    """By gender."""
    german: str
    """After a verb."""
    german_stem: str
    """Before an ending: teur for teuer."""
    french: dict[str, str]
    """By gender."""

    @classmethod
    def of(cls, key: str, entries: Sequence[str]) -> "Adjective":
        """From dictionary entries, for example a dirty | sucio, sucia | schmutzig | sale, sale.

        German gives its stem where the ending changes it: teuer, teur.
        """
        english, spanish, german, french = entries
        article, _, base = english.partition(" ")
        predicative, _, stem = german.partition(", ")
        return cls(
            key,
            article,
            base,
            dict(zip("mf", spanish.split(", "), strict=True)),
            predicative,
            stem or predicative,
            dict(zip("mf", french.split(", "), strict=True)),
        )

    def say(self, style: Style, form: Form = ()) -> str:
        if style.language == "en":
            return self.english
        if style.language == "de":
            return (
                self.german if len(form) < 2 else self.german_stem + WEAK_ENDINGS[form[1]].get(form[0], "en")
            )
        return (self.spanish if style.language == "es" else self.french)[form[-1]]

    def gender(self, language: Language) -> str:
        return "n"
