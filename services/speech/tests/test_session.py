"""A session from end to end, in a world in which is known what is said when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from session_parts import (
    DENSE,
    FRAME,
    MONOLOGUE,
    TALK,
    Here,
    World,
    WorldRecogniser,
    at,
    committed,
    events,
    finals,
    outline,
)

from trunkline_speech.config import Options, Preset, SessionConfig
from trunkline_speech.events import (
    Configured,
    Degraded,
    EndOfUtterance,
    Interim,
    SegmentFinal,
    SpeechStarted,
    Started,
)
from trunkline_speech.recogniser import Hearing, Samples


async def test_what_is_said_comes_out_in_order():
    said = await Here(TALK).said()
    kinds = [type(each.event) for each in said]
    assert kinds[:3] == [Started, Configured, Degraded]
    assert kinds[3:7] == [SpeechStarted, Interim, Interim, SegmentFinal]
    assert finals(said) == ["the quick brown fox jumps over", "the lazy dog and then", "goes home"]
    assert [each.sequence for each in said] == list(range(1, len(said) + 1))
    assert {(each.model_version, each.digest, each.engine, each.device) for each in said} == {
        ("models/test/versions/1", "sha256:1", "openvino", "CPU")
    }
    assert all(before.heard <= after.heard for before, after in pairwise(said))
    assert committed(said) == [word.text for word in TALK.words]


async def test_a_segment_ends_half_a_second_after_the_speech_and_the_utterance_a_little_later():
    said = await Here(TALK).said()
    final = next(each for each in said if isinstance(each.event, SegmentFinal))
    ended = next(each for each in said if isinstance(each.event, EndOfUtterance))
    spoken_until = TALK.words[5].end
    assert 0 <= final.heard - spoken_until - at(0.5) <= 2 * FRAME
    assert 0 <= ended.heard - spoken_until - at(0.8) <= 2 * FRAME
    assert abs(final.event.segment.end - spoken_until) <= FRAME
    assert ended.event == EndOfUtterance(ended.event.position, 1, 1)


async def test_the_end_of_speech_is_heard_at_once_and_no_second_time():
    here = Here(TALK)
    await here.said()
    first_segment = [end for start, end, _ in here.recogniser.heard if start < at(1)]
    assert len(first_segment) == 2
    assert 0 <= first_segment[-1] - TALK.words[5].end - at(0.2) <= 2 * FRAME


@given(st.integers(1, 4000), st.sampled_from([DENSE, SessionConfig()]))
@settings(max_examples=settings.default.max_examples // 5)
def test_the_cut_of_the_audio_makes_no_difference(chunk, config):
    async def run() -> None:
        whole = await Here(MONOLOGUE).said(config, chunk=10**9)
        cut = await Here(MONOLOGUE).said(config, chunk=chunk)
        assert outline(cut)[3:] == outline(whole)[3:]
        assert committed(cut) == [word.text for word in MONOLOGUE.words]

    asyncio.run(run())


async def test_long_speech_is_cut_between_words_and_none_is_lost():
    here = Here(MONOLOGUE)
    said = await here.said(DENSE)
    assert committed(said) == [word.text for word in MONOLOGUE.words]
    segments = [each.segment for each in events(said, SegmentFinal)]
    assert len(segments) >= 4
    assert [each.number for each in segments] == list(range(1, len(segments) + 1))
    assert all(abs(one.end - other.start) <= FRAME for one, other in pairwise(segments))
    truth = iter(MONOLOGUE.words)
    for segment in segments:
        for word in segment.words:
            right = next(truth)
            assert abs(word.start - right.start) <= FRAME and abs(word.end - right.end) <= FRAME
    assert events(said, EndOfUtterance) == [
        EndOfUtterance(events(said, EndOfUtterance)[0].position, 1, len(segments))
    ]


async def test_the_window_of_the_recogniser_bounds_what_it_hears():
    world = MONOLOGUE
    here = Here(world, recogniser=WorldRecogniser(world, window=at(2.5)))
    said = await here.said(SessionConfig(parameters=Preset.DICTATION.value))
    assert max(end - start for start, end, _ in here.recogniser.heard) <= at(2.5)
    assert committed(said) == [word.text for word in world.words]


async def test_words_that_are_sure_stay_and_revisions_grow():
    said = await Here(MONOLOGUE).said(DENSE)
    sure: dict[int, tuple[str, ...]] = {}
    revisions: dict[int, int] = {}
    for event in events(said, Interim | SegmentFinal):
        segment = event.segment
        texts = tuple(word.text for word in segment.words)
        before = sure.get(segment.number, ())
        assert texts[: len(before)] == before
        assert segment.revision > revisions.get(segment.number, 0)
        revisions[segment.number] = segment.revision
        if isinstance(event, Interim):
            sure[segment.number] = texts[: event.stable_words]


async def test_final_only_says_no_interim_results():
    here = Here(TALK)
    said = await here.said(SessionConfig(final_only=True))
    assert not events(said, Interim)
    assert finals(said) == finals(await Here(TALK).said())


async def test_silence_and_noise_say_nothing():
    world = World((), length=at(30))
    said = await Here(world).said()
    assert [type(each.event) for each in said] == [Started, Configured, Degraded]
    assert said[-1].model_version


async def test_speech_in_which_nothing_is_understood_ends_without_a_segment():
    class Deaf(WorldRecogniser):
        async def hear(self, samples: Samples, hearing: Hearing):
            heard = await super().hear(samples, hearing)
            return replace(heard, hypothesis=replace(heard.hypothesis, words=()))

    said = await Here(TALK, recogniser=Deaf(TALK)).said()
    assert finals(said) == [] and not events(said, Interim)
    assert {(each.first_segment, each.last_segment) for each in events(said, EndOfUtterance)} == {(0, 0)}


async def test_a_recogniser_that_repeats_itself_is_cut_short():
    class Looping(WorldRecogniser):
        async def hear(self, samples: Samples, hearing: Hearing):
            heard = await super().hear(samples, hearing)
            words = heard.hypothesis.words
            return replace(heard, hypothesis=replace(heard.hypothesis, words=words + words[-1:] * 6))

    said = await Here(TALK, recogniser=Looping(TALK)).said()
    assert finals(said) == finals(await Here(TALK).said())


async def test_language_is_detected_for_every_segment_and_kept_inside_one():
    here = Here(MONOLOGUE)
    said = await here.said(DENSE)
    asked = [hearing.language for _, _, hearing in here.recogniser.heard]
    assert asked[:2] == ["", ""] and "en" in asked
    assert {each.segment.language for each in events(said, SegmentFinal)} == {"en"}
    told = Here(TALK)
    await told.said(SessionConfig(Options(language="es", hints=("fox",))))
    assert {(each.language, each.hints) for _, _, each in told.recogniser.heard} == {("es", ("fox",))}
