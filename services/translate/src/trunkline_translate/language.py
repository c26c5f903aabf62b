"""Languages and the directions between them."""

from __future__ import annotations

from dataclasses import dataclass


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
