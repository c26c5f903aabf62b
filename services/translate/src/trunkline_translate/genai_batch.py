"""The sequences of a pipeline: they join its batch as they come, and leave it as they end."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

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
from trunkline_translate.genai_pipeline import Generation, Pipeline

INTERVAL_S: Final = 0.02
"""Between two pieces of one translation. Nobody reads faster, and each costs a run of the detokeniser."""
BEAT_S: Final = 1.0
"""Between two signs of life."""


@dataclass(slots=True)
class _Live:
    number: int
    generation: Generation
    prompt_tokens: int
    tokens: list[int] = field(default_factory=list)
    said: str = ""


class Batch:
    """Runs the sequences of a pipeline, several at once. A pipeline that raises is broken, and so is its batch.

    Args:
        pipeline: makes their tokens.
        places: tokens of the model, those of prompt and answer together.
        sequences: most at once.
        say: is told what happened, at once.
        clock: the machine's monotonic one, in seconds.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        places: int,
        sequences: int,
        say: Callable[[Sequence[News]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipeline = pipeline
        self._places = places
        self._sequences = sequences
        self._say = say
        self._now = clock
        self._waiting: list[tuple[int, float, int, Begin]] = []
        self._live: list[_Live] = []
        self._gone: list[Gone] = []
        self._steps = 0
        self._flushed = clock()
        self._said = clock()

    @property
    def busy(self) -> bool:
        """True while a turn has something to do."""
        return bool(self._live or self._waiting or self._gone or self._pipeline.busy)

    def take(self, order: Begin | Cancel) -> None:
        """What the next turn is to see to."""
        if isinstance(order, Cancel):
            self._cancel(order.number)
        else:
            heapq.heappush(self._waiting, (order.priority, order.due, order.number, order))

    def turn(self) -> None:
        """Begins those that wait, as many as there is room for, makes a step, and says what came of it.

        Raises:
            Exception: the pipeline is broken.
        """
        while self._waiting and len(self._live) < self._sequences:
            self._begin(heapq.heappop(self._waiting)[-1])
        if self._pipeline.busy:
            self._pipeline.step()
            self._steps += 1
        gone, self._gone = self._gone, []
        news = [*gone, *self._read()]
        now = self._now()
        if news or now - self._said >= BEAT_S:
            self._said = now
            self._say([Steps(self._steps), *news])
            self._steps = 0

    def _cancel(self, number: int) -> None:
        """Whatever the pipeline has of it goes with the next step."""
        for live in self._live:
            if live.number == number:
                live.generation.cancel()
                self._live.remove(live)
                self._gone.append(Gone(number))
                return
        for waiting in self._waiting:
            if waiting[-1].number == number:
                self._waiting.remove(waiting)
                heapq.heapify(self._waiting)
                self._gone.append(Gone(number))
                return

    def _begin(self, order: Begin) -> None:
        if order.due <= self._now():
            self._say([Failed(order.number, "no place was free before the sentence was due")])
            return
        self._say([Began(order.number)])
        prompt = self._pipeline.encode(order.prompt)
        room = self._places - prompt.count
        if room < order.likely:
            self._say([TooLong(order.number, prompt.count, self._places)])
            return
        generation = self._pipeline.add(prompt, min(order.most, room))
        self._live.append(_Live(order.number, generation, prompt.count))

    def _read(self) -> list[News]:
        """What there is to say. The first text and the last go at once, and others not too often."""
        now = self._now()
        due = now - self._flushed >= INTERVAL_S
        if due:
            self._flushed = now
        news: list[News] = []
        going: list[_Live] = []
        for live in self._live:
            tokens, state = live.generation.read()
            live.tokens += tokens
            if state is not State.RUNNING:
                news.append(self._last(live, state))
                continue
            going.append(live)
            if live.tokens and (due or not live.said) and (more := self._more(live)):
                news.append(Said(live.number, more))
        self._live = going
        return news

    def _more(self, live: _Live) -> str:
        """What its tokens add to what was said of it. A text that does not go on from there waits for its end."""
        text = self._pipeline.decode(live.tokens)
        if not text.startswith(live.said):
            return ""
        more = text[len(live.said) :]
        live.said = text
        return more

    def _last(self, live: _Live, state: State) -> News:
        """The rest of it, and how it ended."""
        if state is State.DROPPED:
            return Failed(live.number, "its memory for sequences is full")
        text = self._pipeline.decode(live.tokens)
        if not text.startswith(live.said):
            return Failed(live.number, "its text changed after it was said")
        return Over(live.number, text[len(live.said) :], state, live.prompt_tokens, len(live.tokens))
