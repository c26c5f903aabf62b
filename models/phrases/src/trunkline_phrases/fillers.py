"""What fills a slot: something that knows how it is said in every language and in every form."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from trunkline_phrases.languages import Formality, Language

Form: TypeAlias = tuple[str, ...]
"""The names of a form, as a template writes them after a dot: ("my", "acc")."""


@dataclass(frozen=True, slots=True)
class Style:
    """In which language, and to whom."""

    language: Language
    formality: Formality = "formal"


class Filler(Protocol):
    """One thing to say, in parallel in all languages."""

    @property
    def key(self) -> str:
        """Tells it from the others of its category."""
        ...

    def say(self, style: Style, form: Form = ()) -> str:
        """The words of a form.

        Raises:
            KeyError: it has no such form in that language.
        """
        ...

    def gender(self, language: Language) -> str:
        """m, f or n; n where nothing agrees with it."""
        ...
