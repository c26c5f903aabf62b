"""What is said to a stranger and what to a friend, and phrases made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from trunkline_phrases.fillers import Filler, Form, Style
from trunkline_phrases.languages import LANGUAGES, Formality, Language
from trunkline_phrases.patterns import Pattern

Written: TypeAlias = str | Mapping[str, str]
"""One text, or one under `formal` and one under `informal`."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A pattern for each way of addressing people; the same one where it makes no difference."""

    formal: Pattern
    informal: Pattern

    @classmethod
    def of(cls, written: Written) -> "Wording":
        """Reads it.

        Raises:
            ValueError: a text is no pattern, or one of the two is missing.
        """
        if isinstance(written, str):
            pattern = Pattern.parse(written)
            return cls(pattern, pattern)
        if set(written) != {"formal", "informal"}:
            raise ValueError(f"formal and informal are needed, not {sorted(written)}")
        return cls(Pattern.parse(written["formal"]), Pattern.parse(written["informal"]))

    def to(self, formality: Formality) -> Pattern:
        return self.formal if formality == "formal" else self.informal

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.formal.slots, *self.informal.slots)))


@dataclass(frozen=True)
class Phrase:
    """An expression with, in each language, its forms and their wording. It may have slots of its own."""

    key: str
    forms: dict[Language, dict[Form, Wording]]
    sex: str = "n"
    """m or f, of a person: the gender in all languages."""

    @classmethod
    def of(cls, key: str, entry: object) -> "Phrase":
        """From a row of four texts, or a table by language of texts or of tables by form.

        Raises:
            ValueError: it is neither.
        """
        if isinstance(entry, list):
            entry = dict(zip(LANGUAGES, entry, strict=True))
        if not isinstance(entry, dict) or set(entry) != set(LANGUAGES):
            raise ValueError(f"{key}: a phrase is a row or a table of {', '.join(LANGUAGES)}")
        return cls(key, {language: _forms(entry[language]) for language in LANGUAGES})

    @classmethod
    def named(cls, name: str, gender: str) -> "Phrase":
        """Somebody's first name, the same in all languages. English has the form `s`: Maria's."""
        forms = {language: _forms(name) for language in LANGUAGES}
        forms["en"][("s",)] = Wording.of(f"{name}'s")
        return cls(name, forms, gender)

    def wording(self, language: Language, form: Form = ()) -> Wording:
        """The wording of a form, or the plain one where a language has not this one.

        Raises:
            KeyError: it has neither.
        """
        forms = self.forms[language]
        return forms[form] if form in forms else forms[()]

    @cached_property
    def slots(self) -> tuple[str, ...]:
        wordings = (wording for forms in self.forms.values() for wording in forms.values())
        return tuple(dict.fromkeys(slot for wording in wordings for slot in wording.slots))


@dataclass(frozen=True, slots=True)
class FilledPhrase:
    """A phrase with its own slots filled: itself a filler."""

    phrase: Phrase
    fillers: Mapping[str, Filler]

    @property
    def key(self) -> str:
        return self.phrase.key

    def say(self, style: Style, form: Form = ()) -> str:
        return self.phrase.wording(style.language, form).to(style.formality).say(style, self.fillers)

    def gender(self, language: Language) -> str:
        return self.phrase.sex


def _forms(written: object) -> dict[Form, Wording]:
    if isinstance(written, str):
        return {(): Wording.of(written)}
    if not isinstance(written, dict):
        raise ValueError(f"a text or a table of forms is needed, not {written!r}")
    if set(written) == {"formal", "informal"}:
        return {(): Wording.of(written)}
    return {(form,) if form else (): Wording.of(wording) for form, wording in written.items()}
