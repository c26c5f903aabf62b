"""Who speaks in a session."""

from __future__ import annotations

from dataclasses import replace

from session_parts import TALK, Here, events, finals

from trunkline_speech.config import Options, SessionConfig
from trunkline_speech.events import Interim, SegmentFinal
from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import Word, text_of


class Speakers:
    """Everybody who begins with the same letter is the same."""

    def __init__(self, most: int, state: bytes) -> None:
        self.known = list(state.decode())

    async def tag(self, samples: Samples, start: int, words: tuple[Word, ...]) -> tuple[Word, ...]:
        tagged = []
        for word in words:
            assert start <= word.start < start + len(samples)
            if word.text[0] not in self.known:
                self.known.append(word.text[0])
            tagged.append(replace(word, speaker=self.known.index(word.text[0]) + 1))
        return tuple(tagged)

    def state(self) -> bytes:
        return "".join(self.known).encode()


async def test_final_segments_say_who_speaks_and_interim_ones_do_not():
    here = Here(TALK, diarize=Speakers)
    said = await here.said(SessionConfig(Options(max_speakers=5)))
    words = [word for each in events(said, SegmentFinal) for word in each.segment.words]
    assert text_of(tuple(words)) == TALK.text
    assert [word.speaker for word in words][:8] == [1, 2, 3, 4, 5, 6, 1, 7]
    assert not any(word.speaker for each in events(said, Interim) for word in each.segment.words)


async def test_who_asks_for_no_speakers_gets_none():
    said = await Here(TALK, diarize=Speakers).said()
    assert not any(word.speaker for each in events(said, SegmentFinal) for word in each.segment.words)


async def test_speakers_that_cannot_be_told_apart_cost_no_words():
    class Failing(Speakers):
        async def tag(self, samples: Samples, start: int, words: tuple[Word, ...]) -> tuple[Word, ...]:
            raise RuntimeError

    said = await Here(TALK, diarize=Failing).said(SessionConfig(Options(max_speakers=2)))
    assert finals(said) == finals(await Here(TALK).said())
    assert "speakers_unavailable" in said[-1].degradations
