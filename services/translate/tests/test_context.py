"""What a conversation remembers: of what it said, and of what it was sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from conversation_script import CONFIG
from hypothesis import given
from hypothesis import strategies as st

from trunkline_translate import conversation_state
from trunkline_translate.context import Context
from trunkline_translate.conversation_state import ConversationState
from trunkline_translate.engine import Exchange
from trunkline_translate.inbox import Text
from trunkline_translate.language import Direction
from trunkline_translate.sentences import Sentences
from trunkline_translate.snapshot import Snapshot
from trunkline_translate.text_ids import KEPT, TextIds

THERE, BACK = Direction("en", "es"), Direction("es", "en")
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def exchange(number: int) -> Exchange:
    return Exchange(f"source {number}", f"target {number}")


def test_context_is_the_last_three_sentences_of_the_direction():
    context = Context()
    for number in range(5):
        context.add(THERE, exchange(number), at(number))
        context.add(BACK, exchange(10 + number), at(number))
    assert context.of(THERE, at(5)) == (exchange(2), exchange(3), exchange(4))
    assert context.of(BACK, at(5)) == (exchange(12), exchange(13), exchange(14))
    assert context.of(Direction("en", "fr"), at(5)) == ()
    assert Context(context.remembered).of(THERE, at(5)) == context.of(THERE, at(5))


def test_what_is_older_than_half_a_minute_is_no_context():
    context = Context()
    for number, when in enumerate([0, 20, 40]):
        context.add(THERE, exchange(number), at(when))
    assert context.of(THERE, at(50)) == (exchange(1), exchange(2))
    assert context.of(THERE, at(70)) == (exchange(2),)
    assert context.of(THERE, at(71)) == ()


def test_what_seems_to_come_from_the_future_is_no_context():
    """The clock was set back: nobody knows how old it is."""
    context = Context()
    context.add(THERE, exchange(1), at(3600))
    assert context.of(THERE, at(3570)) == (exchange(1),)
    assert context.of(THERE, at(0)) == ()
    context.add(THERE, exchange(2), at(0))
    assert context.of(THERE, at(1)) == (exchange(2),)
    assert len(context.remembered) == 1


@given(st.lists(st.tuples(st.sampled_from([THERE, BACK]), st.integers(0, 20)), max_size=30))
def test_forgetting_what_is_old_loses_nothing_that_is_not(said):
    """Beside a context that never forgets."""
    context, everything, now = Context(), [], 0
    for number, (direction, pause) in enumerate(said):
        now += pause
        fresh = [each for each, other, when in everything if other == direction and now - when <= 30]
        assert context.of(direction, at(now)) == tuple(fresh[-3:])
        context.add(direction, exchange(number), at(now))
        everything.append((exchange(number), direction, now))
    assert len(context.remembered) <= 6


def test_a_text_is_taken_once_and_one_without_an_id_always():
    ids = TextIds()
    assert [ids.take(each) for each in ("a", "b", "a", "", "", "b")] == [True, True, False, True, True, False]


def test_a_client_that_sends_again_is_behind_until_it_has_caught_up():
    ids = TextIds(("a", "b", "c"), "c")
    behind = []
    for each in ("a", "b", "c", "d", "a", "", "a"):
        ids.take(each)
        behind.append(ids.behind)
    assert behind == [True, True, False, False, True, False, True]


def test_texts_of_which_no_sentence_comes_do_not_pile_up():
    state = ConversationState(Snapshot("s", CONFIG), 0, Sentences)
    for number in range(3000):
        state.take(Text(" ", f"blank {number}"), START)
        assert not state.cut(START)
    ids = state.snapshot().text_ids
    assert KEPT <= len(ids) <= KEPT + 64 and ids[-1] == "blank 2999"


@given(
    st.lists(
        st.tuples(st.text("aA. \n好。…", min_size=1, max_size=30), st.booleans(), st.booleans()), max_size=6
    ),
    st.integers(1, 7),
)
def test_taking_a_text_little_by_little_makes_no_difference(texts, step):
    def sentences(language: str, _: int) -> Sentences:
        return Sentences(language, 9)

    def taken() -> Snapshot:
        state = ConversationState(Snapshot("s", CONFIG), 0, sentences)
        for number, (text, joined, ends) in enumerate(texts):
            state.take(Text(text, str(number), joined=joined, ends=ends), START)
            while state.cut(START):
                # As if it went on elsewhere, at any point.
                state = ConversationState(state.snapshot(), 0, sentences)
        state.flush(START)
        return state.snapshot()

    with pytest.MonkeyPatch.context() as patched:
        expected = taken()
        patched.setattr(conversation_state, "STEP", step)
        found = taken()
    assert found == expected


def test_the_ids_of_answered_texts_are_forgotten_one_day_and_those_of_others_never():
    ids = TextIds()
    for number in range(1000):
        ids.take(str(number))
    ids.forget({"0", "5"})
    assert ids.taken == ("0", "5", *map(str, range(1000 - KEPT, 1000)))
