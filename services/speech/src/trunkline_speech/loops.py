"""What a recogniser says and nobody said: loops, and words where there is no speech.

A recogniser of Whisper's kind writes on when it hears silence, noise or music, and it then likes to repeat itself.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, TypeAlias

from trunkline_speech.transcript import RATE_HZ, Word, text_of

Span: TypeAlias = tuple[int, int]
"""First sample, and the one after the last."""

MOST_COMPRESSION: Final = 2.4
"""Text that zlib makes smaller than this repeats itself (Whisper's own threshold)."""
MOST_WORDS_A_SECOND: Final = 12.0
"""Of speech. Fast speakers reach 6."""
SPARE_WORDS: Final = 2
"""A detector may have heard so much of the speech too little."""
MOST_COPIES_OF_A_WORD: Final = 4
"""In a row: `no no no no`, or the digits of a number."""
MOST_COPIES_OF_A_PHRASE: Final = 2
"""In a row, of two words or more."""
VOICE_MARGIN: Final = RATE_HZ // 4
"""Times of words are off by about this much."""


def believable(
    words: Sequence[Word], *, context: Sequence[Word] = (), voiced: Sequence[Span], timed: bool = True
) -> tuple[Word, ...]:
    """Those of the words that somebody may have said.

    Args:
        words: what a recogniser heard behind `context`.
        context: what was said before them in the same segment.
        voiced: where speech was detected in the segment.
        timed: False when the times of words are estimates: nothing is concluded from a single word's then.
    """
    heard = [word for word in words if _in(voiced, word)] if timed else list(words)
    speech_s = sum(end - start for start, end in voiced) / RATE_HZ
    if len(context) + len(heard) > MOST_WORDS_A_SECOND * speech_s + SPARE_WORDS or not voiced:
        return ()
    every = (*context, *heard)
    # A phrase that is repeated may hold a word that is.
    while len(every) > len(context) and (cut := loop_end([normal(word.text) for word in every])) is not None:
        every = every[: max(cut, len(context))]
    return every[len(context) :] if compression(text_of(every)) <= MOST_COMPRESSION else ()


def loop_end(words: Sequence[str]) -> int | None:
    """The number of words up to the end of the first copy in the first loop; None where there is no loop.

    A loop is a word or a phrase that is said more often in a row than people do.
    """
    for start in range(len(words)):
        for length in range(1, (len(words) - start) // (MOST_COPIES_OF_A_PHRASE + 1) + 1):
            most = MOST_COPIES_OF_A_WORD if length == 1 else MOST_COPIES_OF_A_PHRASE
            phrase = words[start : start + length]
            copies, end = 1, start + length
            while words[end : end + length] == phrase and copies <= most:
                copies, end = copies + 1, end + length
            if copies > most:
                return start + length
    return None


def compression(text: str) -> float:
    """How much smaller zlib makes it."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


@lru_cache(maxsize=65536)
def normal(text: str) -> str:
    """A word without case and punctuation, to compare by; punctuation alone stays."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or folded


def merged(spans: Sequence[Span], gap: int) -> list[Span]:
    """Spans in order, those with less than `gap` in between made one."""
    if not spans:
        return []
    starts = [spans[0][0], *(after[0] for before, after in pairwise(spans) if after[0] - before[1] >= gap)]
    ends = [*(before[1] for before, after in pairwise(spans) if after[0] - before[1] >= gap), spans[-1][1]]
    return list(zip(starts, ends, strict=True))


def _in(voiced: Sequence[Span], word: Word) -> bool:
    return any(start - VOICE_MARGIN < word.end and word.start < end + VOICE_MARGIN for start, end in voiced)
