"""Phrases that no engine may touch: a placeholder stands for each while the sentence is translated.

A placeholder is one character of Unicode's private use area (U+E000 to U+F8FF), so that no cut through a text cuts
one. Engines spell it as their models know it, and give it back as it was. Characters of that area that the user
wrote are phrases themselves, so whatever placeholder is in an answer was put there here, or is made up.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from trunkline_hop.errors import BadRequest, FieldViolation

FIRST: Final = 0xE000
"""Stands for the first phrase of a sentence."""
LAST: Final = 0xF8FF
MOST: Final = LAST - FIRST + 1
"""Phrases of one sentence."""
_OWN: Final = re.compile(f"[{chr(FIRST)}-{chr(LAST)}]+")
_PLACEHOLDERS: Final = re.compile(f"[{chr(FIRST)}-{chr(LAST)}]")
# Scripts that put no space between words, and Hangul, whose particles are written together with the word.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff]"
)

_CONTRACTED: Final = re.compile("['\u2019]t(?!\\w)", re.IGNORECASE)
"""Behind a word makes it another one, as in `can't` and `won't`."""
_PARTS_DIGITS: Final = ".,"


class Kind(Enum):
    """Why a phrase is masked."""

    KEEP = "keep"
    """It stays as it is."""
    GLOSSARY = "glossary"
    """It has one translation only."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """What a placeholder stands for."""

    text: str
    """What it is in the translation."""
    kind: Kind


@dataclass(frozen=True, slots=True)
class Masked:
    """A sentence with placeholders."""

    text: str
    """The i-th placeholder is the character `FIRST + i`."""
    phrases: tuple[Phrase, ...]
    """What they stand for."""

    @property
    def translatable(self) -> bool:
        """False when no letter and no digit is left: it is the same in every language."""
        return any(unicodedata.category(character)[0] in "LN" for character in self.text)

    def restored(self) -> str:
        """The sentence as it is, but with the glossary's translations."""
        return Unmasker(self).feed(self.text)


def mask(text: str, keep: tuple[str, ...] = (), glossary: tuple[tuple[str, str], ...] = ()) -> Masked:
    """Puts placeholders into a sentence: whole words only, from left to right, at each place for the longest phrase.

    Args:
        text: the sentence.
        keep: phrases that stay as they are. Upper and lower case differ.
        glossary: terms with their translations. Upper and lower case do not differ. What is also in `keep` is kept.

    Raises:
        BadRequest: TEXT_TOO_LONG, there are more than `MOST` of them.
    """
    terms = _terms(keep, glossary)
    phrases: list[Phrase] = []
    pieces: list[str] = []
    place = 0
    for start, end, phrase in terms.found(text):
        if len(phrases) == MOST:
            wanted = f"expected a sentence with at most {MOST} phrases that are kept"
            raise BadRequest(f"text: {wanted}", [FieldViolation("text", wanted)], reason="TEXT_TOO_LONG")
        pieces += [text[place:start], chr(FIRST + len(phrases))]
        phrases.append(phrase)
        place = end
    pieces.append(text[place:])
    return Masked("".join(pieces), tuple(phrases))


def without_placeholders(text: str) -> str:
    """The text without any character that could be taken for a placeholder."""
    return _PLACEHOLDERS.sub("", text)


def one_placeholder(text: str) -> str:
    """The text with the same placeholder wherever there is one."""
    return _PLACEHOLDERS.sub(chr(FIRST), text)


