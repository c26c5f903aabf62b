"""One conversation: what it answers, what ends a sentence, what fails, and what is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest
from conversation_script import (
    BOUND_S,
    CONFIG,
    SCRIPT,
    Flush,
    Here,
    Piece,
    Segment,
    answer_to,
    answers,
    fed,
    said_by,
    shown,
    sources,
    texts,
    until,
)

from trunkline_hop.errors import Overloaded, Unavailable
from trunkline_translate.conversation_events import (
    Draining,
    SentenceDelta,
    SentenceFailed,
    SentenceTranslated,
    Started,
)
from trunkline_translate.engine import Formality, Priority
from trunkline_translate.translation import Options, Outcome, Partial, Task, Translated
from trunkline_translate.translator import NOBODY


async def test_every_sentence_is_answered_in_pieces_and_whole():
    here = Here()
    async with here.start() as conversation:
        said = await said_by(conversation, [Piece("Good mor", "1"), Piece("ning. How are you?", "2")])
    assert sources(said) == ["Good morning.", "How are you?"]
    assert [each.sequence for each in said] == list(range(1, len(said) + 1))
    started = said[0].event
    assert isinstance(started, Started)
    assert (started.resume_token, started.resumed, started.expires) == ("", False, None)
    ids = [each.text_ids for each in said if isinstance(each.event, SentenceTranslated)]
    assert ids == [("1", "2"), ("2",)]
    whole = {each.sentence_id: each.translated.text for each in answers(said)}
    assert (
        shown(said)
        == whole
        == {1: answer_to(here.translator.tasks[0]), 2: answer_to(here.translator.tasks[1])}
    )
    assert all(not each.text_ids for each in said if not isinstance(each.event, SentenceTranslated))


async def test_whoever_wants_whole_sentences_gets_nothing_else():
    here = Here()
    async with here.start(replace(CONFIG, final_only=True)) as conversation:
        said = await said_by(conversation, [Piece("One. Two.", "1")])
    assert [type(each.event) for each in said] == [Started, SentenceTranslated, SentenceTranslated]


async def test_a_task_says_all_that_was_asked_for():
    here = Here()
    options = Options(
        "de", "en", "models/m", Formality.FORMAL, (("a", "b"),), ("Trunkline",), max_tokens=7, restart=False
    )
    config = replace(CONFIG, options=options, sentence_timeout_s=3.0)
    now = asyncio.get_running_loop().time()
    async with here.conversations.start(config, priority=Priority.BATCH) as conversation:
        await said_by(conversation, [Piece("Yes.", "1")])
    task = here.translator.tasks[0]
    assert (task.text, task.source, task.options, task.priority) == ("Yes.", "en", options, Priority.BATCH)
    assert now + 3.0 <= task.due


async def test_a_sentence_is_translated_in_the_context_of_those_before_it():
    here = Here()
    async with here.start() as conversation:
        await said_by(conversation, [Piece("Ah. Bo. Ce. De. Ea.", "1")])
    contexts = [[each.source for each in task.context] for task in here.translator.tasks]
    assert contexts == [[], ["Ah."], ["Ah.", "Bo."], ["Ah.", "Bo.", "Ce."], ["Bo.", "Ce.", "De."]]
    for task in here.translator.tasks:
        for each in task.context:
            assert each.target == next(
                answer_to(other) for other in here.translator.tasks if other.text == each.source
            )


async def test_context_is_of_the_last_half_minute_and_of_sentences_that_were_translated():
    here = Here()

    async def before(task: Task) -> None:
        if task.text == "B.":
            raise Unavailable("NO_ENGINE", "nobody is up")

    here.translator.before = before
    async with here.start() as conversation:
        events = conversation.events()
        for text, wait in (("A.", 20), ("B.", 10), ("C.", 10), ("D.", 0)):
            await fed(conversation, [Segment(text, "", ends=True)], finish=False)
            async for each in events:
                if isinstance(each.event, SentenceTranslated | SentenceFailed):
                    break
            here.time.advance(wait)
    assert [[each.source for each in task.context] for task in here.translator.tasks] == [
        [],
        ["A."],
        ["A."],
        ["C."],
    ]


async def test_what_needed_no_translation_is_no_context():
    here = Here()

    async def nobody(task: Task) -> AsyncGenerator[Outcome, None]:
        yield Translated(task.text, task.source, task.options.target, 1, NOBODY)

    scripted = here.translator.translate
    asked: list[Task] = []

    def translate(task: Task) -> AsyncGenerator[Outcome, None]:
        asked.append(task)
        return scripted(task) if any(map(str.isalpha, task.text)) else nobody(task)

    here.translator.translate = translate
    async with here.start() as conversation:
        said = await said_by(
            conversation, [Segment(text, "", ends=True) for text in ("One.", "!", "?!", "!!", "Two.")]
        )
    assert len(answers(said)) == 5
    assert [each.source for each in asked[-1].context] == ["One."]


async def test_conversations_know_nothing_of_each_other():
    here = Here()
    async with here.start() as one, here.start() as other:
        first, second = await asyncio.gather(
            said_by(one, [Piece(f"One {number}. ", str(number)) for number in range(20)]),
            said_by(other, [Piece(f"Other {number}. ", str(number)) for number in range(20)]),
        )
    assert sources(first) == [f"One {number}." for number in range(20)]
    assert sources(second) == [f"Other {number}." for number in range(20)]
    for task in here.translator.tasks:
        assert all(each.source.split()[0] == task.text.split()[0] for each in task.context)


async def test_a_flush_a_segment_and_another_language_end_a_sentence():
    here = Here()
    steps = [
        Piece("one", "1"),
        Flush(),
        Flush(),
        Segment("two", "2"),
        Segment("three", "3", ends=True),
        Segment("four", "4"),
        Segment("cinco", "5", "es"),
        Segment("seis", "6", "es"),
        Segment("seven", "7"),
    ]
    async with here.start(replace(CONFIG, options=Options("de", "en"))) as conversation:
        said = await said_by(conversation, steps)
    found = [(task.text, task.source) for task in here.translator.tasks]
    assert found == [
        ("one", "en"),
        ("two three", "en"),
        ("four", "en"),
        ("cinco seis", "es"),
        ("seven", "en"),
    ]
    assert sources(said) == [text for text, _ in found]


async def test_other_options_are_for_what_comes_after_them():
    here = Here()
    formal = Options("es", "en", formality=Formality.FORMAL)
    async with here.start() as conversation:
        await said_by(
            conversation, [Piece("one", "1"), formal, Piece("two", "2"), formal, Piece(" three", "3")]
        )
    assert [(task.text, task.options) for task in here.translator.tasks] == [
        ("one", CONFIG.options),
        ("two three", formal),
    ]


async def test_a_sentence_is_in_the_language_it_seems_to_be_in_or_in_that_of_the_one_before():
    here = Here()
    async with here.start(replace(CONFIG, options=Options("fr"))) as conversation:
        await said_by(
            conversation,
            [
                Segment(text, str(number), ends=True)
                for number, text in enumerate(
                    ["12.", "No.", "the cat.", "No.", "12.", "el gato.", "No.", "der Hund."]
                )
            ],
        )
    assert [task.source for task in here.translator.tasks] == ["", "fr", "en", "en", "en", "es", "es", "de"]


async def test_a_sentence_that_fails_is_told_and_the_conversation_goes_on():
    here = Here()

    async def before(task: Task) -> None:
        if task.text == "Two.":
            raise Unavailable("NO_ENGINE", "nobody is up")
        if task.text == "Three.":
            raise ZeroDivisionError("a secret")

    here.translator.before = before
    async with here.start() as conversation:
        said = await said_by(conversation, [Piece("One. Two. Three. Four.", "1")])
    one, two, three, four = answers(said)
    assert two == SentenceFailed(2, "Two.", "UNAVAILABLE", "NO_ENGINE", "nobody is up")
    assert isinstance(three, SentenceFailed) and (three.code, three.reason) == ("INTERNAL", "INTERNAL")
    assert "secret" not in three.message
    assert isinstance(one, SentenceTranslated) and isinstance(four, SentenceTranslated)
    assert [each.text_ids for each in said if isinstance(each.event, SentenceFailed)] == [("1",), ("1",)]


async def test_a_text_that_was_sent_already_is_ignored():
    here = Here()
    async with here.start() as conversation:
        said = await said_by(
            conversation,
            [
                Piece("One. ", "1"),
                Piece("One. ", "1"),
                Segment("Two.", "2"),
                Segment("Two.", "2", ends=True),
                Piece(" One. ", "1"),
                Segment("Three.", "3", ends=True),
                Segment("Four.", "", ends=True),
                Segment("Four.", "", ends=True),
            ],
        )
    assert sources(said) == ["One.", "Two.", "Three.", "Four.", "Four."]


async def test_what_is_asked_for_behind_a_text_that_came_twice_is_done():
    here = Here()
    formal = Options("es", "en", formality=Formality.FORMAL)
    async with here.start() as conversation:
        said = await said_by(
            conversation,
            [
                Piece("One", "1"),
                Piece(" two", "2"),
                Piece("One", "1"),
                Flush(),
                Piece("Three", "3"),
                Piece(" two", "2"),
                formal,
                Piece("Four", "4"),
            ],
        )
    assert sources(said) == ["One two", "Three", "Four"]
    assert [task.options for task in here.translator.tasks] == [CONFIG.options, CONFIG.options, formal]


async def test_leaving_stops_everything_at_once():
    here = Here()

    async def forever(task: Task) -> None:
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    for hook in ("before", "between", None):
        here.translator.before = here.translator.between = None
        if hook is not None:
            setattr(here.translator, hook, forever)
        async with here.start() as conversation:
            await conversation.piece("One. Two. Three. And", "1")
            if hook is not None:
                await until(lambda: here.translator.open == 1)
        assert here.translator.open == 0
        assert here.conversations.live == 0
        await until(lambda: asyncio.all_tasks() == before)


async def test_no_more_conversations_are_held_than_the_limit_says():
    here = Here(limit=1)
    async with here.start():
        with pytest.raises(Overloaded) as caught:
            async with here.start():
                pass
    assert caught.value.reason == "SHED" and caught.value.retry_after is not None
    async with here.start():
        assert here.conversations.live == 1


async def test_a_conversation_that_is_not_kept_is_translated_to_its_end_when_the_server_goes():
    here = Here()
    async with here.start() as conversation, asyncio.timeout(BOUND_S):
        await fed(conversation, [Piece("One. Two. And", "1")], finish=False)
        conversation.drain()
        said = [each async for each in conversation.events()]
        await conversation.piece("nobody hears this", "2")
    assert sources(said) == ["One.", "Two.", "And"]
    assert said[-1].event == Draining("")


async def test_a_translation_that_begins_anew_is_told_under_its_revision():
    here = Here()

    async def twice(task: Task):
        yield Partial(1, "wrong")
        yield Partial(2, "ri")
        yield Partial(2, "ght")
        yield Translated("right", "en", "es", 2, SCRIPT)

    here.translator.translate = twice
    async with here.start() as conversation:
        said = await said_by(conversation, [Piece("Yes.", "1")])
    revisions = [each.event.partial.revision for each in said if isinstance(each.event, SentenceDelta)]
    assert revisions == sorted(revisions) and revisions[-1] == 2
    assert shown(said) == {1: "right"}
    assert texts(said) == [(1, "Yes.", "right")]


async def test_a_translator_that_ends_without_a_word_is_a_sentence_that_failed():
    here = Here()

    async def nothing(task: Task):
        for each in ():
            yield each

    here.translator.translate = nothing
    async with here.start() as conversation, aclosing(conversation.events()) as events:
        await fed(conversation, [Piece("Yes.", "1")])
        said = [each async for each in events]
    assert isinstance(said[-1].event, SentenceFailed)
