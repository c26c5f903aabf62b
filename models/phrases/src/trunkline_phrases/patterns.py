r"""Text with slots, as templates and phrases are written.

| written | says |
|---|---|
| `{city}` | the filler of the slot `city`, in its plain form |
| `{city.from}` | in another form; forms are those of its category |
| `{thing.my.acc+colour}` | a noun phrase with the adjective that fills `colour` |
| `{state~thing}` | the filler of `state`, agreeing with that of `thing` |
| `{thing\|lo\|la}` | a choice by the gender of `thing`: masculine, feminine and, if there is a third, neuter |

A slot is named after the category that fills it; `city2` is another of the same category.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trunkline_phrases.adjectives import Adjective
from trunkline_phrases.fillers import Filler, Form, Style
from trunkline_phrases.nouns import Noun

_SLOT: Final = re.compile(
    r"\{(?P<name>[a-z_]+\d?)"
    r"(?:(?P<form>(?:\.[a-z]+)*)(?:\+(?P<adjective>[a-z]+))?(?:~(?P<agrees>[a-z_]+\d?))?|(?P<choices>(?:\|[^|{}]*)+))\}"
)
GENDERS: Final = "mfn"


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a text, to be filled."""

    name: str
    form: Form = ()
    adjective: str | None = None
    """The slot whose adjective stands in this noun phrase."""
    agrees: str | None = None
    """The slot whose gender this one takes."""
    choices: tuple[str, ...] = ()
    """What is said instead, by gender."""

    @property
    def category(self) -> str:
        return category_of(self.name)

    @property
    def slots(self) -> tuple[str, ...]:
        """Every slot that must be filled to say it."""
        return tuple(name for name in (self.name, self.adjective, self.agrees) if name)

    def say(self, style: Style, fillers: Mapping[str, Filler]) -> str:
        filler = fillers[self.name]
        if self.choices:
            return self.choices[GENDERS.index(filler.gender(style.language))]
        if self.agrees:
            return filler.say(style, (*self.form, fillers[self.agrees].gender(style.language)))
        if self.adjective is None:
            return filler.say(style, self.form) if self.form else filler.say(style)
        adjective = fillers[self.adjective]
        if not isinstance(filler, Noun) or not isinstance(adjective, Adjective):
            raise ValueError(f"{self.name}+{self.adjective} is not a noun with an adjective")
        return filler.say(style, self.form, adjective)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text with slots."""

    parts: tuple[str | Slot, ...]

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Reads a text.

        Raises:
            ValueError: something in braces is not a slot, or braces do not match.
        """
        parts: list[str | Slot] = []
        end = 0
        for match in _SLOT.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            parts.append(
                Slot(
                    match["name"],
                    tuple((match["form"] or "").split(".")[1:]),
                    match["adjective"],
                    match["agrees"],
                    tuple((match["choices"] or "").split("|")[1:]),
                )
            )
        parts.append(text[end:])
        if any("{" in part or "}" in part for part in parts if isinstance(part, str)):
            raise ValueError(f"a brace that opens or closes no slot: {text!r}")
        return cls(tuple(part for part in parts if part))

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of its slots, each once, in the order of the text."""
        names = (name for part in self.parts if isinstance(part, Slot) for name in part.slots)
        return tuple(dict.fromkeys(names))

    def say(self, style: Style, fillers: Mapping[str, Filler]) -> str:
        """The text with every slot filled.

        Raises:
            KeyError: a slot has no filler, or its filler no such form.
        """
        return "".join(part if isinstance(part, str) else part.say(style, fillers) for part in self.parts)


def category_of(slot: str) -> str:
    """city for city2."""
    return slot.rstrip("0123456789")
