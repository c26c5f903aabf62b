"""Which words of a segment that goes on are sure: those that two hypotheses in a row agree on.

LocalAgreement-2: Liu, Spanakis, Niehues, "Low-latency sequence-to-sequence speech recognition and translation by
partial hypothesis selection", 2020; Machacek, Dabre, Bojar, "Turning Whisper into real-time transcription system",
2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final

from trunkline_speech.loops import Span, believable, normal
from trunkline_speech.transcript import RATE_HZ, Word

_ECHO_WORDS: Final = 3
_ECHO: Final = RATE_HZ // 2
"""A segment that begins where another was cut may hear its last words again, this close to the cut."""


class Commit:
    """The words of one segment. What is committed never changes.

    Args:
        committed: words that are sure already.
        tail: words behind them that were heard once.
        before: the last words of the segment that was cut where this one begins.
    """

    def __init__(
        self, committed: Sequence[Word] = (), tail: Sequence[Word] = (), before: Sequence[Word] = ()
    ) -> None:
        self._committed = tuple(committed)
        self._tail = tuple(tail)
        self._before = tuple(before)

    @property
    def committed(self) -> tuple[Word, ...]:
        """Words that will not change any more."""
        return self._committed

    @property
    def tail(self) -> tuple[Word, ...]:
        """Words behind them as they were heard last."""
        return self._tail

    @property
    def words(self) -> tuple[Word, ...]:
        """All of them: what the segment says if it ends now."""
        return self._committed + self._tail

    def hear(self, words: Sequence[Word], *, voiced: Sequence[Span], timed: bool = True) -> None:
        """Takes a hypothesis about the segment, from its beginning to wherever it has come.

        Args:
            words: the hypothesis, on the session's clock.
            voiced: where speech was detected in the segment.
            timed: False when the times of words are estimates.
        """
        known = behind(self._committed, words) if self._committed else self._echo(words)
        tail = believable(words[known:], context=self._committed, voiced=voiced, timed=timed)
        tail = _in_order(tail, self._committed[-1].end if self._committed else 0)
        sure = agreement(self._tail, tail)
        self._committed += tail[:sure]
        self._tail = tail[sure:]

    def split(self, position: int) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
        """All words, in those that are said before a position, and those after it. Committed ones are before it."""
        first = len(self._committed) + sum(
            1 for _ in takewhile(lambda word: word.start + word.end < 2 * position, self._tail)
        )
        return self.words[:first], self.words[first:]

    def _echo(self, words: Sequence[Word]) -> int:
        """So many first words are the last ones of the segment before, heard again."""
        heard = [normal(word.text) for word in words[:_ECHO_WORDS]]
        if heard == [normal(word.text) for word in self._tail[: len(heard)]]:
            return 0
        said = [normal(word.text) for word in self._before]
        for count in range(min(len(heard), len(said)), 0, -1):
            near = words[count - 1].start < self._before[-1].end + _ECHO
            if near and heard[:count] == said[-count:]:
                return count
        return 0


def agreement(one: Sequence[Word], other: Sequence[Word]) -> int:
    """So many first words are the same in both, whatever their case and punctuation."""
    same = takewhile(lambda pair: normal(pair[0].text) == normal(pair[1].text), zip(one, other, strict=False))
    return sum(1 for _ in same)


def behind(committed: Sequence[Word], words: Sequence[Word]) -> int:
    """So many first words of a hypothesis say what is committed already, perhaps in other words.

    The beginning of the hypothesis with the least edit distance (Levenshtein, in words) to what is committed; of
    several the one that ends at about the same time.
    """
    said = [normal(word.text) for word in committed]
    heard = [normal(word.text) for word in words]
    if heard[: len(said)] == said:
        return len(said)
    distance = list(range(len(heard) + 1))
    for row, one in enumerate(said, 1):
        diagonal, distance[0] = distance[0], row
        for column, other in enumerate(heard, 1):
            above = distance[column]
            distance[column] = min(diagonal + (one != other), above + 1, distance[column - 1] + 1)
            diagonal = above

    def off(count: int) -> int:
        return abs((words[count - 1].end if count else words[0].start) - committed[-1].end) if words else 0

    return min(range(len(heard) + 1), key=lambda count: (distance[count], off(count)))


def _in_order(words: Sequence[Word], least: int) -> tuple[Word, ...]:
    """The words, none of which begins before the one ahead of it ends."""
    ordered = []
    for word in words:
        start = max(word.start, least)
        least = max(word.end, start)
        ordered.append(
            word if (word.start, word.end) == (start, least) else replace(word, start=start, end=least)
        )
    return tuple(ordered)
