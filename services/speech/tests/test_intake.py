"""Audio waits in order, and whoever brings too much of it waits as well."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from session_parts import BOUND_S, StandingClock

from trunkline_speech.intake import LIVE_SLACK_S, Intake
from trunkline_speech.load import MEMORY_S, WANTED_S, Load
from trunkline_speech.tape import Tape
from trunkline_speech.transcript import RATE_HZ


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def intake(clock) -> Intake[int]:
    return Intake(1000, clock)


async def test_what_goes_in_comes_out_in_order(intake):
    for number in range(5):
        await intake.put(number, 100)
    assert [await intake.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert intake.ahead == 0


async def test_a_writer_waits_while_too_much_waits(intake):
    await intake.put(1, 1000)
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(intake.put(2, 1))
        tasks.create_task(intake.put(3))  # no audio: it takes no room
        assert await intake.get() == 1
        assert {await intake.get(), await intake.get()} == {2, 3}
    assert writing.done()


async def test_a_reader_waits_for_what_comes(intake):
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(intake.get())
        tasks.create_task(intake.put(7, 1))
    assert reading.result() == 7


async def test_an_interrupted_reader_gets_nothing_more_and_what_waits_can_be_had(intake):
    await intake.put(1, 1)
    intake.interrupt()
    assert await intake.get() is None
    assert intake.rest() == [1]
    assert intake.closed


async def test_closing_frees_a_writer_who_waits(intake):
    await intake.put(1, 1000)
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(intake.put(2, 1))
        tasks.create_task(_closing(intake))
    await intake.put(3, 1)
    assert intake.ahead == 0


async def _closing(intake: Intake[int]) -> None:
    intake.close()


async def test_audio_that_comes_as_it_is_spoken_is_live_and_a_file_is_not(clock):
    intake: Intake[int] = Intake(100 * RATE_HZ, clock)
    await intake.put(1, 512)
    for _ in range(20):
        clock.advance(1.0)
        await intake.put(1, RATE_HZ)
        assert intake.live
    await intake.put(1, round(LIVE_SLACK_S * RATE_HZ) - 512)
    assert intake.live
    await intake.put(1, RATE_HZ)
    assert not intake.live


async def test_who_caught_up_after_a_burst_is_live_again(clock):
    intake: Intake[int] = Intake(100 * RATE_HZ, clock)
    await intake.put(1, 10 * RATE_HZ)
    assert not intake.live
    await intake.get()
    await intake.put(1, 512)
    assert intake.live


async def test_load_is_how_busy_times_how_late(clock):
    load = Load(clock)
    assert load.now == 0.0
    for _ in range(40):
        with load.measured():
            clock.advance(2 * WANTED_S)
    assert load.now == pytest.approx(2.0, rel=0.05)
    clock.advance(5 * MEMORY_S)
    assert load.now < 0.05


async def test_a_busy_pool_that_answers_at_once_has_room(clock):
    load = Load(clock)
    for _ in range(1000):
        with load.measured():
            clock.advance(WANTED_S / 10)
    assert load.now < 0.2


async def test_a_slow_pool_that_is_mostly_idle_has_room(clock):
    load = Load(clock)
    for _ in range(40):
        with load.measured():
            clock.advance(WANTED_S)
        clock.advance(9 * WANTED_S)
    assert load.now < 0.2


def test_a_tape_holds_what_may_be_heard_again():
    tape = Tape()
    for position in range(0, 1000, 100):
        tape.add(position, np.arange(position, position + 100, dtype=np.float32))
    assert tape.between(250, 455).tolist() == list(range(250, 455))
    tape.forget(250)
    assert len(tape) == 800
    assert tape.between(150, 210).tolist() == [0.0] * 50 + list(range(200, 210))
    assert tape.between(950, 1010).tolist() == [*range(950, 1000), *[0.0] * 10]
