"""Sentences at random, the same for a seed on every machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from trunkline_phrases.fillers import Filler, Style
from trunkline_phrases.languages import FORMALITIES, LANGUAGES, Formality, Language, Part
from trunkline_phrases.lexicon import fill, pick
from trunkline_phrases.templates import Template, families, templates


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence in several languages."""

    template: str
    """The id of its template."""
    formality: Formality | None
    """How it, or what was said before, addresses somebody; None where all languages say it the same."""
    texts: Mapping[Language, str]
    before: Mapping[Language, str] | None
    """What was said before, where the translation depends on it."""

    @property
    def family(self) -> str:
        return self.template.partition(".")[0]


def sample(rng: Random, split: Part = "train", languages: Sequence[Language] = LANGUAGES) -> Sentence:
    """One sentence: a family, one of its templates, what fills it, and a formality, each drawn evenly.

    The draw does not depend on the languages: the same state of `rng` gives the same sentence in others.
    """
    template = pick(rng, pick(rng, _by_family(split)))
    fillers = fill(template.slots, rng)
    return realise(template, fillers, pick(rng, FORMALITIES), languages)


def realise(
    template: Template,
    fillers: Mapping[str, Filler],
    formality: Formality,
    languages: Sequence[Language] = LANGUAGES,
) -> Sentence:
    """A template, filled.

    Raises:
        KeyError: a slot has no filler, or its filler no such form.
    """
    texts = {language: template.say(Style(language, formality), fillers) for language in languages}
    before = {
        language: text
        for language in languages
        if (text := template.say_before(Style(language, formality), fillers)) is not None
    }
    # French tells the two apart wherever another language does, and in its please besides.
    addresses = any(
        say(Style("fr", "formal"), fillers) != say(Style("fr", "informal"), fillers)
        for say in (template.say, template.say_before)
    )
    return Sentence(template.id, formality if addresses else None, texts, before or None)


@cache
def _by_family(part: Part) -> tuple[tuple[Template, ...], ...]:
    return tuple(
        members
        for family in families()
        if (members := tuple(template for template in templates(part) if template.family == family))
    )
