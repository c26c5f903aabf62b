"""Which templates are held out: data/split.toml, by id, so that new templates change nothing for old ones."""

import tomllib
from functools import cache
from importlib.resources import files

from trunkline_phrases.languages import Part


def part_of(template: str) -> Part:
    """Where a template is used, by its id: training, unless the split holds it out."""
    return held_out().get(template, "train")


@cache
def held_out() -> dict[str, Part]:
    """Every id of the split, with its part.

    Raises:
        ValueError: an id is in both parts.
    """
    table = tomllib.loads((files("trunkline_phrases") / "data" / "split.toml").read_text(encoding="utf-8"))
    parts: dict[str, Part] = dict.fromkeys(table["validation"], "validation")
    for template in table["test"]:
        if template in parts:
            raise ValueError(f"{template} is held out for validation and for test")
        parts[template] = "test"
    return parts
