"""Whole texts: sentences in their order and context, and what stands between them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from translator_parts import VirtualPolicy, now, virtually

from trunkline_hop.errors import BadRequest, Fault, Overloaded, TooLate, Unavailable
from trunkline_translate.detect import Detected
from trunkline_translate.engine import Exchange, Identity, Priority
from trunkline_translate.sentences import Span, split
from trunkline_translate.texts import TextEvent, Texts
from trunkline_translate.translation import Options, Outcome, Partial, Task, Translated
from trunkline_translate.translator import NOBODY

SPANISH = Options("es", "en")
MADE_BY = Identity("triton", "engines/triton/m")


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualPolicy()


class Shouting:
    """Translates a sentence into capitals, in two pieces and a second."""

    def __init__(self, *, fails: str = "?", unchanged: str = "*") -> None:
        self.tasks: list[Task] = []
        self.live = 0
        self.most = 0
        self.failure: Exception = Unavailable("NO_ENGINE", "none")
        self._fails = fails
        self._unchanged = unchanged

    async def translate(self, task: Task) -> AsyncGenerator[Outcome, None]:
        self.tasks.append(task)
        self.live += 1
        self.most = max(self.most, self.live)
        try:
            await asyncio.sleep(0.5)
            text = task.text.upper()
            yield Partial(1, text[:1])
            await asyncio.sleep(0.5)
            if self._fails in task.text:
                raise self.failure
            if text[1:]:
                yield Partial(1, text[1:])
            made_by = NOBODY if self._unchanged in task.text else MADE_BY
            yield Translated(text, task.source, task.options.target, 1, made_by)
        finally:
            self.live -= 1


class Knows:
    """Takes every text with letters for English."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def detect(self, text: str) -> Sequence[Detected]:
        self.seen.append(text)
        return [Detected("en", 0.9), Detected("de", 0.1)] if any(map(str.isalpha, text)) else []


def texts(translator: Shouting, **more: int) -> Texts:
    return Texts(translator, split, Knows(), **more)


async def events(text: str, options: Options = SPANISH) -> list[TextEvent]:
    return [event async for event in texts(Shouting()).stream(text, options)]


async def test_a_text_comes_sentence_by_sentence_with_what_stands_between() -> None:
    seen = await events("  One. Two!\n\nThree ")
    assert [(each.sentence_id, each.separator, each.source_text) for each in seen] == [
        (1, "  ", "One."),
        (1, "", "One."),
        (1, "", "One."),
        (2, " ", "Two!"),
        (2, "", "Two!"),
        (2, "", "Two!"),
        (3, "\n\n", "Three"),
        (3, "", "Three"),
        (3, "", "Three"),
    ]
    assert [each.outcome.text for each in seen[:3]] == ["O", "NE.", "ONE."]


async def test_a_text_at_once_is_its_sentences_with_what_stood_around_them() -> None:
    whole = await texts(Shouting()).whole("  One. Two!\n\nThree ", SPANISH)
    assert whole.text == "  ONE. TWO!\n\nTHREE "
    assert [(each.sentence_id, each.separator, each.translated.text) for each in whole.sentences] == [
        (1, "  ", "ONE."),
        (2, " ", "TWO!"),
        (3, "\n\n", "THREE"),
    ]


@given(st.text("ab.!?。 \n\t", max_size=40), st.sampled_from(["en", "zh", ""]))
def test_whatever_is_no_sentence_is_kept_as_it_is(text: str, source: str) -> None:
    async def check() -> None:
        whole = await texts(Shouting(fails="#")).whole(text, Options("es", source))
        assert whole.text == text.upper()

    virtually(check())


async def test_a_text_of_white_space_has_no_sentence() -> None:
    assert await events(" \n ") == []
    assert (await texts(Shouting()).whole(" \n ", SPANISH)).text == " \n "


async def test_each_sentence_has_the_three_before_it_for_context() -> None:
    translator = Shouting()
    await texts(translator).whole("Ada saw. Ben ran. Cleo sang. Dora left. Eve won.", SPANISH)
    assert [[each.source for each in task.context] for task in translator.tasks] == [
        [],
        ["Ada saw."],
        ["Ada saw.", "Ben ran."],
        ["Ada saw.", "Ben ran.", "Cleo sang."],
        ["Ben ran.", "Cleo sang.", "Dora left."],
    ]
    assert translator.tasks[1].context == (Exchange("Ada saw.", "ADA SAW."),)


async def test_what_was_not_translated_is_no_context() -> None:
    translator = Shouting()
    await texts(translator).whole("Ada *saw. Ben ran. Cleo sang.", SPANISH)
    assert [[each.source for each in task.context] for task in translator.tasks] == [[], [], ["Ben ran."]]


