"""What the grammar can say: its words, and how many sentences."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import product

from trunkline_phrases.fillers import Filler, Style
from trunkline_phrases.languages import FORMALITIES, Language, Part
from trunkline_phrases.lexicon import Phrases, lexicon
from trunkline_phrases.patterns import Pattern, Slot, category_of
from trunkline_phrases.spoken import words
from trunkline_phrases.templates import Template, templates
from trunkline_phrases.wordings import Wording


@cache
def vocabulary(language: Language, part: Part | None = None) -> frozenset[str]:
    """Every spoken word of a language that the templates, all or those of a part, can say."""
    return frozenset[str]().union(*(words_of(template, language) for template in templates(part)))


def words_of(template: Template, language: Language) -> frozenset[str]:
    """Every spoken word that a template, what was said before included, can say."""
    wordings = [template.sentence[language]]
    if template.before is not None:
        wordings.append(template.before[language])
    return frozenset[str]().union(*(_of_wording(wording, language) for wording in wordings))


def sentence_count(template: Template) -> int:
    """In how many ways its slots can be filled; what two phrases may not both hold is counted twice."""
    return _fillings(template.slots)


def _fillings(slots: Iterable[str]) -> int:
    total = 1
    seen: dict[str, int] = {}
    for slot in slots:
        name = category_of(slot)
        category = lexicon()[name]
        if isinstance(category, Phrases):
            total *= sum(_fillings(phrase.slots) for phrase in category.phrases)
        else:
            total *= len(category.members) - (0 if category.repeats else seen.get(name, 0))
        seen[name] = seen.get(name, 0) + 1
    return total


def _of_wording(wording: Wording, language: Language) -> frozenset[str]:
    styles = [Style(language, formality) for formality in FORMALITIES]
    return frozenset[str]().union(*(_of_pattern(wording.to(style.formality), style) for style in styles))


def _of_pattern(pattern: Pattern, style: Style) -> frozenset[str]:
    found: set[str] = set()
    for part in pattern.parts:
        if isinstance(part, str):
            found.update(words(part, style.language))
        else:
            # number2 says what number says.
            found.update(_of_slot(replace(part, name=part.category), style))
    return frozenset(found)


@cache
def _of_slot(slot: Slot, style: Style) -> frozenset[str]:
    category = lexicon()[slot.category]
    if isinstance(category, Phrases):
        wordings = [phrase.wording(style.language, slot.form) for phrase in category.phrases]
        patterns = [wording.to(style.formality) for wording in wordings]
        return frozenset[str]().union(*(_of_pattern(pattern, style) for pattern in patterns))
    # What it stands with: adjectives, or what it agrees with.
    others = [_members(name) for name in slot.slots[1:]]
    said = (
        slot.say(style, dict(zip(slot.slots, fillers, strict=True)))
        for fillers in product(category.members, *others)
    )
    return frozenset(words(" ".join(said), style.language))


def _members(slot: str) -> tuple[Filler, ...]:
    category = lexicon()[category_of(slot)]
    if isinstance(category, Phrases):
        raise TypeError(f"{slot} agrees or is agreed with, so its category must be of things")
    return category.members
