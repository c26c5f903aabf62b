"""Where sentences end, in a text that is there and in one that arrives."""

from __future__ import annotations

import re
from typing import NamedTuple

_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？｡．]+[」』”’）]*(?=[^」』”’）。！？｡．])|\n\s*\n")
LONGEST = 400
"""Characters of the longest sentence, unless somebody wants another limit."""


class Span(NamedTuple):
    """Where a sentence is in a text: without the white space around it."""

    start: int
    end: int
    """The first character after it."""


def split(text: str, language: str = "", longest: int = LONGEST) -> list[Span]:
    """The sentences of a whole text, in order. What lies between them, before and behind, is white space only.

    Args:
        text: any text. One of white space only has no sentence.
        language: ISO 639-1, for its abbreviations and ordinals; empty or unknown: what is common to all.
        longest: a longer sentence is cut where it does least harm.
    """
    spans = []
    start = 0
    while start < len(text):
        found = _END.search(text, start)
        end = found.end() if found else len(text)
        body = text[start:end]
        if body.strip():
            spans.append(Span(start + len(body) - len(body.lstrip()), start + len(body.rstrip())))
        start = end
    return spans


class Sentences:
    """The sentences of a text that arrives in pieces. How it is cut into pieces makes no difference.

    All it remembers is `pending`: a new one that is fed the `pending` of another goes on where that one was.

    Args:
        language: as `split`'s.
        longest: as `split`'s.
    """

    def __init__(self, language: str = "", longest: int = LONGEST) -> None:
        self.language = language
        self.longest = longest
        self._pending = ""

    @property
    def pending(self) -> str:
        """What arrived and is no complete sentence yet, without the white space before it."""
        return self._pending

    def feed(self, text: str) -> list[str]:
        """Takes the next piece of the text, and gives the sentences that are complete now.

        A sentence is complete when what follows it shows that it ended: a full stop at the end of a piece is not
        enough.
        """
        self._pending = (self._pending + text).lstrip()
        spans = split(self._pending, self.language, self.longest)
        complete = [self._pending[span.start : span.end] for span in spans[:-1]]
        if spans:
            self._pending = self._pending[spans[-1].start :]
        return complete

    def flush(self) -> list[str]:
        """Ends the text here: what waits is a sentence now (more than one where the end tells that it was)."""
        rest, self._pending = self._pending, ""
        return [rest[span.start : span.end] for span in split(rest, self.language, self.longest)]
