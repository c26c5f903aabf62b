"""Where sentences end, on texts in six languages that were marked by hand."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from trunkline_translate.sentences import Sentences, split

DATA = Path(__file__).parent / "data" / "sentences"
LANGUAGES = ("de", "en", "es", "fr", "ja", "zh")


@dataclass
class Score:
    """Boundaries inside texts: found and right, found and wrong, missed."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def add(self, truth: set[int], found: set[int]) -> None:
        self.right += len(truth & found)
        self.wrong += len(found - truth)
        self.missed += len(truth - found)

    @property
    def f1(self) -> float:
        return 2 * self.right / (2 * self.right + self.wrong + self.missed)


def cases(language: str) -> list[str]:
    tables = tomllib.loads((DATA / f"{language}.toml").read_text())
    return [case for table in tables.values() for case in table]


def read(case: str) -> tuple[str, set[int]]:
    """The text of a case, and how many characters other than white space stand before each boundary."""
    marks, seen = set(), 0
    for character in case:
        if character == "|":
            marks.add(seen)
        elif not character.isspace():
            seen += 1
    return case.replace("|", ""), marks


def places(sentences: list[str]) -> set[int]:
    ends, seen = set(), 0
    for sentence in sentences[:-1]:
        seen += sum(not character.isspace() for character in sentence)
        ends.add(seen)
    return ends


def whole(text: str, language: str) -> list[str]:
    return [text[span.start : span.end] for span in split(text, language)]


def streamed(text: str, language: str) -> list[str]:
    sentences = Sentences(language)
    return [done for character in text for done in sentences.feed(character)] + sentences.flush()


def score(languages: tuple[str, ...], name: str | None = None) -> Score:
    total = Score()
    for language in languages:
        for case in cases(language):
            text, truth = read(case)
            total.add(truth, places(whole(text, language if name is None else name)))
    return total


def test_the_suite_has_at_least_three_hundred_cases_and_fifty_a_language():
    assert sum(len(cases(language)) for language in LANGUAGES) >= 300
    assert all(len(cases(language)) >= 50 for language in LANGUAGES)


def test_boundaries_are_found_with_an_f1_of_98_percent():
    assert score(LANGUAGES).f1 >= 0.98


@pytest.mark.parametrize("language", LANGUAGES)
def test_boundaries_are_found_with_an_f1_of_98_percent_in_every_language(language: str):
    assert score((language,)).f1 >= 0.98


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_that_arrives_letter_by_letter_has_the_same_sentences(language: str):
    for case in cases(language):
        text, _ = read(case)
        assert streamed(text, language) == whole(text, language), text
