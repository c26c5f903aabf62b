"""The sentence templates: data/templates, a file a family."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from trunkline_phrases.fillers import Filler, Style
from trunkline_phrases.languages import LANGUAGES, Language, Part
from trunkline_phrases.split import part_of
from trunkline_phrases.wordings import Wording


@dataclass(frozen=True)
class Template:
    """A sentence with slots in all languages, maybe with the sentence before it."""

    id: str
    """Family and name: hotel.room-nights. Never used again for another sentence."""
    family: str
    part: Part
    sentence: Mapping[Language, Wording]
    before: Mapping[Language, Wording] | None = None
    """What was said before, without which the sentence cannot be translated right."""

    @cached_property
    def slots(self) -> tuple[str, ...]:
        """Slots of the sentence before and of the sentence; a slot of the same name holds the same."""
        both = (*(self.before or {}).values(), *self.sentence.values())
        return tuple(dict.fromkeys(slot for wording in both for slot in wording.slots))

    def say(self, style: Style, fillers: Mapping[str, Filler]) -> str:
        """The sentence, with a capital.

        Raises:
            KeyError: a slot has no filler, or its filler no such form.
        """
        return _capital(self.sentence[style.language].to(style.formality).say(style, fillers))

    def say_before(self, style: Style, fillers: Mapping[str, Filler]) -> str | None:
        """The sentence before, if there is one."""
        if self.before is None:
            return None
        return _capital(self.before[style.language].to(style.formality).say(style, fillers))


@cache
def templates(part: Part | None = None) -> tuple[Template, ...]:
    """All of them, or those of a part of the split, by family and then as they stand in its file.

    Raises:
        ValueError: a file of the data is no set of templates.
    """
    if part is not None:
        return tuple(template for template in templates() if template.part == part)
    found: list[Template] = []
    for path in sorted(
        (files("trunkline_phrases") / "data" / "templates").iterdir(), key=lambda path: path.name
    ):
        family = path.name.removesuffix(".toml")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        found.extend(_read(family, name, entry) for name, entry in table.items())
    return tuple(found)


def families() -> tuple[str, ...]:
    """The names of the families, in alphabetical order."""
    return tuple(dict.fromkeys(template.family for template in templates()))


def _read(family: str, name: str, entry: Mapping[str, object]) -> Template:
    identity = f"{family}.{name}"
    if set(entry) - {"before"} != set(LANGUAGES):
        raise ValueError(f"{identity}: a template is a table of {', '.join(LANGUAGES)} and maybe before")
    before = entry.get("before")
    return Template(
        identity, family, part_of(identity), _wordings(entry), None if before is None else _wordings(before)
    )


def _wordings(table: Any) -> dict[Language, Wording]:
    return {language: Wording.of(table[language]) for language in LANGUAGES}


def _capital(text: str) -> str:
    start = 1 if text.startswith(("¿", "¡")) else 0
    return text[:start] + text[start : start + 1].upper() + text[start + 1 :]
