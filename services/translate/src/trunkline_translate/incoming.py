"""Text that comes in pieces, until it is sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

_UNSPACED: Final = ("THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts whose words are not parted by spaces, besides Chinese and Japanese, as the names of characters begin."""
_CLOSES: Final = re.compile(r"[,.;:!?\u2026)\]}]++(?!\w)")
"""What follows a word without a space; but `.NET` is a word."""
_BLANK: Final = 64
"""Most ids of white space that wait for the sentence behind it."""


class Splits(Protocol):
    """A `Sentences`. All it remembers is what it gave back of no sentence yet."""

    def feed(self, text: str) -> list[str]:
        """The sentences that are complete now."""
        ...

    def flush(self) -> list[str]:
        """What waits, as sentences."""
        ...


@dataclass(frozen=True, slots=True)
class Pending:
    """Text that is no sentence yet."""

    text: str = ""
    language: str = ""
    """As the client says it; empty where it does not."""
    pieces: tuple[tuple[str, int], ...] = ()
    """The id of each piece that the text was put together from, and how many of its characters are left."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A sentence."""

    text: str
    language: str
    """As the client says it; empty where it does not."""
    text_ids: tuple[str, ...]
    """Of the pieces that it was put together from."""


class Incoming:
    """Text that comes in pieces, until it is sentences.

    Args:
        sentences: finds sentences in text of a language (empty: any).
        pending: what came before.
    """

    def __init__(self, sentences: Callable[[str], Splits], pending: Pending) -> None:
        self._sentences = sentences
        self._language = pending.language
        self._text = pending.text
        self._pieces = list(pending.pieces)
        self._splits = sentences(pending.language)
        # Some, where what kept the text saw no end where this version does.
        self._early = self._taken(self._splits.feed(pending.text))
        self._before = pending

    @property
    def pending(self) -> Pending:
        """What waits."""
        if self._early:
            return self._before
        return Pending(self._text, self._language, tuple(self._pieces))

    @property
    def waits(self) -> bool:
        """True when there is a sentence to be made of what waits."""
        return bool(self._text or self._early)

    def add(
        self, text: str, text_id: str, language: str, *, joined: bool = False, more: bool = False
    ) -> list[Complete]:
        """Takes the next piece; the sentences that are complete now. Another language begins a sentence.

        Args:
            text: the piece.
            text_id: its id, or empty.
            language: as the client says it; empty where it does not.
            joined: True for words of their own: a space comes before them where the script wants one.
            more: True for more of the piece before.
        """
        complete = self._begin(language)
        if joined and self._text and _parted(self._text[-1], text):
            text = f" {text}"
        self._text += text
        if more and self._pieces and self._pieces[-1][0] == text_id:
            self._pieces[-1] = (text_id, self._pieces[-1][1] + len(text))
        else:
            # White space behind what was a sentence already belongs to no other because of it.
            self._pieces.append(("" if more and not text.strip() else text_id, len(text)))
        complete += self._taken(self._splits.feed(text))
        return complete

    def flush(self) -> list[Complete]:
        """What waits, as sentences."""
        complete, self._early = self._early, []
        complete += self._taken(self._splits.flush())
        self._text, self._pieces = "", []
        return complete

    def _begin(self, language: str) -> list[Complete]:
        if language == self._language:
            complete, self._early = self._early, []
            return complete
        complete = self.flush()
        self._language, self._splits = language, self._sentences(language)
        return complete

    def _taken(self, sentences: list[str]) -> list[Complete]:
        complete = []
        for sentence in sentences:
            end = self._text.index(sentence) + len(sentence)
            complete.append(Complete(sentence, self._language, self._cut(end)))
        self._cut(0)
        return complete

    def _cut(self, end: int) -> tuple[str, ...]:
        """Takes the text up to there, and the white space behind it; the ids of what it is from.

        The id of white space alone stays, for the sentence behind it.
        """
        ids: dict[str, None] = {}
        rest = self._text[end:].lstrip()
        gone = len(self._text) - len(rest)
        self._text = rest
        kept: list[tuple[str, int]] = []
        start = 0
        for text_id, length in self._pieces:
            left = min(length, max(0, start + length - gone))
            begun = start < end
            if begun:
                ids[text_id] = None
            if left or not begun:
                kept.append((text_id, left))
            start += length
        blank = sum(1 for _, length in kept if not length)
        self._pieces = kept[max(0, blank - _BLANK) :]
        ids.pop("", None)
        return tuple(ids)


def _parted(before: str, text: str) -> bool:
    """True when a space belongs between a character and a text that was said next."""
    after = text[:1]
    if not after.strip() or before.isspace() or _CLOSES.match(text):
        return False
    return not (_unspaced(before) and _unspaced(after))


def _unspaced(character: str) -> bool:
    name = unicodedata.name(character, "")
    return name.startswith(_UNSPACED) or (
        unicodedata.east_asian_width(character) in "WF" and not name.startswith("HANGUL")
    )
