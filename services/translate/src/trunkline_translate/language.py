"""Languages and the directions between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from typing import Final

_CODE: Final = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, slots=True, order=True)
class Direction:
    """From one language into another."""

    source: str
    """ISO 639-1, such as `en`."""
    target: str
    """ISO 639-1."""

    def __str__(self) -> str:
        return f"{self.source}-{self.target}"


def base(code: str) -> str:
    """The language of a BCP 47 tag: `en` of `en-GB`."""
    return code.split("-", 1)[0].lower()


def directions(text: str) -> frozenset[Direction]:
    """What a server translates, as a setting lists it: `en,es,de` for every direction between these languages,
    `en-es,es-en` for directions, or both; empty for none.

    Raises:
        ValueError: an element is neither a language nor two of them, or a language stands alone.
    """
    languages: list[str] = []
    found: set[Direction] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        codes = part.split("-")
        if not all(_CODE.fullmatch(code) for code in codes) or len(codes) > 2 or len(set(codes)) < len(codes):
            raise ValueError(f"{part!r} is neither a language (en) nor a direction (en-es)")
        if len(codes) == 2:
            found.add(Direction(*codes))
        else:
            languages.append(codes[0])
    if len(set(languages)) == 1:
        raise ValueError(f"{languages[0]!r} alone is no direction: name another language, or en-es")
    return frozenset(found | {Direction(*pair) for pair in permutations(dict.fromkeys(languages), 2)})
