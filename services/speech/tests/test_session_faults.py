"""What a session makes of a recogniser, a pool, a device or audio that fails."""

from __future__ import annotations

import asyncio

import pytest
from session_parts import (
    BOUND_S,
    DENSE,
    MONOLOGUE,
    TALK,
    Here,
    WorldEar,
    WorldRecogniser,
    at,
    committed,
    events,
    failing,
    fed,
    finals,
    full,
)

from trunkline_hop.errors import BadRequest, Overloaded, TooLate, Unavailable
from trunkline_speech.config import Options, SessionConfig
from trunkline_speech.events import AudioDropped, Degraded, DropReason, Said, SegmentFinal
from trunkline_speech.recogniser import Device, Hearing


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


async def test_bytes_that_are_no_audio_end_the_session_once_everything_before_them_is_said():
    class Broken(WorldEar):
        async def hear(self, data: bytes):
            async for item in super().hear(data):
                yield item
            if self.heard > at(3):
                raise BadRequest("no audio", reason="AUDIO_UNDECODABLE")

    here = Here(TALK, ear=Broken)
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


async def test_what_was_dropped_before_the_recogniser_is_told_of_in_its_place():
    drop = AudioDropped(at(1), 100, DropReason.UNDECODABLE)

    class Lossy(WorldEar):
        async def hear(self, data: bytes):
            before = self.heard
            async for item in super().hear(data):
                yield item
            if before < at(2) <= self.heard:
                yield drop

    said = await Here(TALK, ear=Lossy).said()
    assert events(said, AudioDropped) == [drop]
