"""Sequences of a pipeline in turns: every turn is the test's own, so nothing of it is chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from genai_parts import alone, endless, opened, prompt, reference, shipped

from trunkline_translate.genai_batch import BEAT_S, INTERVAL_S, Batch
from trunkline_translate.genai_messages import (
    Began,
    Begin,
    Cancel,
    Failed,
    Gone,
    News,
    Over,
    Said,
    State,
    Steps,
    TooLong,
)
from trunkline_translate.genai_pipeline import Generation, Pipeline, Prompt

TEXTS = [f"I have {number} apples." for number in range(24)]


@dataclass
class Told:
    """A batch on a clock that stands still unless it is moved, and all that it said."""

    pipeline: Pipeline
    places: int = 0
    sequences: int = 16
    now: float = 0.0
    news: list[News] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.batch = Batch(
            self.pipeline,
            places=self.places or shipped().places,
            sequences=self.sequences,
            say=self.news.extend,
            clock=lambda: self.now,
        )

    def begin(self, number: int, text: str, most: int = 32, **changes: float) -> None:
        order = Begin(number, prompt(text), most, likely=1, priority=1, due=float("inf"))
        self.batch.take(order._replace(**changes))

    def turns(self, count: int = 0) -> None:
        """So many, or all there are."""
        while self.batch.busy:
            self.batch.turn()
            if (count := count - 1) == 0:
                break

    def of(self, kind: type[News]) -> list[News]:
        return [each for each in self.news if isinstance(each, kind)]

    def text(self, number: int) -> str:
        said = [each for each in self.news if isinstance(each, Said | Over)]
        return "".join(each.text for each in said if each.number == number)

    @property
    def steps(self) -> int:
        return sum(each.made for each in self.news if isinstance(each, Steps))


class Faulty:
    """A pipeline that breaks when it is told to."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.broken = ""
        """What fails from now on: `step`, `add` or `encode`."""

    def encode(self, text: str) -> Prompt:
        self._fail("encode")
        return self.pipeline.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.pipeline.decode(tokens)

    def add(self, prompt: Prompt, most: int) -> Generation:
        self._fail("add")
        return self.pipeline.add(prompt, most)

    def step(self) -> None:
        self._fail("step")
        self.pipeline.step()

    @property
    def busy(self) -> bool:
        return self.pipeline.busy

    def _fail(self, what: str) -> None:
        if self.broken == what:
            raise RuntimeError(f"told to fail at {what}")


@pytest.fixture
def told() -> Told:
    return Told(reference(shipped()))


def test_a_sequence_says_what_its_pipeline_does_and_counts_its_tokens(told):
    told.begin(7, TEXTS[0])
    told.turns()
    assert told.text(7) == alone(TEXTS[0])
    (over,) = told.of(Over)
    assert over.state == State.STOPPED
    assert over.prompt_tokens == reference(shipped()).encode(prompt(TEXTS[0])).count
    assert over.completion_tokens == told.steps
    assert told.news[0] == Began(7)


def test_many_at_once_say_what_each_does_alone():
    told = Told(reference(shipped()), sequences=8)
    for number, text in enumerate(TEXTS):
        told.begin(number, text)
    told.turns()
    assert [told.text(number) for number in range(len(TEXTS))] == [alone(text) for text in TEXTS]


def test_a_sequence_ends_where_it_may_go_no_further():
    told = Told(reference(endless()))
    told.begin(1, "x", most=5)
    told.turns()
    (over,) = told.of(Over)
    assert (over.state, over.completion_tokens) == (State.LENGTH, 5)


def test_no_more_begin_than_there_are_places():
    told = Told(opened(endless(), sequences=2), sequences=2)
    for number in range(5):
        told.begin(number, "x", most=3)
    told.turns(1)
    assert told.of(Began) == [Began(0), Began(1)]
    told.turns()
    assert len(told.of(Over)) == 5


def test_the_more_urgent_goes_first_then_the_earliest_due_then_the_first(told):
    told = Told(reference(shipped()), sequences=1)
    orders = [(1, 1, 900.0), (2, 1, 500.0), (3, 2, 100.0), (4, 0, 950.0), (5, 1, 500.0)]
    for number, priority, due in orders:
        told.begin(number, "x", most=2, priority=priority, due=due)
    told.turns()
    assert [began.number for began in told.of(Began)] == [4, 2, 5, 1, 3]


