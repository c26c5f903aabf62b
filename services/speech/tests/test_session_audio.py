"""Sessions and recordings on real audio, with the real ear: what the recogniser is given depends on the audio alone."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from session_parts import StandingClock, World, WorldRecogniser, at, spoken, through

from trunkline_speech import ear, vad
from trunkline_speech.config import AudioFormat, Detector, Options, SessionConfig
from trunkline_speech.ear import Ear
from trunkline_speech.events import EndOfUtterance, SegmentFinal, SpeechStarted
from trunkline_speech.offline import Offline
from trunkline_speech.recogniser import Heard, Hearing, Recogniser, Samples
from trunkline_speech.sessions import Sessions
from trunkline_speech.transcript import Hypothesis, Word

CLIPS = sorted(
    path for path in (Path(__file__).parent / "audio").iterdir() if path.name.startswith("sentence")
)


class Listener(WorldRecogniser):
    """Says one word a second, and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(World(spoken("nothing")))
        self.given: list[tuple[int, str]] = []

    async def hear(self, samples: Samples, hearing: Hearing) -> Heard:
        self.given.append((len(samples), hashlib.sha256(samples.tobytes()).hexdigest()))
        words = tuple(
            Word(f"word{start // at(1)}", start, start + at(0.5))
            for start in range(at(0.5), len(samples), at(1))
        )
        return Heard(Hypothesis(words, "en"), "CPU")


def sessions(listener: Listener) -> Sessions:
    @asynccontextmanager
    async def choose(options: Options) -> AsyncIterator[Recogniser]:
        yield listener

    return Sessions(
        listen=lambda audio, detector, start: Ear(audio, detector, start=start),
        choose=choose,
        diarize=lambda most, state: None,
        store=None,
        clock=StandingClock(),
        limit=1,
    )


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
async def test_the_cut_of_the_bytes_changes_nothing_that_is_heard_or_said(clip):
    outcomes = []
    for chunk in (1 << 20, 4096, 997, 61):
        listener = Listener()
        async with sessions(listener).start(SessionConfig()) as session:
            said = await through(session, clip.read_bytes(), chunk)
        outcomes.append((listener.given, [each.event for each in said[1:]]))
        assert sum(isinstance(each.event, SpeechStarted) for each in said) == 1
        assert [type(each.event) for each in said[-2:]] == [SegmentFinal, EndOfUtterance]
    assert all(outcome == outcomes[0] for outcome in outcomes)


@pytest.mark.parametrize("clip", CLIPS[:1], ids=lambda clip: clip.name)
async def test_a_recording_is_one_segment_where_a_session_finds_one(clip):
    listener = Listener()

    @asynccontextmanager
    async def choose(options: Options) -> AsyncIterator[Recogniser]:
        yield listener

    async def tag(samples: Samples, words: object, most: int) -> tuple[Word, ...]:
        return ()

    offline = Offline(
        decode=ear.whole,
        detect=partial(vad.detector, Detector.SILERO),
        choose=choose,
        tag=tag,
        limit_s=60.0,
        at_once=1,
    )
    found = await offline.recognise(clip.read_bytes(), AudioFormat(), Options())
    async with sessions(Listener()).start(SessionConfig()) as session:
        said = await through(session, clip.read_bytes())
    live = next(each.event.segment for each in said if isinstance(each.event, SegmentFinal))
    assert [(each.text, each.start) for each in found.segments] == [(live.text, live.start)]
