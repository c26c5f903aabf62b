"""The categories that fill slots: read from data/lexicon, or made by counting."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from random import Random
from typing import Any, Final, TypeAlias, TypeVar

from trunkline_phrases import times
from trunkline_phrases.adjectives import Adjective
from trunkline_phrases.amounts import Number, Price
from trunkline_phrases.fillers import Filler
from trunkline_phrases.nouns import Noun
from trunkline_phrases.patterns import category_of
from trunkline_phrases.wordings import FilledPhrase, Phrase

T = TypeVar("T")


@dataclass(frozen=True)
class Things:
    """A category whose members are all there."""

    bands: tuple[tuple[Filler, ...], ...]
    """Drawn equally often, however many are in each: small numbers as often as large ones."""
    repeats: bool = False
    """Two slots of one text may hold the same."""

    @cached_property
    def members(self) -> tuple[Filler, ...]:
        return tuple(member for band in self.bands for member in band)

    def draw(self, rng: Random) -> Filler:
        return pick(rng, pick(rng, self.bands))


@dataclass(frozen=True)
class Phrases:
    """A category of expressions with slots of their own, filled when one is drawn."""

    phrases: tuple[Phrase, ...]
    repeats: bool = False

    def draw(self, rng: Random) -> Filler:
        phrase = pick(rng, self.phrases)
        return FilledPhrase(phrase, fill(phrase.slots, rng))


Category: TypeAlias = Things | Phrases


def pick(rng: Random, items: tuple[T, ...]) -> T:
    """One of them. Only `random()`, whose sequence Python promises to keep for a seed, is asked."""
    return items[int(rng.random() * len(items))]


def fill(slots: Iterable[str], rng: Random) -> dict[str, Filler]:
    """A filler for every slot.

    No two slots hold the same member of a category, inside phrases neither, unless the category repeats.
    """
    filled: dict[str, Filler] = {}
    taken: set[tuple[str, str]] = set()
    for slot in slots:
        category = lexicon()[category_of(slot)]
        filler = category.draw(rng)
        while not category.repeats and not taken.isdisjoint(members_of(slot, filler)):
            filler = category.draw(rng)
        taken.update(members_of(slot, filler))
        filled[slot] = filler
    return filled


def members_of(slot: str, filler: Filler) -> set[tuple[str, str]]:
    """What fills a slot, as category and key, and what fills the slots of a phrase there."""
    members = {(category_of(slot), filler.key)}
    if isinstance(filler, FilledPhrase):
        for name, inner in filler.fillers.items():
            members |= members_of(name, inner)
    return members


@cache
def lexicon() -> dict[str, Category]:
    """Every category by name.

    Raises:
        ValueError: an entry of the data cannot be read.
    """
    categories = dict(_counted())
    for path in sorted(
        (files("trunkline_phrases") / "data" / "lexicon").iterdir(), key=lambda path: path.name
    ):
        name = path.name.removesuffix(".toml")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        categories[name] = _READERS[table["kind"]](table["entries"])
    return categories


def _counted() -> dict[str, Category]:
    counts = tuple(Number(value) for value in range(2, 100))
    return {
        "digit": Things((tuple(Number(value) for value in range(10)),), repeats=True),
        "few": Things((counts[:11],)),
        "degree": Things((counts[3:39],)),
        "count": Things((counts[:11], counts[11:])),
        "number": Things(
            tuple(tuple(Number(value) for value in range(low, low * 10 or 10)) for low in (0, 10, 100, 1000))
        ),
        # Nothing that ends in one: German would have to inflect it.
        "amount": Things(
            (
                counts[:19],
                counts[19:],
                tuple(Number(value) for value in range(102, 1000) if value % 100 != 1),
                tuple(Number(value) for value in range(1002, 10000) if value % 100 != 1),
            )
        ),
        "price": Things(
            (
                tuple(Price(euros, 0) for euros in range(2, 100)),
                tuple(Price(euros, 0) for euros in range(102, 1000) if euros % 100 != 1),
                tuple(
                    Price(euros, cents) for euros in range(2, 60) for cents in (*range(10, 100, 10), 95, 99)
                ),
            )
        ),
        "clock": Things((tuple(times.clocks()),)),
        "daytime": Things((tuple(times.times_of_day()),)),
        "departure": Things((tuple(times.departures()),)),
        "date": Things((tuple(times.dates()),)),
        "month": _phrases({row[0]: list(row) for row in zip(*times.MONTHS.values(), strict=True)}),
        "year": Things((tuple(times.years()),)),
    }


def _nouns(entries: Mapping[str, list[str]]) -> Things:
    return Things((tuple(Noun.of(key, entry) for key, entry in entries.items()),))


def _adjectives(entries: Mapping[str, list[str]]) -> Things:
    return Things((tuple(Adjective.of(key, entry) for key, entry in entries.items()),))


def _phrases(entries: Mapping[str, object]) -> Category:
    phrases = tuple(Phrase.of(key, entry) for key, entry in entries.items())
    if any(phrase.slots for phrase in phrases):
        return Phrases(phrases)
    return Things((tuple(FilledPhrase(phrase, {}) for phrase in phrases),))


def _names(entries: Mapping[str, list[str]]) -> Things:
    """First names, the same in every language, under `f` and `m`."""
    phrases = (Phrase.named(name, gender) for gender, names in entries.items() for name in names)
    return Things((tuple(FilledPhrase(phrase, {}) for phrase in phrases),))


_READERS: Final[dict[str, Callable[[Any], Category]]] = {
    "noun": _nouns,
    "adjective": _adjectives,
    "phrase": _phrases,
    "name": _names,
}
