"""Which vectors a search may return: a subset of AIP-160."""

from __future__ import annotations


class Filter:
    """A condition on attributes."""

    text: str


def parse(text: str) -> Filter | None:
    """The filter that a text says; None for an empty one.

    Raises:
        BadRequest: it is not of the language; names the position and what was expected there.
    """
