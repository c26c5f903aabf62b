"""Where sentences end, in a text that is there and in one that arrives."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from trunkline_translate import boundaries
from trunkline_translate.abbreviations import Lexicon, lexicon
from trunkline_translate.marks import MARK, place, skip_space

LONGEST = 400
"""Characters of the longest sentence, unless somebody wants another limit."""

_CUTS = (
    re.compile(r"[;:](?=\s)|[；：]|\s[—–](?=\s)|[—–](?=[^\W\d_])"),
    re.compile(r",(?=\s)|[，、､]"),
    re.compile(
        r"(?=\s(?:and|or|but|because|which|that|y|o|pero|porque|que|und|oder|aber|weil|dass|et|ou|mais|car)\s)"
    ),
    re.compile(r"(?=\s)"),
)
"""Where a sentence that is too long is cut, the best place first."""
_EARLIEST = 0.4
"""A better place counts only when it leaves a sentence of at least this share of the limit."""
_JOINER = "\u200d"
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]+\\Z")
_GOES_ON = re.compile("[\u200c\u200d\u1160-\u11ff\U0001f3fb-\U0001f3ff]")
"""Joiners, the letters of a syllable of Hangul behind its first, and the colours of emoji."""
_CLINGING = "」』）》】’”)]}»、，。！？,.!?…：；:;ーっゃゅょ"
"""Never the first character of a sentence."""


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
        longest: characters; a longer sentence is cut where it does least harm.
    """
    return list(spans(text, language, longest))


def spans(text: str, language: str = "", longest: int = LONGEST) -> Iterator[Span]:
    """The sentences of `split` one by one: a long text costs its reader no more at a time than a sentence takes."""
    words = lexicon(language)
    start = skip_space(text, 0)
    while start < len(text):
        end, _ = _find_end(text, start, start, words, longest, final=True)
        yield Span(start, end)
        start = skip_space(text, end)


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
        self._lexicon = lexicon(language)
        self._pending = ""
        self._sought = 0
        """No sentence ends before here: what was decided is not decided again."""

    @property
    def pending(self) -> str:
        """What arrived and is no complete sentence yet, without the white space before it."""
        return self._pending

    def feed(self, text: str) -> list[str]:
        """Takes the next piece of the text, and gives the sentences that are complete now.

        A sentence is complete when what follows it shows that it ended: a full stop at the end of a piece is not
        enough.
        """
        return self._take(self._pending + text, final=False)

    def flush(self) -> list[str]:
        """Ends the text here: what waits is a sentence now (more than one where the end tells that it was)."""
        return self._take(self._pending, final=True)

    def _take(self, text: str, *, final: bool) -> list[str]:
        complete = []
        start, sought = 0, self._sought
        if not self._pending:
            start = sought = skip_space(text, 0)
        while start < len(text):
            end, sought = _find_end(text, start, sought, self._lexicon, self.longest, final=final)
            if end < 0:
                break
            complete.append(text[start:end])
            start = sought = skip_space(text, end)
        self._pending = text[start:]
        self._sought = sought - start
        return complete


def _find_end(
    text: str, start: int, sought: int, words: Lexicon, longest: int, *, final: bool
) -> tuple[int, int]:
    """Where the sentence ends that begins at `start`, or -1 when that cannot be told yet; and up to where there is no
    end of it for sure.
    """
    limit = start + longest
    while mark := MARK.search(text, sought, limit):
        # The mark may go on behind the limit.
        mark = MARK.match(text, mark.start()) or mark
        end = boundaries.end(place(text, start, mark, final=final), words)
        if end is None:
            return -1, mark.start()
        if end > limit:
            break
        if end > start:
            return start + len(text[start:end].rstrip()), end
        sought = mark.end()
    said = start + len(text[start : limit + 1].rstrip())
    if said <= limit and len(text) - said >= longest and not text[said : said + longest].strip():
        # White space without an end would pile up.
        return said, said
    content = len(text.rstrip())
    if content > limit:
        return start + len(text[start : _cut(text, start, limit)].rstrip()), limit
    return (content, content) if final else (-1, sought)


def _cut(text: str, start: int, limit: int) -> int:
    """The best place to cut a sentence that is too long."""
    earliest = start + int((limit - start) * _EARLIEST)
    for places in _CUTS:
        ends = [found.end() for found in places.finditer(text, earliest, limit + 1) if found.end() <= limit]
        if ends and ends[-1] > start:
            return ends[-1]
    for end in range(limit, start, -1):
        if not _clings(text, start, end):
            return end
    return limit


def _clings(text: str, start: int, end: int) -> bool:
    """Whether a character belongs to the one before it."""
    character = text[end]
    if character in _CLINGING or _GOES_ON.match(character) or unicodedata.category(character)[0] == "M":
        return True
    if _FLAG.match(character):
        # Two letters are a flag.
        letters = _FLAG.search(text, start, end)
        return letters is not None and len(letters[0]) % 2 == 1
    return text[end - 1] == _JOINER
