"""A session from end to end, in a world in which is known what is said when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_parts import (
    BOUND_S,
    FRAME,
    SAMPLES_A_BYTE,
    Here,
    World,
    WorldEar,
    WorldRecogniser,
    at,
    committed,
    fed,
    finals,
    outline,
    spoken,
    through,
)

from trunkline_hop.errors import BadRequest, NotFound, Overloaded, TooLate, Unavailable
from trunkline_speech.config import Options, Parameters, Preset, SessionConfig, Update
from trunkline_speech.events import (
    AudioDropped,
    Configured,
    Degraded,
    Draining,
    DropReason,
    EndOfUtterance,
    Interim,
    Said,
    SegmentFinal,
    SpeechStarted,
    Started,
)
from trunkline_speech.recogniser import Device, Hearing, Samples
from trunkline_speech.session import Session
from trunkline_speech.transcript import Word, text_of

TALK = World(spoken("the quick brown fox jumps over | | the lazy dog and then | | | goes home"))
MONOLOGUE = World(
    spoken(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty and so on until nobody can hear it any more but me"
    )
)
DENSE = SessionConfig(parameters=Parameters(buffer_s=3.0, interval_s=0.5, first_interval_s=0.4))


def events(said: list[Said], kind: type) -> list:
    return [each.event for each in said if isinstance(each.event, kind)]


async def turn() -> None:
    """One turn of the event loop."""
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: passed.done() or passed.set_result(None))
    await passed


async def until(condition: Callable[[], bool]) -> None:
    """Waits for it, with a bound."""
    async with asyncio.timeout(BOUND_S):
        while not condition():
            await turn()


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


# Changes


async def test_an_update_holds_from_the_audio_that_follows():
    here = Here(TALK)
    half = len(TALK.audio()) // 2
    async with here.sessions.start(SessionConfig()) as session:
        await session.feed(TALK.audio()[:half])
        await session.update(Update(language="es", hints=("lazy",), parameters=Preset.DICTATION.value))
        assert session.config.parameters == Preset.DICTATION.value
        said = await through(session, TALK.audio()[half:])
    configured = events(said, Configured)
    assert [each.config.options.language for each in configured] == ["", "es"]
    assert abs(configured[1].position - half * SAMPLES_A_BYTE) <= FRAME
    for _, end, hearing in here.recogniser.heard:
        assert hearing.language == ("es" if end > configured[1].position else hearing.language)
    assert here.recogniser.heard[-1][2] == Hearing(
        "es", hints=("lazy",), due=here.recogniser.heard[-1][2].due
    )


async def test_another_language_ends_the_segment_and_may_bring_another_recogniser():
    other = WorldRecogniser(TALK, name="models/other/versions/1", languages=("fr",), language="fr")
    here = Here(TALK, others=[other])
    cut = TALK.words[3].start // SAMPLES_A_BYTE
    async with here.sessions.start(SessionConfig()) as session:
        await session.feed(TALK.audio()[:cut])
        await session.update(Update(language="fr"))
        assert here.leases == 2
        said = await through(session, TALK.audio()[cut:])
        assert here.leases == 1
    assert here.leases == 0
    first, second = events(said, SegmentFinal)[:2]
    assert (first.segment.language, second.segment.language) == ("en", "fr")
    assert second.segment.words[-1].text == "over"
    assert {each.model_version for each in said} == {"models/test/versions/1", "models/other/versions/1"}


async def test_a_language_that_nobody_hears_is_refused_and_the_session_goes_on():
    here = Here(TALK)
    async with here.sessions.start(SessionConfig()) as session:
        with pytest.raises(BadRequest) as caught:
            await session.update(Update(language="xx"))
        assert caught.value.reason == "LANGUAGE_UNSUPPORTED"
        assert finals(await through(session, TALK.audio())) == finals(await Here(TALK).said())


# What goes wrong


def failing(
    error: Callable[[], Exception], *, times: int, when: Callable[[int, int], bool] = lambda *_: True
):
    """A `before` that raises so many times."""
    left = [times]

    async def before(start: int, end: int, hearing: Hearing) -> None:
        if left[0] and when(start, end):
            left[0] -= 1
            raise error()

    return before


def full() -> Exception:
    return Overloaded("SHED", "too many wait", retry_after=timedelta(milliseconds=1))


async def test_a_pool_that_is_full_costs_interim_results_and_no_word():
    world = MONOLOGUE
    here = Here(world, recogniser=WorldRecogniser(world, before=failing(full, times=3)))
    said = await here.said(DENSE)
    assert committed(said) == [word.text for word in world.words]
    stretched = [each for each in events(said, Degraded) if each.degradation == "interval_stretched"]
    assert [each.active for each in stretched] == [True, False]
    during = [each for each in said if "interval_stretched" in each.degradations]
    assert during and "interval_stretched" not in said[-1].degradations


async def test_the_end_of_speech_waits_until_there_is_room():
    at_end = [True]

    async def before(start: int, end: int, hearing: Hearing) -> None:
        if end > TALK.words[5].end and len(at_end) < 6:
            at_end.append(True)
            raise (full() if len(at_end) % 2 else TooLate("DEADLINE_UNMEETABLE", "late"))

    here = Here(TALK, recogniser=WorldRecogniser(TALK, before=before))
    assert finals(await here.said()) == finals(await Here(TALK).said())
    assert len(at_end) == 6


async def test_a_pool_that_stays_full_ends_the_session_which_can_be_resumed():
    here = Here(TALK)

    async def before(start: int, end: int, hearing: Hearing) -> None:
        here.clock.advance(20.0)
        raise full()

    here.recogniser.before = before
    with pytest.raises(Overloaded):
        async with here.sessions.start(SessionConfig()) as session:
            async with asyncio.TaskGroup() as tasks:
                feeding = tasks.create_task(fed(session, TALK.audio()))
                try:
                    async for _ in session.events():
                        pass
                except Overloaded as overloaded:
                    failure = overloaded
                await feeding
            raise failure


async def test_a_pass_that_fails_is_tried_again():
    world = TALK
    here = Here(world, recogniser=WorldRecogniser(world, before=failing(RuntimeError, times=2)))
    assert finals(await here.said()) == finals(await Here(world).said())


async def test_audio_that_the_recogniser_always_fails_on_is_dropped_and_the_session_goes_on():
    world = TALK
    poison = world.words[2].start
    here = Here(
        world,
        recogniser=WorldRecogniser(
            world, before=failing(RuntimeError, times=100, when=lambda start, end: start < poison < end)
        ),
    )
    said = await here.said()
    assert finals(said) == ["the lazy dog and then", "goes home"]
    dropped = events(said, AudioDropped)
    assert [each.reason for each in dropped] == [DropReason.RECOGNISER_FAILED]
    assert dropped[0].start < poison < dropped[0].start + dropped[0].samples


async def test_without_any_device_the_session_ends():
    def lost() -> Exception:
        return Unavailable("DEVICE_LOST", "no device is left")

    here = Here(TALK, recogniser=WorldRecogniser(TALK, before=failing(lost, times=1)))
    async with here.sessions.start(SessionConfig()) as session:
        await session.feed(TALK.audio())
        with pytest.raises(Unavailable) as caught:
            async for _ in session.events():
                pass
    assert caught.value.reason == "DEVICE_LOST"


async def test_a_device_that_is_lost_meanwhile_is_told_of_and_no_word_is():
    world = TALK
    recogniser = WorldRecogniser(
        world, device="NPU", devices=(Device("NPU", True, "", 1), Device("CPU", False))
    )

    async def before(start: int, end: int, hearing: Hearing) -> None:
        if start > at(2):
            recogniser.device, recogniser.degradations = "CPU", ("device_lost",)

    recogniser.before = before
    said = await Here(world, recogniser=recogniser).said()
    assert finals(said) == finals(await Here(world).said())
    assert [each.device for each in said if isinstance(each.event, SegmentFinal)] == ["NPU", "CPU", "CPU"]
    assert next(each for each in events(said, Degraded) if each.degradation == "device_lost").active
    assert "device_lost" in said[-1].degradations


async def test_estimated_word_times_are_told_of_only_to_who_asked_for_them():
    world = TALK
    for asked in (False, True):
        recogniser = WorldRecogniser(world, degradations=("word_times_estimated",))
        said = await Here(world, recogniser=recogniser).said(SessionConfig(Options(word_times=asked)))
        assert ("word_times_estimated" in said[-1].degradations) == asked


async def test_bytes_that_are_no_audio_end_the_session_once_everything_before_them_is_said(monkeypatch):
    class Broken(WorldEar):
        async def hear(self, data: bytes):
            async for item in super().hear(data):
                yield item
            if self.heard > at(3):
                raise BadRequest("no audio", reason="AUDIO_UNDECODABLE")

    here = Here(TALK)
    monkeypatch.setattr(here, "_listen", lambda audio, detector, start: Broken(TALK, start))
    here = _with_ear(here, Broken)
    said: list[Said] = []
    async with here.sessions.start(SessionConfig()) as session:
        async with asyncio.timeout(BOUND_S):
            feeding = asyncio.create_task(fed(session, TALK.audio()))
            with pytest.raises(BadRequest) as caught:
                async for each in session.events():
                    said.append(each)
            await feeding
    assert caught.value.reason == "AUDIO_UNDECODABLE"
    assert finals(said) == ["the quick brown fox jumps over"]


def _with_ear(here: Here, ear: type[WorldEar]) -> Here:
    from trunkline_speech.sessions import Sessions

    here.sessions = Sessions(
        listen=lambda audio, detector, start: ear(here.world, start),
        choose=here._choose,
        diarize=lambda most, state: None,
        store=None,
        clock=here.clock,
        limit=10,
    )
    return here


async def test_what_was_dropped_before_the_recogniser_is_told_of_in_its_place():
    drop = AudioDropped(at(1), 100, DropReason.UNDECODABLE)

    class Lossy(WorldEar):
        async def hear(self, data: bytes):
            before = self.heard
            async for item in super().hear(data):
                yield item
            if before < at(2) <= self.heard:
                yield drop

    said = await _with_ear(Here(TALK), Lossy).said()
    assert events(said, AudioDropped) == [drop]


# Pace


async def test_a_live_session_that_is_behind_skips_interim_results_and_says_so():
    world = MONOLOGUE
    here = Here(world)
    slow = [True]
    begun, go = asyncio.Event(), asyncio.Event()

    async def before(start: int, end: int, hearing: Hearing) -> None:
        if slow:
            slow.clear()
            begun.set()
            await go.wait()

    here.recogniser.before = before
    async with here.sessions.start(DENSE) as session, asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(_all(session))
        audio = world.audio()
        step = at(0.1) // SAMPLES_A_BYTE
        for first in range(0, len(audio), step):
            here.clock.advance(0.1)
            await session.feed(audio[first : first + step])
            if first > 30 * step:
                go.set()
            await until(lambda: not session._intake.ahead or (begun.is_set() and not go.is_set()))
        await session.finish()
    said = listening.result()
    stretched = [each for each in events(said, Degraded) if each.degradation == "interval_stretched"]
    assert [each.active for each in stretched] == [True, False]
    assert committed(said) == [word.text for word in world.words]


async def _all(session: Session) -> list[Said]:
    async with asyncio.timeout(BOUND_S):
        return [said async for said in session.events()]


async def test_a_recording_that_is_fed_faster_than_it_was_spoken_skips_nothing():
    world = MONOLOGUE
    here = Here(world)

    async def before(start: int, end: int, hearing: Hearing) -> None:
        here.clock.advance(0.4)  # slower than a client that sends all at once

    here.recogniser.before = before
    said = await here.said(DENSE, chunk=10**9)
    assert outline(said) == outline(await Here(world).said(DENSE))


async def test_a_fast_client_waits_for_a_slow_recogniser():
    world = World(spoken(MONOLOGUE.text + " | " + MONOLOGUE.text))
    here = Here(world)
    begun, go = asyncio.Event(), asyncio.Event()

    async def before(start: int, end: int, hearing: Hearing) -> None:
        begun.set()
        await go.wait()

    here.recogniser.before = before
    async with here.sessions.start(SessionConfig()) as session, asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(_all(session))
        feeding = tasks.create_task(fed(session, world.audio(), chunk=10**9))
        await asyncio.wait_for(begun.wait(), BOUND_S)
        await until(lambda: session._intake.ahead >= at(12))
        assert session._intake.ahead <= at(12) + FRAME
        assert not feeding.done()
        go.set()
        await until(listening.done)
    assert committed(listening.result()) == [word.text for word in world.words]


async def test_a_client_that_does_not_read_holds_up_its_own_session():
    world = World(spoken(" | ".join(f"word{number}" for number in range(200))))
    here = Here(world)
    async with here.sessions.start(DENSE) as session:
        feeding = asyncio.create_task(fed(session, world.audio()))
        await until(lambda: session._intake.ahead >= at(6))
        assert len(here.recogniser.heard) < 120
        assert not feeding.done()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def test_a_session_holds_no_more_audio_after_an_hour_than_after_a_minute():
    sizes: list[tuple[int, int]] = []
    world = World(spoken(" ".join(["one two three four five | | | |"] * 100)))
    here = Here(world)
    async with here.sessions.start(SessionConfig()) as session:
        conversation = session._conversation

        async def before(start: int, end: int, hearing: Hearing) -> None:
            sizes.append((len(conversation._tape), len(conversation._segmenter._loudness)))

        here.recogniser.before = before
        said = await through(session, world.audio())
    assert committed(said) == [word.text for word in world.words]
    assert max(sizes[10:]) <= max(sizes[:10])


async def test_a_tape_is_let_go_of_while_nobody_speaks():
    world = World(spoken("hello"), length=at(120))
    here = Here(world)
    async with here.sessions.start(SessionConfig()) as session:
        await through(session, world.audio())
        assert len(session._conversation._tape) <= at(0.5)


# Its end


async def test_a_session_that_is_cancelled_anywhere_leaves_nothing_behind():
    world = MONOLOGUE
    full_run = [0]

    async def client(here: Here) -> None:
        async with here.sessions.start(DENSE) as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(fed(session, world.audio(), chunk=400))
            async for _ in session.events():
                full_run[0] += 1

    before = asyncio.all_tasks()
    for turns in range(0, 160, 3):
        here = Here(world)

        async def pause(start: int, end: int, hearing: Hearing) -> None:
            await turn()

        here.recogniser.before = pause
        running = asyncio.create_task(client(here))
        for _ in range(turns):
            await turn()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert asyncio.all_tasks() == before
        assert (here.leases, here.sessions.live, WorldEar.open) == (0, 0, 0)
    assert full_run[0] > 0


async def test_draining_says_where_to_go_on_or_hears_everything_first_where_that_is_impossible():
    world = TALK
    here = Here(world)
    async with here.sessions.start(SessionConfig()) as session:
        await session.feed(world.audio()[: at(2) // SAMPLES_A_BYTE])
        session.drain()
        said = await _all(session)
        await session.feed(world.audio())  # nobody hears it, and nobody minds
        await session.finish()
    assert finals(said)[0].startswith("the quick brown fox")
    assert said[-1].event == Draining("", said[-1].heard)


async def test_draining_does_not_wait_for_a_pool_that_is_full():
    here = Here(TALK, recogniser=WorldRecogniser(TALK, before=failing(full, times=10**9)))
    async with here.sessions.start(SessionConfig()) as session, asyncio.TaskGroup() as tasks:
        tasks.create_task(fed(session, TALK.audio()))
        await until(lambda: len(here.recogniser.heard) > 5)
        session.drain()
        said = await _all(session)
    assert isinstance(said[-1].event, Draining)


async def test_more_sessions_than_are_held_are_refused_with_a_time_to_come_back():
    here = Here(TALK, limit=1)
    async with here.sessions.start(SessionConfig()):
        assert here.sessions.live == 1
        with pytest.raises(Overloaded) as caught:
            async with here.sessions.start(SessionConfig()):
                pass
    assert caught.value.reason == "SHED" and caught.value.retry_after is not None
    async with here.sessions.start(SessionConfig()):
        assert here.sessions.live == 1
    assert here.sessions.live == 0


async def test_new_sessions_are_refused_while_the_recogniser_cannot_follow_those_that_are_live():
    other = WorldRecogniser(MONOLOGUE, name="models/other/versions/1", languages=("fr",))
    here = Here(MONOLOGUE, others=[other])

    async def before(start: int, end: int, hearing: Hearing) -> None:
        await turn()  # whoever waits for room goes on meanwhile
        here.clock.advance(3.0)

    here.recogniser.before = before
    await here.said(DENSE)
    assert here.sessions.load == 0  # a recording, fed as fast as it is heard, takes what is left
    async with here.sessions.start(DENSE) as session, asyncio.TaskGroup() as tasks:
        tasks.create_task(_all(session))
        await _fed_live(session, here)
    assert here.sessions.load > 1
    with pytest.raises(Overloaded) as caught:
        await here.said()
    assert caught.value.retry_after is not None
    assert finals(await here.said(SessionConfig(Options(language="fr"))))
    here.clock.advance(60)
    here.recogniser.before = None
    assert finals(await here.said()) == finals(await Here(MONOLOGUE).said())


async def _fed_live(session: Session, here: Here) -> None:
    """Feeds a session as fast as its world is spoken."""
    audio, step = here.world.audio(), at(0.1) // SAMPLES_A_BYTE
    for first in range(0, len(audio), step):
        here.clock.advance(0.1)
        await session.feed(audio[first : first + step])
        await until(lambda: not session._intake.ahead)
    await session.finish()


async def test_without_a_store_nothing_can_be_resumed_and_the_session_says_so():
    here = Here(TALK)
    said = await here.said()
    assert said[0].event.resume_token == ""
    assert said[-1].degradations == ("resume_unavailable",)
    with pytest.raises(NotFound):
        async with here.sessions.resume("anything", last_sequence=0):
            pass


# Speakers


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
