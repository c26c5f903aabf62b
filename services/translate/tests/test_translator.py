"""One sentence: what it becomes, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from translator_parts import (
    BEFORE,
    DEAD,
    EN_DE,
    FULL,
    HARD,
    Bench,
    Gone,
    Opinions,
    Script,
    ScriptedEngine,
    VirtualPolicy,
    Wait,
    answered,
    engine,
    fault_of,
    now,
    task,
    virtually,
)

from trunkline_hop.errors import BadRequest, Fault
from trunkline_translate.checks import Finding
from trunkline_translate.engine import (
    Done,
    Exchange,
    FinishReason,
    Formality,
    Identity,
    Priority,
    SentenceTooLong,
)
from trunkline_translate.translation import Partial, Translated


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualPolicy()


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
