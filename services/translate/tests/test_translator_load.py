"""Many sentences at once, and engines that are killed and come back. No test takes time: it is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from random import Random

import pytest
from translator_parts import Bench, ScriptedEngine, VirtualPolicy, answered, now, task

from trunkline_hop.errors import Unavailable
from trunkline_translate.coalesce import coalesced
from trunkline_translate.engine import Ask, Delta, Done, EngineFailed, FinishReason, Piece
from trunkline_translate.translation import Outcome, Translated

SENTENCES = 200
DUE_S = 10.0


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualPolicy()


class Shouts(ScriptedEngine):
    """Translates into capitals, letter by letter at its own speed, until it is killed."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, [])
        self._random = Random(seed)
        self._killed = asyncio.Event()

    def kill(self) -> None:
        self.down = "connection refused"
        self._killed.set()

    def start(self) -> None:
        self.down = ""
        self._killed = asyncio.Event()

    async def translate(self, ask: Ask, model: str = "") -> AsyncGenerator[Piece, None]:
        self.asks.append(ask)
        self.live += 1
        try:
            for letter in ask.text.upper():
                if await self._died_within(self._random.uniform(0, 0.2)):
                    raise EngineFailed("the connection broke off")
                yield Delta(letter)
            yield Done(FinishReason.STOP)
        finally:
            self.live -= 1

    async def _died_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._killed.wait()
        except TimeoutError:
            return False


async def read(bench: Bench, number: int, *, restart: bool = True) -> list[Outcome]:
    given = task(f"sentence {number}", due=now() + DUE_S, restart=restart)
    return [outcome async for outcome in coalesced(bench.translator.translate(given))]


async def test_sentences_whose_engines_are_killed_midway_are_translated_by_the_next_in_time() -> None:
    triton, vllm, openvino = (Shouts(name, seed) for seed, name in enumerate(("triton", "vllm", "openvino")))
    bench = await Bench.of(triton, vllm, openvino)
    before = asyncio.all_tasks()
    began = now()
    async with bench.chain:
        async with asyncio.TaskGroup() as tasks:
            reading = [tasks.create_task(read(bench, number)) for number in range(SENTENCES)]
            await asyncio.sleep(0.8)
            triton.kill()
            await asyncio.sleep(0.8)
            vllm.kill()
        assert now() - began < DUE_S
        by: dict[str, int] = {}
        for number, task_ in enumerate(reading):
            translated = answered(task_.result())
            assert translated.text == f"SENTENCE {number}"
            engine = translated.made_by.engine
            by[engine] = by.get(engine, 0) + 1
            assert translated.degradations == (() if engine == "triton" else ("fallback_engine",))
            # Each engine had begun it, when the one before it died.
            assert translated.revision == ("triton", "vllm", "openvino").index(engine) + 1
        assert set(by) <= {"triton", "vllm", "openvino"}
        assert by["openvino"] > SENTENCES / 2
        assert [state.up for state in bench.chain.states()] == [False, False, True]
        triton.start()
        await asyncio.sleep(6)
        assert answered(await read(bench, 0)).made_by.engine == "triton"
    assert not any(each.live for each in bench.engines)
    assert asyncio.all_tasks() == before


async def test_sentences_that_may_not_begin_anew_fail_and_the_others_go_on() -> None:
    triton, vllm = Shouts("triton", 3), Shouts("vllm", 4)
    bench = await Bench.of(triton, vllm)
    reading = [
        asyncio.create_task(read(bench, number, restart=number % 2 == 0)) for number in range(SENTENCES)
    ]
    await asyncio.sleep(0.5)
    triton.kill()
    results = await asyncio.gather(*reading, return_exceptions=True)
    for number, result in enumerate(results):
        if isinstance(result, BaseException):
            assert number % 2 == 1
            assert isinstance(result, Unavailable)
            assert result.reason == "ENGINE_FAILED"
        else:
            assert answered(result).text == f"SENTENCE {number}"
    assert sum(isinstance(result, Unavailable) for result in results) > SENTENCES / 4


async def test_a_thousand_sentences_that_are_given_up_leave_nothing() -> None:
    triton = Shouts("triton", 5)
    bench = await Bench.of(triton)
    random = Random(6)
    before = asyncio.all_tasks()
    reading = [asyncio.create_task(read(bench, number)) for number in range(1000)]
    for each in random.sample(reading, len(reading)):
        await asyncio.sleep(0.001)
        each.cancel()
    results = await asyncio.gather(*reading, return_exceptions=True)
    assert all(
        isinstance(each, asyncio.CancelledError) or isinstance(each[-1], Translated) for each in results
    )
    assert triton.live == 0
    assert asyncio.all_tasks() == before
    assert bench.chain.states()[0].up
    assert answered(await read(bench, 7)).text == "SENTENCE 7"
