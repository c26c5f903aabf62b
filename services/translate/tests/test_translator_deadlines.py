"""One sentence: in what time it is translated, and what stays of it when it is given up."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from translator_parts import DEAD, Bench, ScriptedEngine, VirtualPolicy, Wait, engine, fault_of, now, task

from trunkline_hop.errors import TooLate
from trunkline_translate.translation import Partial


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualPolicy()


async def test_nothing_is_answered_after_it_was_wanted() -> None:
    bench = await Bench.of(engine("triton", "Ho", Wait(1.5), "la", Wait(1.5), "!"))
    began = now()
    failed = await fault_of(bench, due=began + 2)
    assert isinstance(failed, TooLate)
    assert failed.reason == "DEADLINE_EXCEEDED"
    assert now() - began == pytest.approx(2.0)


async def test_what_is_wanted_already_is_not_begun() -> None:
    triton = engine("triton", "Hola")
    failed = await fault_of(await Bench.of(triton), due=now())
    assert isinstance(failed, TooLate)
    assert failed.reason == "DEADLINE_UNMEETABLE"
    assert not triton.asks


async def test_a_client_that_reads_slowly_gets_no_answer_after_it_was_wanted() -> None:
    bench = await Bench.of(engine("triton", "Hola"))
    async with aclosing(bench.translator.translate(task(due=now() + 2))) as outcomes:
        assert await anext(outcomes) == Partial(1, "Hola")
        await asyncio.sleep(3)
        with pytest.raises(TooLate):
            await anext(outcomes)


@pytest.mark.parametrize("restart", [True, False])
async def test_a_client_that_reads_slowly_does_not_set_the_next_engine_to_work(restart: bool) -> None:
    vllm = engine("vllm", "Hola")
    bench = await Bench.of(engine("triton", "Ho", Wait(1), "la"), vllm)
    wanted = task(due=now() + 2, restart=restart)
    async with aclosing(bench.translator.translate(wanted)) as outcomes:
        assert await anext(outcomes) == Partial(1, "Ho")
        await asyncio.sleep(3)
        with pytest.raises(TooLate):
            await anext(outcomes)
    assert not vllm.asks


async def test_engines_that_hang_are_left_alone_after_three_sentences() -> None:
    triton = engine("triton", Wait(60))
    bench = await Bench.of(triton, engine("vllm", "Hola"))
    for _ in range(5):
        assert (await bench.answer(task())).text == "Hola"
    assert len(triton.asks) == 3
    assert not bench.chain.states()[0].up


async def test_a_hurry_of_the_client_says_nothing_about_an_engine() -> None:
    triton = engine("triton", Wait(60))
    bench = await Bench.of(triton)
    for _ in range(5):
        assert isinstance(await fault_of(bench, due=now() + 0.5), TooLate)
    assert len(triton.asks) == 5
    assert bench.chain.states()[0].up


async def test_an_engine_that_says_something_to_others_meanwhile_is_busy_not_gone() -> None:
    lively = [text for _ in range(30) for text in (Wait(1), "a")]
    triton = ScriptedEngine("triton", [lively, [Wait(60)]])
    bench = await Bench.of(triton, engine("vllm", "Hola"))
    long = asyncio.create_task(bench.answer(task()))
    while not triton.asks:
        await asyncio.sleep(0.1)
    for _ in range(5):
        assert [each async for each in bench.translator.translate(task())]
    assert len(triton.asks) == 6
    assert bench.chain.states()[0].up
    assert (await long).text == "a" * 30


async def test_closing_it_midway_stops_the_engine_and_leaves_nothing() -> None:
    triton = engine("triton", "Ho", Wait(1), "la")
    bench = await Bench.of(triton)
    before = asyncio.all_tasks()
    outcomes = bench.translator.translate(task())
    assert await anext(outcomes) == Partial(1, "Ho")
    assert triton.live == 1
    await outcomes.aclose()
    assert triton.live == 0
    assert asyncio.all_tasks() == before
    assert bench.chain.states()[0].up


async def test_cancelling_its_reader_stops_the_engine_and_leaves_nothing() -> None:
    triton = engine("triton", Wait(60))
    bench = await Bench.of(triton)
    before = asyncio.all_tasks()
    reader = asyncio.create_task(bench.answer(task()))
    while not triton.live:
        await asyncio.sleep(0.1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert triton.live == 0
    assert asyncio.all_tasks() == before


async def test_a_sentence_that_was_given_up_gives_its_place_at_a_breaker_back() -> None:
    triton = ScriptedEngine("triton", [[DEAD], [DEAD], [DEAD], [Wait(60)], ["Hola"]])
    bench = await Bench.of(triton)
    for _ in range(3):
        await fault_of(bench)
    await asyncio.sleep(5)
    assert isinstance(await fault_of(bench, due=now() + 0.5), TooLate)
    assert (await bench.answer(task())).text == "Hola"
