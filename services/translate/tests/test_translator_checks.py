"""One sentence, and answers that are wrong, in doubt, or lost a phrase."""

from __future__ import annotations

import asyncio

import pytest
from translator_parts import (
    BEFORE,
    DEAD,
    HARD,
    SOFT,
    Bench,
    Opinions,
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

from trunkline_hop.errors import Unavailable
from trunkline_translate.checks import Checks
from trunkline_translate.detect import Detector
from trunkline_translate.engine import Done, FinishReason
from trunkline_translate.translation import Partial

CHECKS = ("language", "echo", "preamble")


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualPolicy()


async def test_an_answer_that_fails_a_check_is_tried_again_without_context() -> None:
    triton = ScriptedEngine("triton", [["Hallo"], ["Hola"]])
    bench = await Bench.of(triton, engine("vllm", "no"), checks=Opinions(Hallo=HARD))
    outcomes = await bench.outcomes(task(context=BEFORE))
    translated = answered(outcomes)
    assert said(outcomes, 1) == "Hallo"
    assert (translated.text, translated.revision, translated.context_used) == ("Hola", 2, False)
    assert translated.degradations == ("context_dropped",)
    assert bench.count("translate_check_failures_total", engine="triton", check="language") == 1


async def test_an_answer_that_fails_a_check_without_context_goes_to_the_next_engine() -> None:
    triton = engine("triton", "Hallo")
    bench = await Bench.of(triton, engine("vllm", "Hola"), checks=Opinions(Hallo=HARD))
    translated = await bench.answer(task())
    assert len(triton.asks) == 1
    assert (translated.text, translated.degradations) == ("Hola", ("fallback_engine",))
    fallback = {"from": "triton", "to": "vllm", "why": "rejected"}
    assert bench.count("translate_fallbacks_total", **fallback) == 1


async def test_an_answer_that_is_no_translation_is_never_given() -> None:
    bench = await Bench.of(engine("triton", "Hallo"), engine("vllm", " "), checks=Opinions(Hallo=HARD))
    failed = await fault_of(bench)
    assert isinstance(failed, Unavailable)
    assert failed.reason == "TRANSLATION_REJECTED"
    assert failed.metadata == {
        "triton": "its answer failed the check language",
        "vllm": "its answer failed the check empty",
    }
    assert failed.final


async def test_an_answer_in_doubt_is_given_where_there_is_none_better() -> None:
    bench = await Bench.of(engine("triton", "Hola"), engine("vllm", DEAD), checks=Opinions(Hola=SOFT))
    outcomes = await bench.outcomes(task())
    assert outcomes[0] == Partial(1, "Hola")
    assert answered(outcomes).degradations == ("check_failed",)
    assert answered(outcomes).revision == 1


async def test_an_answer_in_doubt_is_said_again_when_a_worse_one_was_said_since() -> None:
    bench = await Bench.of(
        engine("triton", "Ho", "la"), engine("vllm", "Hallo"), checks=Opinions(Hola=SOFT, Hallo=HARD)
    )
    outcomes = await bench.outcomes(task())
    assert [said(outcomes, revision) for revision in (1, 2, 3)] == ["Hola", "Hallo", "Hola"]
    assert answered(outcomes).made_by.engine == "triton"


async def test_of_answers_in_doubt_the_most_preferred_engine_s_last_is_given() -> None:
    triton = ScriptedEngine("triton", [["Hola con"], ["Hola sin"]])
    bench = await Bench.of(triton, engine("vllm", "Hola v"), checks=Opinions(Hola=SOFT))
    translated = await bench.answer(task(context=BEFORE))
    assert translated.text == "Hola sin"
    assert translated.degradations == ("context_dropped", "check_failed")


async def test_an_answer_in_doubt_does_not_come_too_late_for_the_hope_of_a_better_one() -> None:
    slow = [step for _ in range(60) for step in ("a", Wait(0.3))]
    bench = await Bench.of(engine("triton", "Hola"), engine("vllm", *slow), checks=Opinions(Hola=SOFT))
    assert (await bench.answer(task(due=now() + 4))).text == "Hola"


async def test_a_client_that_wants_no_new_beginning_gets_an_answer_in_doubt_and_no_wrong_one() -> None:
    vllm = engine("vllm", "no")
    checks = Opinions(Hola=SOFT, Hallo=HARD)
    bench = await Bench.of(ScriptedEngine("triton", [["Hola"], ["Hallo"]]), vllm, checks=checks)
    assert (await bench.answer(task(restart=False, context=BEFORE))).degradations == ("check_failed",)
    failed = await fault_of(bench, restart=False, context=BEFORE)
    assert (failed.reason, list(failed.metadata)) == ("TRANSLATION_REJECTED", ["triton"])
    assert not vllm.asks


async def test_the_checks_of_the_service_tell_a_translation_from_what_is_none() -> None:
    source = "I would like two coffees and the bill, please."
    right = "Quisiera dos cafés y la cuenta, por favor."
    bench = await Bench.of(
        engine("triton", "Ich möchte bitte zwei Kaffee und die Rechnung."),
        engine("vllm", source),
        engine("openvino", "Here is the translation: " + right),
        engine("apertium", right),
        checks=Checks(Detector(["en", "es", "de", "fr"])),
    )
    assert (await bench.answer(task(source))).text == right
    counted = {(each, check) for each in ("triton", "vllm", "openvino", "apertium") for check in CHECKS
               if bench.count("translate_check_failures_total", engine=each, check=check)}  # fmt: skip
    assert counted == {("triton", "language"), ("vllm", "echo"), ("openvino", "preamble")}


async def test_an_answer_that_was_cut_is_checked_as_one() -> None:
    checks = Opinions()
    bench = await Bench.of(engine("triton", "Ho", Done(FinishReason.LENGTH)), checks=checks)
    assert (await bench.answer(task())).finish_reason is FinishReason.LENGTH
    assert checks.seen == [("Hello", "Ho", False)]


async def test_what_an_engine_could_not_do_is_said() -> None:
    done = Done(FinishReason.STOP, degradations=("formality_ignored",))
    bench = await Bench.of(engine("apertium", "Hola", done))
    assert (await bench.answer(task())).degradations == ("formality_ignored",)


# Phrases


async def test_no_engine_sees_a_phrase_that_stays() -> None:
    triton = engine("triton", "Abre ", "\ue000", " con ", "\ue001")
    bench = await Bench.of(triton)
    translated = await bench.answer(
        task("Open Trunkline with a key", keep=("Trunkline",), glossary=(("a key", "una clave"),))
    )
    assert triton.asks[0].text == "Open \ue000 with \ue001"
    assert (translated.text, translated.degradations) == ("Abre Trunkline con una clave", ())


@pytest.mark.parametrize("answer", ["Abre", "Abre \ue000 \ue000", "Abre \ue001"])
async def test_a_phrase_that_is_lost_or_doubled_goes_to_the_next_engine(answer: str) -> None:
    bench = await Bench.of(engine("triton", answer), engine("vllm", "Abre \ue000"))
    translated = await bench.answer(task("Open it", keep=("it",)))
    assert (translated.text, translated.made_by.engine) == ("Abre it", "vllm")
    assert bench.count("translate_check_failures_total", engine="triton", check="placeholders") == 1


async def test_a_phrase_that_every_engine_loses_is_said_to_be_lost() -> None:
    bench = await Bench.of(engine("triton", "Abre"), engine("vllm", "Abra"))
    translated = await bench.answer(task("Open it now", keep=("it",), glossary=(("now", "ya"),)))
    assert translated.text == "Abre"
    assert translated.degradations == ("phrase_not_kept", "glossary_missed")


async def test_a_phrase_that_was_made_up_is_a_doubt() -> None:
    bench = await Bench.of(engine("triton", "Abre \ue000\ue003"))
    translated = await bench.answer(task("Open it", keep=("it",)))
    assert (translated.text, translated.degradations) == ("Abre it", ("check_failed",))


async def test_a_phrase_behind_the_cut_is_no_reason_for_another_answer_but_said() -> None:
    triton = engine("triton", "Abre", Done(FinishReason.LENGTH))
    translated = await (await Bench.of(triton, engine("vllm", "no"))).answer(task("Open it", keep=("it",)))
    assert (translated.text, translated.degradations) == ("Abre", ("phrase_not_kept",))


async def test_checks_see_what_an_engine_made_of_the_words() -> None:
    checks = Opinions()
    bench = await Bench.of(engine("triton", "\ue001 y \ue001"), engine("vllm", "Hola"), checks=checks)
    await bench.answer(task("A and A", keep=("A",)))
    await bench.answer(task("A and B", keep=("A", "B")))
    # Two placeholders for one phrase are the same; lost ones are found already, and hide nothing else.
    assert checks.seen == [
        ("\ue000 and \ue000", "\ue000 y \ue000", True),
        (" and ", " y ", True),
        (" and ", "Hola", True),
    ]
