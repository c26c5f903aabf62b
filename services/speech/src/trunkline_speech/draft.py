"""The segment that is being said: its number, its revisions, and what of it is sure."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline_speech.commit import Commit
from trunkline_speech.events import Interim
from trunkline_speech.loops import Span
from trunkline_speech.speakers import most_of
from trunkline_speech.transcript import Hypothesis, Segment, Word

_BEFORE_WORDS = 3


class Draft:
    """One segment until it is final.

    Args:
        number: the segment's, if it comes to anything.
        revision: of what was said of it last; 0 for nothing.
        language: what it was heard in.
        committed: words that were said to be stable.
        carried: words that were heard behind the segment that was cut where this one begins.
        before: last words of that segment.
    """

    def __init__(
        self,
        number: int,
        *,
        revision: int = 0,
        language: str = "",
        committed: Sequence[Word] = (),
        carried: Sequence[Word] = (),
        before: Sequence[Word] = (),
    ) -> None:
        self.number = number
        self.revision = revision
        self.language = language
        self.carried = tuple(carried)
        self.before = tuple(before)
        self.commit = Commit(committed, carried, before)
        self._said: tuple[int, list[str]] = (0, [])

    @property
    def sure_language(self) -> str:
        """The language, once words in it are committed: it is not detected anew after that."""
        return self.language if self.commit.committed else ""

    def hear(self, hypothesis: Hypothesis, start: int, voiced: Sequence[Span]) -> None:
        """Takes what was heard in the audio that begins at `start`."""
        moved = [word.moved(start) for word in hypothesis.words]
        self.commit.hear(moved, voiced=voiced, timed=hypothesis.timed)
        if hypothesis.language:
            self.language = hypothesis.language

    def interim(self, start: int, end: int) -> Interim | None:
        """What there is to say of it now; None when nothing is new."""
        words, stable = self.commit.words, len(self.commit.committed)
        said = (stable, [word.text for word in words])
        if said == self._said:
            return None
        self._said = said
        return Interim(self._segment(words, start, end), stable)

    def final(self, words: tuple[Word, ...], start: int, end: int) -> Segment | None:
        """The segment as it stays; None when it never had a word."""
        return self._segment(words, start, end) if words or self.revision else None

    def next(self, carried: Sequence[Word] = (), before: Sequence[Word] = ()) -> Draft:
        """The segment after this one; with its number, if this one comes to nothing."""
        return Draft(self.number, carried=carried, before=before[-_BEFORE_WORDS:])

    def _segment(self, words: tuple[Word, ...], start: int, end: int) -> Segment:
        self.revision += 1
        return Segment(self.number, self.revision, words, self.language, start, end, most_of(words))