def test_what_is_due_before_it_could_begin_is_not_begun(told):
    told.now = 10.0
    told.begin(1, "x", due=10.0)
    told.turns()
    assert told.news[0] == Failed(1, "no place was free before the sentence was due")
    assert not told.of(Began)


def test_a_prompt_that_leaves_no_room_is_refused_and_costs_no_step():
    told = Told(reference(shipped()), places=64)
    told.begin(1, "apples and " * 40)
    told.turns()
    (refusal,) = told.of(TooLong)
    assert refusal.limit == 64
    assert refusal.tokens > 64
    assert told.steps == 0
    assert not told.batch.busy


def test_an_answer_is_no_longer_than_the_room_its_prompt_leaves():
    told = Told(reference(endless()), places=64)
    told.begin(1, "apples", most=1000)
    told.turns()
    (over,) = told.of(Over)
    assert over.prompt_tokens + over.completion_tokens == 64


def test_a_sequence_that_nobody_wants_any_more_is_gone_within_two_steps():
    told = Told(reference(endless()))
    told.begin(1, "x", most=400)
    told.turns(3)
    told.batch.take(Cancel(1))
    told.turns()
    assert told.news[-1] == Gone(1)
    assert told.steps <= 3 + 2


def test_one_that_waits_and_is_not_wanted_any_more_never_begins():
    told = Told(reference(endless()), sequences=1)
    told.begin(1, "x", most=3)
    told.begin(2, "x", most=3)
    told.turns(1)
    told.batch.take(Cancel(2))
    told.turns()
    assert told.of(Began) == [Began(1)]
    assert told.of(Gone) == [Gone(2)]


def test_one_that_is_over_has_nothing_to_cancel(told):
    told.begin(1, "x", most=3)
    told.turns()
    told.batch.take(Cancel(1))
    assert not told.batch.busy


def test_those_that_are_given_up_change_nothing_for_the_others(told):
    for number, text in enumerate(TEXTS):
        told.begin(number, text)
    told.turns(2)
    for number in range(0, len(TEXTS), 2):
        told.batch.take(Cancel(number))
    told.turns()
    kept = range(1, len(TEXTS), 2)
    assert [told.text(number) for number in kept] == [alone(TEXTS[number]) for number in kept]


@pytest.mark.parametrize("what", ["step", "add", "encode"])
def test_a_sequence_is_said_to_begin_before_the_pipeline_can_break_on_it(what):
    pipeline = Faulty(reference(shipped()))
    told = Told(pipeline)
    pipeline.broken = what
    told.begin(1, "x", most=4)
    if what == "step":
        # The pipeline is shared with other tests, and leaves nothing behind.
        told.begin(1, "x", most=1)
    with pytest.raises(RuntimeError, match=what):
        told.turns()
    assert told.news[0] == Began(1)
    pipeline.broken = ""
    told.turns()


def test_the_first_text_goes_at_once_and_the_next_ones_not_too_often():
    told = Told(reference(endless()))
    told.now = 100.0
    told.begin(1, "Good morning.", most=60)
    told.turns(1)
    while not told.of(Said):
        told.turns(1)
    told.turns(8)
    assert len(told.of(Said)) == 1
    told.now += 2 * INTERVAL_S
    told.turns(1)
    assert len(told.of(Said)) == 2
    told.turns()
    assert len(told.of(Said)) == 2
    assert told.of(Over)[0].completion_tokens == 60


def test_no_text_is_half_a_character():
    told = Told(reference(endless()))
    told.begin(1, "日本語 Ünïcödé ñandú", most=300)
    while told.batch.busy:
        told.now += 1.0
        told.batch.turn()
    pieces = [each.text for each in told.of(Said)]
    assert len(pieces) > 1
    assert not [piece for piece in pieces if "\ufffd" in piece[-1:]]


def test_while_it_works_it_gives_signs_of_life():
    told = Told(reference(endless()))
    told.begin(1, "x", most=100)
    told.turns(20)
    told.news.clear()
    told.turns(1)
    assert not told.news
    told.now += BEAT_S
    told.turns(1)
    assert isinstance(told.news[0], Steps)
    told.turns()


def test_a_batch_that_has_nothing_to_do_is_not_busy(told: Told):
    assert not told.batch.busy
    told.begin(1, "x")
    assert told.batch.busy
    told.turns()
    assert not told.batch.busy


def test_the_model_that_ships_has_an_end():
    assert shipped().ends
