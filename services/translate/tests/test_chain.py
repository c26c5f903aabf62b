"""Which engines are up, and which may be asked. No test takes time: the event loop's is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from translator_parts import EN_DE, EN_ES, Bench, LoopClock, ScriptedEngine, VirtualPolicy, Wait, engine, task

from trunkline_hop.errors import BadRequest, Fault, NotFound
from trunkline_hop.metrics import Metrics
from trunkline_translate.chain import Chain
from trunkline_translate.engine import EngineFailed
from trunkline_translate.meters import Meters

DEAD = EngineFailed("connection refused")


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualPolicy()


@asynccontextmanager
async def live(*engines: ScriptedEngine) -> AsyncIterator[Bench]:
    """A chain that probes."""
    bench = await Bench.of(*engines)
    async with bench.chain:
        yield bench


async def who(bench: Bench) -> str:
    """Who translates now."""
    return (await bench.answer(task())).made_by.engine


async def test_a_chain_knows_its_engines_once_it_is_entered() -> None:
    async with live(engine("triton", down="connection refused"), engine("vllm", "Hola")) as bench:
        assert [(state.engine.name, state.up, state.error) for state in bench.chain.states()] == [
            ("triton", False, "connection refused"),
            ("vllm", True, ""),
        ]


async def test_nobody_is_asked_before_it_was_probed() -> None:
    chain = Chain([engine("vllm")], LoopClock(), Meters("translate", Metrics()))
    assert not chain.ready()
    assert chain.states()[0].error == "it was not asked yet"


async def test_it_is_ready_with_one_engine_or_with_none_by_design() -> None:
    up, down = engine("vllm"), engine("triton", down="gone")
    for engines, ready in (((down, up), True), ((down,), False), ((), True)):
        async with live(*engines) as bench:
            assert bench.chain.ready() is ready


async def test_the_chain_goes_down_and_up_again_with_the_better_engine() -> None:
    triton = engine("triton", "Hola")
    async with live(triton, engine("vllm", "Hola")) as bench:
        assert await who(bench) == "triton"
        triton.down = "connection refused"
        await asyncio.sleep(5.1)
        assert await who(bench) == "vllm"
        assert len(triton.asks) == 1
        triton.down = ""
        await asyncio.sleep(5)
        assert await who(bench) == "triton"


async def test_an_engine_that_fails_sentences_is_left_alone_and_tried_again_after_a_while() -> None:
    triton = ScriptedEngine("triton", [[DEAD], [DEAD], [DEAD], ["Hola"]])
    async with live(triton, engine("vllm", "Hola")) as bench:
        assert [await who(bench) for _ in range(5)] == ["vllm"] * 5
        assert len(triton.asks) == 3
        state = bench.chain.states()[0]
        assert (state.up, state.error) == (False, "it failed several times in a row: connection refused")
        assert bench.count("translate_engine_up", engine="triton") == 0
        assert bench.count("translate_engine_breaker_state", engine="triton") == 2
        await asyncio.sleep(5)
        assert bench.chain.ready()
        assert await who(bench) == "triton"
        assert bench.count("translate_engine_up", engine="triton") == 1
        assert bench.count("translate_engine_breaker_state", engine="triton") == 0


async def test_an_engine_that_answers_probes_but_no_sentences_gets_one_at_a_time() -> None:
    triton = engine("triton", DEAD)
    async with live(triton, engine("vllm", "Hola")) as bench:
        for _ in range(10):
            for _ in range(10):
                assert await who(bench) == "vllm"
            await asyncio.sleep(5)
        assert len(triton.asks) == 3 + 9


async def test_while_one_sentence_tries_an_engine_again_the_others_do_not_wait_for_it() -> None:
    triton = ScriptedEngine("triton", [[DEAD], [DEAD], [DEAD], [Wait(1), "Hola"]])
    async with live(triton, engine("vllm", "Hola")) as bench:
        for _ in range(3):
            await who(bench)
        await asyncio.sleep(5)
        first = asyncio.create_task(who(bench))
        while len(triton.asks) < 4:
            await asyncio.sleep(0.01)
        assert [_ async for _ in bench.translator.translate(task())][-1].made_by.engine == "vllm"  # type: ignore[union-attr]
        assert await first == "triton"


async def test_an_engine_that_came_back_need_not_wait_for_its_breaker() -> None:
    triton = ScriptedEngine("triton", [[DEAD], [DEAD], [DEAD], ["Hola"]])
    async with live(triton, engine("vllm", "Hola")) as bench:
        triton.down = "connection refused"
        for _ in range(3):
            await who(bench)
        await asyncio.sleep(0.1)
        assert bench.chain.states()[0].error == "connection refused"
        triton.down = ""
        bench.chain.refresh()
        await asyncio.sleep(0.1)
        assert await who(bench) == "triton"


async def test_a_failure_is_a_reason_to_ask_the_engine_at_once_how_it_is() -> None:
    triton = engine("triton", DEAD)
    async with live(triton, engine("vllm", "Hola")) as bench:
        triton.down = "connection refused"
        await who(bench)
        await asyncio.sleep(0.01)
        assert bench.chain.states()[0].error == "connection refused"
        await who(bench)
        assert len(triton.asks) == 1


async def test_an_engine_that_never_answers_a_probe_is_down_and_holds_nobody_up() -> None:
    triton, vllm = engine("triton"), engine("vllm")
    async with live(triton, vllm) as bench:
        triton.silent = True
        probes = vllm.probes
        await asyncio.sleep(21)
        assert bench.chain.states()[0].error == "it did not answer a probe within 2 s"
        assert vllm.probes == probes + 4


async def test_an_engine_that_never_answered_a_probe_is_not_said_to_wait_for_one() -> None:
    triton = engine("triton", error="the server was not asked yet", silent=True)
    async with live(triton) as bench:
        assert bench.chain.states()[0].error == "it did not answer a probe within 2 s"


async def test_an_engine_that_translates_while_its_probe_takes_too_long_is_up() -> None:
    triton = engine("triton", *[step for _ in range(20) for step in ("a", Wait(0.5))])
    async with live(triton) as bench:
        triton.silent = True
        await asyncio.sleep(4)
        assert await who(bench) == "triton"
        assert bench.chain.states()[0].up


async def test_an_engine_s_own_words_say_why_it_is_down() -> None:
    openvino = engine(
        "openvino", down="not ready", error="models/x has no version in production: promote one"
    )
    async with live(openvino) as bench:
        assert bench.chain.states()[0].error == "models/x has no version in production: promote one"


async def test_a_probe_that_breaks_is_a_failed_one_and_probing_goes_on() -> None:
    class Broken(ScriptedEngine):
        async def probe(self) -> None:
            await super().probe()
            if self.probes < 4:
                raise ValueError("secret")

    with capture_logs() as logs:
        async with live(Broken("triton", [["Hola"]])) as bench:
            assert bench.chain.states()[0].error == "its probe broke: ValueError"
            await asyncio.sleep(11)
            assert bench.chain.ready()
    assert "a probe broke" in [log["event"] for log in logs]


async def test_whoever_wants_to_know_is_told_of_changes() -> None:
    triton = engine("triton")
    seen: list[bool] = []
    bench = await Bench.of(triton, on_change=lambda: seen.append(bench.chain.ready() if seen else True))
    seen.append(True)
    async with bench.chain:
        triton.down = "gone"
        await asyncio.sleep(6)
        assert seen[-1] is False
        triton.down = ""
        await asyncio.sleep(6)
        assert seen[-1] is True


async def test_leaving_a_chain_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with live(engine("triton"), engine("vllm")):
        assert len(asyncio.all_tasks()) == len(before) + 2
    assert asyncio.all_tasks() == before


# Who may translate what


async def candidates(chain: Chain, model: str = "", direction: object = EN_ES) -> list[str]:
    return [link.name for link in chain.candidates(direction, model)]  # type: ignore[arg-type]


async def test_candidates_are_in_order_of_preference_up_or_not() -> None:
    bench = await Bench.of(
        engine("triton", down="gone"), engine("vllm", directions=(EN_DE,)), engine("openvino")
    )
    assert await candidates(bench.chain) == ["triton", "openvino"]
    assert await candidates(bench.chain, "engines/openvino") == ["openvino"]
    assert await candidates(bench.chain, "models/x/versions/3") == ["openvino"]


async def test_what_a_version_that_is_named_translates_is_for_its_engine_to_say() -> None:
    bench = await Bench.of(engine("openvino", directions=(EN_DE,)))
    assert await candidates(bench.chain, "models/x/versions/3") == ["openvino"]


async def test_an_engine_that_was_never_up_may_have_any_language() -> None:
    bench = await Bench.of(engine("triton", directions=(), down="gone"), engine("vllm", directions=(EN_DE,)))
    assert await candidates(bench.chain) == ["triton"]
    assert await candidates(bench.chain, direction=EN_DE) == ["triton", "vllm"]


async def test_an_engine_that_is_up_and_has_no_language_has_none() -> None:
    bench = await Bench.of(engine("apertium", directions=()), engine("vllm", directions=(EN_DE,)))
    with pytest.raises(BadRequest) as refused:
        bench.chain.candidates(EN_ES)
    assert refused.value.metadata == {"source": "en", "target": "es", "pairs": "en-de"}


async def test_a_server_without_engines_translates_nothing() -> None:
    bench = await Bench.of()
    with pytest.raises(Fault) as refused:
        await bench.answer(task())
    assert refused.value.reason == "NO_ENGINE"


async def test_what_is_not_here_is_not_found() -> None:
    bench = await Bench.of(engine("triton"))
    for model in ("engines/vllm", "models/x", "engines/"):
        with pytest.raises(NotFound) as refused:
            bench.chain.candidates(EN_ES, model)
        assert refused.value.resource_name == model
