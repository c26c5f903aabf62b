"""Marks at which a sentence may end."""

from __future__ import annotations

import re
from dataclasses import dataclass

LOOK = 64
"""Characters from the beginning of a mark on that are looked at: what is undecided then is decided by what is there."""

MARK = re.compile(r"[.!?…‥。！？｡．‼⁇⁈⁉؟।]+|[\n\u2028\u2029]")
"""Where a sentence may end."""

CJK = re.compile(
    r"[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d]"
)
"""A letter of Chinese or Japanese."""
CJK_OPENERS = "「『（《〈【〔［“"
"""Quotes and brackets that open in Chinese or Japanese."""
BLANK_LINE = re.compile(r"\n[^\S\n]*\n|\u2029")
"""The end of a paragraph."""
WORD = re.compile(r"[^\W\d_]+")
"""Letters."""
TOKEN = re.compile(r"(?:\w+['’](?=[a-z]{1,2}\Z))?[^\s\"'“”„‚‘’«»‹›()\[\]{}¿¡—–/]*\Z")
"""The last word with its stops; `isn't` is one."""


@dataclass(frozen=True, slots=True)
class Place:
    """A mark in a text.

    Only `text[start:]` counts, and of that only what is in the view: `LOOK` characters from the mark's beginning on.
    """

    text: str
    """The text, cut at the end of the view."""
    start: int
    """Where the sentence begins."""
    mark: int
    """Where the mark begins."""
    after: int
    """The first character behind the mark."""
    closed: bool
    """True when nothing else will come into view."""

    def at_end(self, position: int) -> bool:
        return position >= len(self.text)


def place(text: str, start: int, mark: re.Match[str], *, final: bool) -> Place:
    """A mark that `MARK` found in a text, as it is judged.

    Args:
        text: what there is of the text.
        start: where the sentence begins.
        mark: the mark.
        final: True when the text is complete.
    """
    view = mark.start() + LOOK
    return Place(text[:view], start, mark.start(), min(mark.end(), view), final or len(text) >= view)


def skip_space(text: str, position: int) -> int:
    """The first character that is no white space, from a position on; the end of the text where there is none."""
    while position < len(text) and text[position].isspace():
        position += 1
    return position