class Unmasker:
    """Puts the phrases back into an answer, piece by piece."""

    def __init__(self, masked: Masked) -> None:
        self._phrases = masked.phrases
        self._seen: Counter[Phrase] = Counter()
        self._made_up = False

    def feed(self, delta: str) -> str:
        """The next piece with its phrases. A placeholder that stands for nothing is left out."""
        return _PLACEHOLDERS.sub(self._phrase, delta)

    def missing(self) -> frozenset[Kind]:
        """The kinds of phrases that were lost or came too often, until now."""
        wanted = Counter(self._phrases)
        return frozenset(
            phrase.kind for phrase in wanted | self._seen if wanted[phrase] != self._seen[phrase]
        )

    @property
    def intact(self) -> bool:
        """True when every phrase is there as often as it should be, and nothing was made up."""
        return not self._made_up and Counter(self._phrases) == self._seen

    def _phrase(self, found: re.Match[str]) -> str:
        number = ord(found[0]) - FIRST
        if number >= len(self._phrases):
            self._made_up = True
            return ""
        phrase = self._phrases[number]
        self._seen[phrase] += 1
        return phrase.text


class _Term(NamedTuple):
    """A phrase to look for."""

    words: list[str]
    """In lower case where that does not matter."""
    target: str | None
    """Its translation; None: it stays as it is."""

    def end(self, text: str, start: int) -> int:
        """Where it ends when it begins at a place of the text, else 0. Any white space is as good as another."""
        place = start
        for number, word in enumerate(self.words):
            if number:
                words = place
                while text[place : place + 1].isspace():
                    place += 1
                if place == words:
                    return 0
            if not text.startswith(word, place):
                return 0
            place += len(word)
        return place


class _Terms:
    """What is to be masked, by its first character in lower case.

    No regular expression: compiling one of 200 terms took 70 ms, in which nobody else is served.
    """

    def __init__(self, keep: tuple[str, ...], glossary: tuple[tuple[str, str], ...]) -> None:
        self._terms: dict[str, list[_Term]] = {}
        terms = [_Term(text.split(), None) for text in keep]
        terms += [_Term(_lower(text).split(), target) for text, target in glossary]
        # Sorting is stable, so that of two alike the kept one is first.
        terms.sort(key=lambda term: -len(" ".join(term.words)))
        for term in terms:
            if term.words:
                self._terms.setdefault(_lower(term.words[0][0]), []).append(term)

    def found(self, text: str) -> Iterator[tuple[int, int, Phrase]]:
        """Start, end and phrase of everything that is masked, from left to right."""
        lower = _lower(text)
        place = 0
        for start, character in enumerate(lower):
            if start < place:
                continue
            if character in self._terms and (found := self._at(text, lower, start)):
                place = found[0]
                yield start, *found
            elif own := _OWN.match(text, start):
                place = own.end()
                yield start, place, Phrase(own[0], Kind.KEEP)

    def _at(self, text: str, lower: str, start: int) -> tuple[int, Phrase] | None:
        """End and phrase of the longest term that is there."""
        if _joined(text, start):
            return None
        for term in self._terms[lower[start]]:
            end = term.end(text if term.target is None else lower, start)
            if end and not _joined(text, end) and not _CONTRACTED.match(text, end):
                if term.target is None:
                    return end, Phrase(text[start:end], Kind.KEEP)
                return end, Phrase(term.target, Kind.GLOSSARY)
        return None


@lru_cache(maxsize=256)
def _terms(keep: tuple[str, ...], glossary: tuple[tuple[str, str], ...]) -> _Terms:
    # A conversation has the same ones in every sentence.
    return _Terms(keep, glossary)


def _lower(text: str) -> str:
    """The text in lower case, character by character."""
    lower = text.lower()
    if len(lower) != len(text):
        lower = "".join(low if len(low := character.lower()) == 1 else character for character in text)
    return lower.replace("\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}")


def _joined(text: str, place: int) -> bool:
    """True when the characters before and at a place belong to one word."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if unicodedata.category(after)[0] == "M":
        return True
    # A number is one word with what parts its digits.
    if after in _PARTS_DIGITS:
        return before.isdecimal() and text[place + 1 : place + 2].isdecimal()
    if before in _PARTS_DIGITS:
        return after.isdecimal() and text[max(place - 2, 0) : place - 1].isdecimal()
    return _wordy(before) and _wordy(after) and not (_UNSPACED.match(before) or _UNSPACED.match(after))


def _wordy(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LNM"