async def test_every_sentence_is_asked_for_as_the_text_was() -> None:
    translator = Shouting()
    due = now() + 9
    await texts(translator).whole("Ada saw. Ben ran.", SPANISH, priority=Priority.BATCH, due=due)
    assert {(task.priority, task.due, task.options) for task in translator.tasks} == {
        (Priority.BATCH, due, SPANISH)
    }


async def test_the_language_is_found_out_once_a_text_where_it_is_not_given() -> None:
    translator, knows = Shouting(), Knows()
    await Texts(translator, split, knows).whole("Ada saw. Ben ran.", Options("es"))
    assert knows.seen == ["Ada saw. Ben ran."]
    assert [task.source for task in translator.tasks] == ["en", "en"]
    await Texts(translator, split, knows).whole("Ada saw.", SPANISH)
    assert len(knows.seen) == 1


def test_a_long_text_is_cut_in_a_thread_and_its_beginning_tells_its_language() -> None:
    translator, knows, threads = Shouting(), Knows(), set[str]()

    def cut(text: str, language: str) -> Sequence[Span]:
        threads.add(threading.current_thread().name)
        return split(text, language)[:2]

    long = "Ada saw. " * 1000
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        whole = runner.run(Texts(translator, cut, knows).whole(long, Options("es")))
    assert whole.text == "ADA SAW. ADA SAW." + long[len("Ada saw. Ada saw.") :]
    assert [len(text) for text in knows.seen] == [2000]
    assert threads != {threading.main_thread().name}


async def test_a_text_that_does_not_tell_its_language_leaves_it_to_the_translator() -> None:
    translator = Shouting()
    await texts(translator).whole("12! 34!", Options("es"))
    assert {task.source for task in translator.tasks} == {""}


async def test_a_sentence_that_fails_fails_its_text() -> None:
    translator = Shouting()
    with pytest.raises(Unavailable):
        await texts(translator).whole("Ada saw. Why? Cleo sang.", SPANISH)
    assert [task.text for task in translator.tasks] == ["Ada saw.", "Why?"]
    assert translator.live == 0


async def test_texts_are_independent_of_each_other_and_stay_in_their_order() -> None:
    became = await texts(Shouting()).several(["Ada saw.", "Why?", "Cleo sang. Dora left."], SPANISH)
    assert [each.reason if isinstance(each, Fault) else each.text for each in became] == [
        "ADA SAW.",
        "NO_ENGINE",
        "CLEO SANG. DORA LEFT.",
    ]


async def test_when_all_texts_fail_the_first_one_s_fault_is_told() -> None:
    with pytest.raises(Unavailable) as failed:
        await texts(Shouting()).several(["Why?", "Who?"], SPANISH)
    assert failed.value.reason == "NO_ENGINE"


async def test_so_many_texts_at_once_and_no_more() -> None:
    translator = Shouting()
    began = now()
    became = await texts(translator, at_once=4).several(["Ada saw."] * 10, SPANISH)
    assert len(became) == 10
    assert translator.most == 4
    assert now() - began == pytest.approx(3.0)


async def test_a_defect_is_no_text_s_failure() -> None:
    translator = Shouting()
    translator.failure = ValueError("a defect")
    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="a defect"):
        await texts(translator).several(["Ada saw.", "Why?", "Cleo sang. Dora left."], SPANISH)
    assert translator.live == 0
    assert asyncio.all_tasks() == before


async def test_closing_a_text_stops_the_sentence_in_hand() -> None:
    translator = Shouting()
    before = asyncio.all_tasks()
    async with aclosing(texts(translator).stream("Ada saw. Ben ran.", SPANISH)) as stream:
        await anext(stream)
        assert translator.live == 1
    assert translator.live == 0
    assert len(translator.tasks) == 1
    assert asyncio.all_tasks() == before


async def test_cancelling_texts_stops_all_of_them() -> None:
    translator = Shouting()
    before = asyncio.all_tasks()
    caller = asyncio.create_task(texts(translator).several(["Ada saw.", "Ben ran."], SPANISH))
    while translator.live < 2:
        await asyncio.sleep(0.1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert translator.live == 0
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    "fault", [BadRequest("x"), TooLate("DEADLINE_EXCEEDED", "late"), Overloaded("SHED", "full")]
)
async def test_a_text_fails_as_its_sentence_did(fault: Fault) -> None:
    translator = Shouting()
    translator.failure = fault
    became = await texts(translator).several(["Ada saw.", "Why?"], SPANISH)
    assert became[1] is fault
