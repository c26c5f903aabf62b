"""How sessions end, and how they are refused."""

from __future__ import annotations

import asyncio

import pytest
from session_parts import (
    DENSE,
    MONOLOGUE,
    SAMPLES_A_BYTE,
    TALK,
    Here,
    WorldEar,
    WorldRecogniser,
    at,
    everything,
    failing,
    fed,
    finals,
    full,
    turn,
    until,
)

from trunkline_hop.errors import NotFound, Overloaded
from trunkline_speech.config import Options, SessionConfig
from trunkline_speech.events import Draining
from trunkline_speech.recogniser import Hearing
from trunkline_speech.session import Session


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
        said = await everything(session)
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
        said = await everything(session)
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
        tasks.create_task(everything(session))
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
