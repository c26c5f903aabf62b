"""A session, its client and its recogniser at different speeds, and what is held meanwhile."""

from __future__ import annotations

import asyncio

from session_parts import (
    BOUND_S,
    DENSE,
    FRAME,
    MONOLOGUE,
    SAMPLES_A_BYTE,
    Here,
    World,
    at,
    committed,
    events,
    everything,
    fed,
    outline,
    spoken,
    through,
    until,
)

from trunkline_speech.config import SessionConfig
from trunkline_speech.events import Degraded
from trunkline_speech.recogniser import Hearing


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
        listening = tasks.create_task(everything(session))
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
        listening = tasks.create_task(everything(session))
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
