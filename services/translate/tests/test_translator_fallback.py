"""One sentence, and engines that fail, are down or full, or were named: by whom it is translated."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs
from translator_parts import (
    BEFORE,
    DEAD,
    EN_DE,
    FULL,
    Bench,
    Gone,
    ScriptedEngine,
    VirtualPolicy,
    Wait,
    answered,
    engine,
    fault_of,
    now,
    said,
    task,
)

from trunkline_hop.errors import BadRequest, NotFound, Overloaded, Unavailable
from trunkline_translate.engine import SentenceTooLong
from trunkline_translate.translation import Partial


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualPolicy()


async def test_the_next_engine_translates_when_one_fails_before_it_said_anything() -> None:
    bench = await Bench.of(engine("triton", DEAD), engine("vllm", "Hola"), engine("openvino", "no"))
    translated = await bench.answer(task())
    assert (translated.text, translated.revision) == ("Hola", 1)
    assert translated.made_by.engine == "vllm"
    assert translated.degradations == ("fallback_engine",)
    assert bench.count("translate_fallbacks_total", **{"from": "triton", "to": "vllm", "why": "failed"}) == 1


async def test_what_an_engine_said_before_it_failed_is_void_under_the_next_revision() -> None:
    bench = await Bench.of(engine("triton", "Ho", "la", DEAD), engine("vllm", "Buenas"))
    outcomes = await bench.outcomes(task())
    assert outcomes[:-1] == [Partial(1, "Ho"), Partial(1, "la"), Partial(2, "Buenas")]
    assert answered(outcomes).revision == 2


@pytest.mark.parametrize("end", [DEAD, Gone(), Wait(60), FULL], ids=["failed", "gone", "stalled", "full"])
async def test_a_client_that_wants_no_new_beginning_gets_a_fault_instead(end: object) -> None:
    vllm = engine("vllm", "Buenas")
    bench = await Bench.of(engine("triton", "Ho", end), vllm)
    failed = await fault_of(bench, restart=False)
    assert isinstance(failed, Unavailable)
    assert failed.reason == "ENGINE_FAILED"
    assert list(failed.metadata) == ["triton"]
    assert not vllm.asks


async def test_a_client_that_wants_no_new_beginning_gets_the_next_engine_when_it_has_nothing_yet() -> None:
    bench = await Bench.of(engine("triton", DEAD), engine("vllm", "Hola"))
    assert (await bench.answer(task(restart=False))).text == "Hola"


async def test_an_answer_without_an_end_is_none() -> None:
    bench = await Bench.of(engine("triton", "Ho", Gone()), engine("vllm", "Hola"))
    assert (await bench.answer(task())).made_by.engine == "vllm"


async def test_an_answer_that_finds_no_end_is_left_for_the_next_engine() -> None:
    bench = await Bench.of(engine("triton", *["otra vez "] * 10_000), engine("vllm", "Hola"))
    outcomes = await bench.outcomes(task())
    assert answered(outcomes).text == "Hola"
    assert len(said(outcomes, 1)) < 10_000
    assert bench.count("translate_check_failures_total", engine="triton", check="endless") == 1


async def test_as_much_may_be_said_as_was_asked_for() -> None:
    bench = await Bench.of(engine("triton", *["otra vez "] * 1000))
    assert len((await bench.answer(task(max_tokens=2000))).text) == 8999


async def test_an_engine_that_says_nothing_is_left_after_two_seconds() -> None:
    began = now()
    bench = await Bench.of(engine("triton", Wait(60), "no"), engine("vllm", "Hola"))
    assert (await bench.answer(task())).made_by.engine == "vllm"
    assert now() - began == pytest.approx(2.0)


async def test_an_engine_that_falls_silent_midway_is_left_after_two_seconds() -> None:
    began = now()
    bench = await Bench.of(
        engine("triton", Wait(1.5), "Ho", Wait(1.5), "la", Wait(60)), engine("vllm", "Hola")
    )
    assert (await bench.answer(task())).revision == 2
    assert now() - began == pytest.approx(5.0)


async def test_half_of_the_time_that_is_left_stays_for_the_engines_behind() -> None:
    began = now()
    bench = await Bench.of(engine("triton", Wait(60)), engine("vllm", Wait(60)), engine("openvino", "Hola"))
    translated = await bench.answer(task(due=began + 2))
    assert translated.made_by.engine == "openvino"
    assert now() - began == pytest.approx(1.5)


async def test_the_last_engine_that_is_up_has_all_of_the_time() -> None:
    dead = engine("openvino", "no", down="not loaded")
    bench = await Bench.of(engine("triton", DEAD), engine("vllm", Wait(1.9), "Hola"), dead)
    assert (await bench.answer(task(due=now() + 2))).text == "Hola"


async def test_an_engine_s_own_defect_is_its_failure_and_the_log_holds_no_payload() -> None:
    bench = await Bench.of(engine("triton", ValueError("secret Hello")), engine("vllm", "Hola"))
    with capture_logs() as logs:
        assert (await bench.answer(task())).made_by.engine == "vllm"
    assert [(log["error"], log["engine"]) for log in logs] == [("ValueError", "triton")]
    assert "Hello" not in str(logs)


async def test_a_fault_of_what_was_named_is_the_answer() -> None:
    unknown = NotFound("MODEL_UNKNOWN", "no such", resource_type="model", resource_name="models/x")
    bench = await Bench.of(engine("openvino", unknown), engine("vllm", "Hola"))
    assert await fault_of(bench, model="models/x") is unknown


async def test_an_engine_that_is_down_is_not_asked() -> None:
    triton = engine("triton", "no", down="connection refused")
    bench = await Bench.of(triton, engine("vllm", "Hola"))
    assert (await bench.answer(task())).degradations == ("fallback_engine",)
    assert not triton.asks
    assert bench.count("translate_fallbacks_total", **{"from": "triton", "to": "vllm", "why": "down"}) == 1


async def test_an_engine_that_has_other_languages_only_is_no_better_one() -> None:
    bench = await Bench.of(engine("triton", "no", directions=(EN_DE,)), engine("vllm", "Hola"))
    assert (await bench.answer(task())).degradations == ()


# Where nobody translates


async def test_without_an_engine_there_is_no_answer() -> None:
    bench = await Bench.of(engine("triton", "no", down="connection refused"), engine("vllm", DEAD))
    failed = await fault_of(bench)
    assert isinstance(failed, Unavailable)
    assert failed.reason == "NO_ENGINE"
    assert failed.metadata == {"triton": "connection refused", "vllm": "connection refused"}
    assert failed.retry_after is not None


async def test_engines_that_are_full_shed() -> None:
    bench = await Bench.of(engine("triton", FULL), engine("vllm", FULL))
    failed = await fault_of(bench)
    assert isinstance(failed, Overloaded)
    assert failed.reason == "SHED"
    assert failed.retry_after is not None


async def test_an_engine_that_is_full_is_left_for_one_that_is_not_and_stays_up() -> None:
    bench = await Bench.of(engine("triton", FULL), engine("vllm", "Hola"))
    for _ in range(5):
        assert (await bench.answer(task())).made_by.engine == "vllm"
    assert bench.chain.states()[0].up


async def test_a_sentence_that_fits_into_no_model_is_too_long() -> None:
    long = SentenceTooLong(900, 512)
    bench = await Bench.of(engine("triton", long), engine("vllm", long))
    failed = await fault_of(bench)
    assert isinstance(failed, BadRequest)
    assert failed.reason == "TEXT_TOO_LONG"
    assert [violation.field for violation in failed.violations] == ["text"]


async def test_a_sentence_too_long_for_whoever_is_up_may_fit_when_the_others_are_back() -> None:
    bench = await Bench.of(engine("triton", SentenceTooLong(900, 512)), engine("vllm", DEAD))
    assert (await fault_of(bench)).reason == "NO_ENGINE"


async def test_a_sentence_too_long_is_tried_without_context_and_then_by_the_next_engine() -> None:
    triton = engine("triton", SentenceTooLong(900, 512))
    bench = await Bench.of(triton, engine("vllm", "Hola"))
    translated = await bench.answer(task(context=BEFORE))
    assert [ask.context for ask in triton.asks] == [BEFORE, ()]
    assert translated.degradations == ("fallback_engine",)
    assert translated.context_used
    assert bench.chain.states()[0].up


async def test_a_sentence_that_fits_without_its_context_says_so() -> None:
    triton = ScriptedEngine("triton", [[SentenceTooLong(900, 512)], ["Hola"]])
    translated = await (await Bench.of(triton)).answer(task(context=BEFORE))
    assert translated.degradations == ("context_dropped",)
    assert not translated.context_used


# An engine that was named


async def test_an_engine_that_is_named_translates_or_nobody_does() -> None:
    vllm = engine("vllm", "Hola")
    bench = await Bench.of(engine("triton", "no"), vllm, engine("openvino", DEAD))
    translated = await bench.answer(task(model="engines/vllm"))
    assert vllm.models == [""]
    assert (translated.made_by.engine, translated.degradations) == ("vllm", ())
    failed = await fault_of(bench, model="engines/openvino")
    assert (failed.reason, failed.metadata) == ("ENGINE_FAILED", {"openvino": "connection refused"})


async def test_an_engine_that_is_named_and_down_is_said_to_be() -> None:
    bench = await Bench.of(engine("triton", "no", down="connection refused"), engine("vllm", "Hola"))
    failed = await fault_of(bench, model="engines/triton")
    assert (failed.reason, failed.metadata) == ("ENGINE_FAILED", {"triton": "connection refused"})


async def test_a_model_of_the_registry_is_openvino_s() -> None:
    openvino = engine("openvino", "Hola")
    bench = await Bench.of(engine("triton", "no"), openvino)
    translated = await bench.answer(task(model="models/other"))
    assert openvino.models == ["models/other"]
    assert translated.made_by.model_version == "models/other/versions/1"


@pytest.mark.parametrize("model", ["engines/apertium", "models/x"])
async def test_what_is_not_here_is_not_found(model: str) -> None:
    failed = await fault_of(await Bench.of(engine("triton", "no")), model=model)
    assert isinstance(failed, NotFound)
    assert failed.reason == "MODEL_UNKNOWN"
