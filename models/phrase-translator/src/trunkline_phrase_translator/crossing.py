"""Sentences whose slots hold what belongs elsewhere: "The coffee machine and my brother are tired".

A network that has seen one kind of word in a frame guesses that kind: it must translate what is there
instead. Nouns are drawn from any category of nouns and adjectives from any of adjectives, numbers from all
magnitudes, and some slots hold two members. What reads like a held-out template is never made.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final

from trunkline_phrases import FORMALITIES, LANGUAGES, Language, Template, templates
from trunkline_phrases.adjectives import Adjective
from trunkline_phrases.amounts import Number
from trunkline_phrases.fillers import Filler, Form, Style
from trunkline_phrases.lexicon import Phrases, lexicon, pick
from trunkline_phrases.nouns import Noun
from trunkline_phrases.wordings import FilledPhrase

_NOUNS: Final = (
    "amenity", "device", "dish", "event", "facility", "fruit", "meal", "openable", "person", "place", "room",
    "tableware", "thing", "vehicle",
)  # fmt: skip
_ADJECTIVES: Final = ("access", "colour", "condition", "mood", "opinion", "taste", "trait")
_NUMBERS: Final = ("amount", "count", "degree", "few")
_TIMES: Final = ("ago", "day", "today", "when", "venue", "floor", "practice")
"""Phrases of one form that stand for one another."""
_AND: Final[dict[Language, str]] = {"en": "and", "es": "y", "de": "und", "fr": "et"}
_OR: Final[dict[Language, str]] = {"en": "or", "es": "o", "de": "oder", "fr": "ou"}
_WITH: Final[dict[Language, str]] = {"en": "with", "es": "con", "de": "mit", "fr": "avec"}
_EXTENDED: Final = 0.4
"""Of crossed sentences, those in which a slot holds more than it should."""


@dataclass(frozen=True, slots=True)
class Both:
    """Two fillers in one slot, with a conjunction between them."""

    first: Filler
    second: Filler
    conjunction: Mapping[Language, str]

    @property
    def key(self) -> str:
        return f"{self.first.key} {self.second.key}"

    def say(self, style: Style, form: Form = ()) -> str:
        said = [
            filler.say(style, form) if form else filler.say(style) for filler in (self.first, self.second)
        ]
        return f" {self.conjunction[style.language]} ".join(said)

    def gender(self, language: Language) -> str:
        return self.second.gender(language)


@dataclass(frozen=True, slots=True)
class Described:
    """A noun with an adjective before or after it, as its language has it, or with something behind it."""

    noun: Noun
    adjective: Adjective | None = None
    position: Filler | None = None
    company: Noun | None = None

    @property
    def key(self) -> str:
        return self.noun.key

    def say(self, style: Style, form: Form = ("bare",)) -> str:
        form = form or ("bare",)
        counted = form[0] == "plural"
        said = self.noun.say(style, form, None if counted else self.adjective)
        if self.position is not None:
            said = f"{said} {self.position.say(style)}"
        if self.company is not None:
            with_whom = self.company.say(style, ("my", "dat") if style.language == "de" else ("my",))
            said = f"{said} {_WITH[style.language]} {with_whom}"
        return said

    def gender(self, language: Language) -> str:
        return self.noun.gender(language)


def cross(rng: Random, template: Template, fillers: Mapping[str, Filler]) -> dict[str, Filler] | None:
    """Other fillers for a template; None where they do not fit it, or make what a held-out template says."""
    crossed = {slot: _other(rng, filler) for slot, filler in fillers.items()}
    if crossed and rng.random() < _EXTENDED:
        slot = pick(rng, tuple(crossed))
        crossed[slot] = _extend(rng, crossed[slot], _other(rng, fillers[slot]))
    try:
        for language in LANGUAGES:
            for formality in FORMALITIES:
                style = Style(language, formality)
                template.say_before(style, crossed)
                if held_out_like(language, template.before is not None).fullmatch(
                    template.say(style, crossed)
                ):
                    return None
    except (LookupError, ValueError):
        # A noun that nobody counts has no plural; two nouns share no adjective.
        return None
    return crossed


def _extend(rng: Random, filler: Filler, other: Filler) -> Filler:
    if isinstance(filler, Noun) and rng.random() < 0.7:
        kind = rng.random()
        if kind < 0.5:
            adjective = lexicon()[pick(rng, _ADJECTIVES)].draw(rng)
            return Described(filler, adjective if isinstance(adjective, Adjective) else None)
        if kind < 0.8:
            return Described(filler, position=lexicon()["position"].draw(rng))
        return Described(filler, company=other if isinstance(other, Noun) else None)
    if isinstance(filler, Adjective) or filler.key == other.key:
        return filler
    return Both(filler, other, pick(rng, (_AND, _AND, _OR)))


def _other(rng: Random, filler: Filler) -> Filler:
    if isinstance(filler, Noun):
        return lexicon()[pick(rng, _NOUNS)].draw(rng)
    if isinstance(filler, Adjective):
        return lexicon()[pick(rng, _ADJECTIVES)].draw(rng)
    if isinstance(filler, Number) and filler.value > 10:
        return lexicon()[pick(rng, _NUMBERS)].draw(rng)
    if isinstance(filler, FilledPhrase):
        if filler.fillers:
            inner = {slot: _other(rng, filling) for slot, filling in filler.fillers.items()}
            return FilledPhrase(filler.phrase, inner)
        if id(filler.phrase) in _exchangeable():
            return lexicon()[pick(rng, _TIMES)].draw(rng)
        category = _homes().get(id(filler.phrase))
        return filler if category is None else lexicon()[category].draw(rng)
    return filler


@cache
def _exchangeable() -> frozenset[int]:
    return frozenset(place for name in _TIMES for place in _phrases_of(name))


@cache
def _homes() -> dict[int, str]:
    names = (name for name in lexicon() if name not in ("name", "please"))
    return {place: name for name in names for place in _phrases_of(name)}


def _phrases_of(name: str) -> frozenset[int]:
    category = lexicon()[name]
    if isinstance(category, Phrases):
        return frozenset(id(phrase) for phrase in category.phrases)
    return frozenset(id(member.phrase) for member in category.members if isinstance(member, FilledPhrase))


@cache
def held_out_like(language: Language, answers: bool) -> re.Pattern[str]:
    """What any held-out template may say, whatever fills it."""
    kept: set[str] = set()
    for template in (*templates("validation"), *templates("test")):
        if (template.before is not None) == answers:
            wording = template.sentence[language]
            for pattern in (wording.formal, wording.informal):
                kept.add(
                    "".join(re.escape(part) if isinstance(part, str) else ".+" for part in pattern.parts)
                )
    return re.compile("|".join(sorted(kept)), re.IGNORECASE)
