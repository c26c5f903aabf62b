"""One sentence: by whom it is translated, in what time, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from translator_parts import (
    EN_DE,
    HARD,
    SOFT,
    Bench,
    Gone,
    Opinions,
    Script,
    ScriptedEngine,
    VirtualPolicy,
    Wait,
    answered,
    engine,
    now,
    said,
    task,
    virtually,
)

from trunkline_hop.errors import BadRequest, Fault, NotFound, Overloaded, TooLate, Unavailable
from trunkline_translate.checks import Checks, Finding
from trunkline_translate.detect import Detector
from trunkline_translate.engine import (
    Done,
    EngineFailed,
    Exchange,
    FinishReason,
    Formality,
    Identity,
    Priority,
    SentenceTooLong,
)
from trunkline_translate.translation import Partial, Translated

DEAD = EngineFailed("connection refused")
FULL = EngineFailed("its queue is full", counts=False)
CHECKS = ("language", "echo", "preamble")
BEFORE = (Exchange("Good day", "Buenos días"),)


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualPolicy()


async def fault_of(bench: Bench, *args: str, **more: object) -> Fault:
    with pytest.raises(Fault) as failed:
        await bench.outcomes(task(*args, **more))
    assert not any(each.live for each in bench.engines)
    return failed.value


async def test_a_translation_comes_in_pieces_and_says_what_made_it() -> None:
    bench = await Bench.of(engine("triton", "Hola", " mundo"))
    outcomes = await bench.outcomes(task("Hello world"))
    assert outcomes == [
        Partial(1, "Hola"),
        Partial(1, " mundo"),
        Translated(
            "Hola mundo",
            "en",
            "es",
            1,
            Identity("triton", "models/triton/versions/1", "digest", "CPU"),
            prompt_tokens=3,
            completion_tokens=2,
        ),
    ]


async def test_an_engine_is_asked_with_everything_that_matters_to_it() -> None:
    triton = engine("triton", "Hola")
    bench = await Bench.of(triton)
    due = now() + 5
    await bench.outcomes(
        task(formality=Formality.FORMAL, max_tokens=7, context=BEFORE, priority=Priority.INTERACTIVE, due=due)
    )
    [ask] = triton.asks
    assert (ask.text, ask.formality, ask.max_tokens, ask.context) == ("Hello", Formality.FORMAL, 7, BEFORE)
    assert (ask.priority, ask.due, str(ask.direction)) == (Priority.INTERACTIVE, due, "en-es")


async def test_an_answer_says_itself_what_made_it_where_that_changed_meanwhile() -> None:
    old = Identity("triton", "models/triton/versions/0")
    bench = await Bench.of(engine("triton", "Hola", Done(FinishReason.STOP, made_by=old)))
    assert (await bench.answer(task())).made_by == old


async def test_white_space_around_an_answer_is_none_of_it() -> None:
    bench = await Bench.of(engine("triton", " \n", " Hola ", " ", "\n mundo", "\n", " "))
    outcomes = await bench.outcomes(task())
    assert outcomes[:-1] == [Partial(1, "Hola"), Partial(1, "  \n mundo")]
    assert answered(outcomes).text == "Hola  \n mundo"


@given(st.lists(st.text("ab \n\u3000\ue000", min_size=1, max_size=4), min_size=1, max_size=6))
def test_the_partials_put_together_are_the_translation_however_it_is_cut(deltas: list[str]) -> None:
    async def check() -> None:
        bench = await Bench.of(engine("triton", *deltas, "x"))
        translated = await bench.answer(task("b A", keep=("A",)))
        assert translated.text == ("".join(deltas) + "x").strip().replace("\ue000", "A")

    virtually(check())


# The next engine


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


# Time


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


# Context


async def test_context_is_used_and_said_to_be() -> None:
    bench = await Bench.of(engine("triton", "Hola"))
    assert (await bench.answer(task(context=BEFORE))).context_used
    assert not (await bench.answer(task())).context_used


async def test_an_engine_that_takes_no_context_gets_none() -> None:
    apertium = engine("apertium", "Hola", takes_context=False)
    translated = await (await Bench.of(apertium)).answer(task(context=BEFORE))
    assert apertium.asks[0].context == ()
    assert (translated.context_used, translated.degradations) == (False, ())


async def test_nothing_in_the_context_can_be_taken_for_a_placeholder() -> None:
    triton = engine("triton", "Hola")
    await (await Bench.of(triton)).answer(task(context=(Exchange("a\ue000b", "\uf8ffc"),)))
    assert triton.asks[0].context == (Exchange("ab", "c"),)


# Checks


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


# Nothing to translate


@pytest.mark.parametrize("text", ["?!", " … ", "😀", "«X»"])
async def test_what_has_no_words_comes_back_as_it_is(text: str) -> None:
    triton = engine("triton", "no", down="gone")
    translated = await (await Bench.of(triton)).answer(task(text, source="", keep=("X",)))
    assert (translated.text, translated.made_by) == (text, Identity("none", "engines/none"))
    assert translated.degradations == ()


async def test_a_term_alone_needs_no_engine() -> None:
    bench = await Bench.of(engine("triton", "no", down="gone"))
    assert (await bench.answer(task("Yes!", glossary=(("yes", "sí"),)))).text == "sí!"


async def test_digits_are_translated() -> None:
    assert (await (await Bench.of(engine("triton", "4,5"))).answer(task("4.5"))).text == "4,5"


async def test_what_is_in_the_language_already_comes_back_as_it_is_and_says_so() -> None:
    bench = await Bench.of(engine("triton", "no"))
    translated = await bench.answer(task("Hola X", source="es", glossary=(("x", "y"),)))
    assert (translated.text, translated.degradations) == ("Hola X", ("already_target_language",))
    assert translated.made_by.engine == "none"


async def test_a_language_that_nothing_tells_must_be_given() -> None:
    failed = await fault_of(await Bench.of(engine("triton", "no")), "123", source="")
    assert isinstance(failed, BadRequest)
    assert failed.reason == "LANGUAGE_UNDETECTED"


async def test_what_nobody_translates_is_refused_with_what_is_there() -> None:
    bench = await Bench.of(engine("triton", "no"), engine("vllm", "no", directions=(EN_DE,)))
    failed = await fault_of(bench, source="fr")
    assert isinstance(failed, BadRequest)
    assert failed.reason == "LANGUAGE_UNSUPPORTED"
    assert failed.metadata["pairs"] == "en-de,en-es"


# Ending early


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


# Whatever happens

ends = st.sampled_from([None, DEAD, FULL, Gone(), Wait(60), SentenceTooLong(9, 5), KeyError("x")])
pieces = st.lists(
    st.sampled_from(["Hola", " ", "Hallo", "\ue000", "\ue001", Wait(0.4), Wait(1.9)]), max_size=5
)


@st.composite
def scripts(draw: st.DrawFn) -> list[Script]:
    def script() -> Script:
        steps: list[object] = list(draw(pieces))
        end = draw(ends)
        if isinstance(end, SentenceTooLong):
            return [end]
        return [*steps, *([end] if end is not None else [])]

    return [script() for _ in range(draw(st.integers(1, 3)))]


@given(
    st.lists(scripts(), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.5, 3.0, 20.0, float("inf")]),
)
def test_a_sentence_is_translated_in_time_or_fails_as_the_catalogue_says(
    engines: Sequence[Sequence[Script]], restart: bool, context: bool, within: float
) -> None:
    async def check() -> None:
        bench = await Bench.of(
            *(ScriptedEngine(f"engine{number}", scripts) for number, scripts in enumerate(engines)),
            checks=Opinions(Hallo=HARD, **{" ": Finding("length", hard=False)}),
        )
        before = asyncio.all_tasks()
        due = now() + within
        given_ = task("Open it", keep=("it",), restart=restart, context=BEFORE if context else (), due=due)
        try:
            outcomes = await bench.outcomes(given_)
        except Fault as failed:
            assert failed.reason in {
                "NO_ENGINE", "ENGINE_FAILED", "SHED", "TEXT_TOO_LONG", "TRANSLATION_REJECTED", "DEADLINE_EXCEEDED",
            }  # fmt: skip
        else:
            translated = answered(outcomes)
            assert "Hallo" not in translated.text
            assert "\ue000" not in translated.text
            assert translated.text
            assert restart or translated.revision == 1
            assert now() < due
        assert now() <= due
        assert not any(each.live for each in bench.engines)
        assert asyncio.all_tasks() == before

    virtually(check())
