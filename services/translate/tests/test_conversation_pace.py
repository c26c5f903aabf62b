"""The pace of a conversation: clients that are silent, too fast, or do not read."""

from __future__ import annotations

import asyncio

from conversation_script import (
    BOUND_S,
    Here,
    Piece,
    fed,
    said_by,
    sources,
    turn,
    until,
)

from trunkline_translate import conversation as module
from trunkline_translate.conversation_events import (
    SentenceTranslated,
)
from trunkline_translate.translation import Task


async def test_silence_ends_a_sentence_and_text_puts_it_off():
    here = Here()
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        events = conversation.events()
        await conversation.piece("Good", "1")
        await until(lambda: here.time.asleep > 0)
        here.time.advance(1.0)
        await conversation.piece(" morning", "2")
        for _ in range(50):
            await turn()
        here.time.advance(1.0)
        for _ in range(50):
            await turn()
        assert not here.translator.tasks
        here.time.advance(0.6)
        async for each in events:
            if isinstance(each.event, SentenceTranslated):
                assert each.event.source_text == "Good morning"
                break
        await conversation.piece("And", "3")
        await until(lambda: here.time.asleep > 0)
        here.time.advance(1.6)
        async for each in events:
            if isinstance(each.event, SentenceTranslated):
                assert each.event.source_text == "And"
                break


async def test_a_client_that_has_to_wait_is_not_silent():
    here = Here()
    going = asyncio.Event()

    async def before(task: Task) -> None:
        await going.wait()

    here.translator.before = before
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        await conversation.piece("Yes. " * 12 + "Good mor", "1")
        await until(lambda: bool(here.translator.tasks) and here.time.asleep > 0)
        feeding = asyncio.create_task(fed(conversation, [Piece("ning", "2")]))
        for _ in range(3):
            for _ in range(50):
                await turn()
            here.time.advance(1.6)
        assert here.time.asleep <= 2 and not feeding.done()
        going.set()
        assert sources([each async for each in conversation.events()]) == ["Yes."] * 12 + ["Good morning"]
        await feeding


async def test_a_client_that_sends_again_what_was_taken_is_not_silent():
    here = Here()
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        for _ in range(3):
            await conversation.piece("Good mor", "1")
            for _ in range(50):
                await turn()
            here.time.advance(1.0)
        said = await said_by(conversation, [Piece("ning", "2")])
    assert sources(said) == ["Good morning"]


async def test_a_client_that_is_too_fast_waits():
    here = Here()
    going = asyncio.Event()

    async def before(task: Task) -> None:
        await going.wait()

    here.translator.before = before
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        sent = 0

        async def feed() -> None:
            nonlocal sent
            for number in range(200):
                await conversation.segment(f"{number}.", str(number), end_of_utterance=True)
                sent += 1
            await conversation.finish()

        feeding = asyncio.create_task(feed())
        await until(lambda: bool(here.translator.tasks))
        for _ in range(500):
            await turn()
        assert sent <= 50
        going.set()
        assert len(sources([each async for each in conversation.events()])) == 200
        await feeding


async def test_huge_pieces_neither_hold_up_others_nor_pile_up_as_sentences():
    here = Here()
    going = asyncio.Event()

    async def before(task: Task) -> None:
        await going.wait()

    here.translator.before = before
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        pieces = [Piece("word " * 4000, str(number)) for number in range(3)]
        feeding = asyncio.create_task(fed(conversation, pieces))
        await until(lambda: bool(here.translator.tasks))
        for _ in range(500):
            await turn()
        assert len(conversation._waiting) <= 20
        going.set()
        assert len(sources([each async for each in conversation.events()])) == 150
        await feeding


async def test_a_client_that_does_not_read_holds_up_its_own_conversation_only(monkeypatch):
    monkeypatch.setattr(module, "EVENTS_WAITING", 4)
    here = Here()
    async with here.start() as silent, here.start() as other:
        feeding = asyncio.create_task(fed(silent, [Piece("Yes. " * 100, "1")]))
        assert len(sources(await said_by(other, [Piece("Yes. " * 100, "1")]))) == 100
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
