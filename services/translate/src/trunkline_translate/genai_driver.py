"""One thread that owns a pipeline: sequences join its batch as they come, and leave it as they end."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition
from typing import Final

import structlog

from trunkline_translate import genai_threads
from trunkline_translate.engine import EngineFailed, SentenceTooLong
from trunkline_translate.genai_devices import Devices, NoDevice
from trunkline_translate.genai_pipeline import Generation, Pipeline, State
from trunkline_translate.genai_ticket import Ended, News, Ticket, deliver

log = structlog.get_logger("trunkline.translate")

INTERVAL_S: Final = 0.02
"""Between two pieces of one translation. Nobody reads faster, and each costs a run of the detokeniser."""
_BROKE: Final = "its pipeline broke"


@dataclass(frozen=True, slots=True)
class Work:
    """A sequence to make."""

    prompt: str
    most: int
    """Tokens of the answer at most."""
    likely: int
    """With room for fewer tokens of the answer it is not begun."""
    priority: int = 1
    """Smaller goes first."""
    due: float = float("inf")
    """On the event loop's clock. Among those of one priority, the earliest goes first."""


@dataclass(slots=True, order=True)
class _Waiting:
    priority: int
    due: float
    """On the clock of `time.monotonic`."""
    order: int
    work: Work = field(compare=False)
    ticket: Ticket = field(compare=False)


@dataclass(slots=True)
class _Running:
    ticket: Ticket
    generation: Generation
    prompt_tokens: int
    tokens: list[int] = field(default_factory=list)
    said: str = ""
    ended: bool = False


class Driver:
    """Runs the sequences of a model, several at once. It is called on the event loop.

    A step that fails breaks the pipeline: a fresh one takes its place, sequences that had begun fail, and those that
    wait go on. Where no device is left, everything fails until `revive` finds one.

    Args:
        name: of the model, for logs.
        devices: where pipelines are opened, one at once. The first is open when this returns.
        places: tokens of the model, those of prompt and answer together.
        sequences: most at once.
        queue_limit: most that may wait.

    Raises:
        NoDevice: no device works.
    """

    def __init__(self, name: str, devices: Devices, *, places: int, sequences: int, queue_limit: int) -> None:
        self._name = name
        self._devices = devices
        self._places = places
        self._sequences = sequences
        self._queue_limit = queue_limit
        self._pipeline: Pipeline | None = None
        self._wake = Condition()
        # Shared with the loop, under the condition's lock.
        self._inbox: list[_Waiting] = []
        self._closing = False
        self._cancels = False
        self._revive = False
        # The thread's own.
        self._waiting: list[_Waiting] = []
        self._live: list[_Running] = []
        self._flushed = 0.0
        # Written by the thread, read by anybody.
        self.error = ""
        """Why nothing runs; empty when it does."""
        self.steps = 0
        """Of all pipelines so far."""
        # The loop's own.
        self._order = 0
        opened: Future[None] = Future()
        self._ended = genai_threads.start(lambda: self._run(opened))
        opened.result()

    @property
    def device(self) -> str:
        """The device in use, or the last one."""
        return self._devices.using

    @property
    def waiting(self) -> int:
        """Sequences that have not begun."""
        return len(self._inbox) + len(self._waiting)

    @property
    def live(self) -> int:
        """Sequences that have begun and go on."""
        return len(self._live)

    def submit(self, work: Work) -> Ticket:
        """Lets a sequence begin as soon as it can. Its ticket is to be closed.

        The ticket raises EngineFailed, or SentenceTooLong before its first text.

        Raises:
            EngineFailed: nothing runs, or too much waits.
        """
        if self.error:
            raise EngineFailed(self.error)
        if self.waiting >= self._queue_limit:
            raise EngineFailed(f"{self.waiting} sentences wait for it already", counts=False)
        ticket = Ticket(self._cancelled)
        due = time.monotonic() + (work.due - ticket.loop.time())
        self._order += 1
        waiting = _Waiting(work.priority, due, self._order, work, ticket)
        with self._wake:
            if self._closing:
                raise _closed()
            self._inbox.append(waiting)
            self._wake.notify()
        return ticket

    def revive(self) -> None:
        """Lets it try again to open a device, where there was none."""
        with self._wake:
            self._revive = bool(self.error)
            self._wake.notify()

    def close(self) -> None:
        """Ends the thread, and fails what goes on. It blocks for a step at most."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._ended.result()

    def _cancelled(self) -> None:
        with self._wake:
            self._cancels = True
            self._wake.notify()

    # ---- what the thread does

    def _run(self, opened: Future[None]) -> None:
        try:
            self._pipeline = self._devices.open()
        except Exception as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        while self._awake():
            try:
                self._turn()
            except Exception as error:
                log.error("a pipeline is broken", model=self._name, device=self.device, exc_info=error)
                self._replace()
        self._end()

    def _end(self) -> None:
        """Fails what goes on, and frees the pipeline."""
        self._fail([*self._live, *self._waiting], "it is being unloaded", counts=False)
        for running in self._live:
            running.generation.cancel()
        self._live, self._waiting = [], []
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None and pipeline.busy:
            try:
                # Whatever was cancelled goes with the next step.
                pipeline.step()
            except Exception as error:
                log.warning("a pipeline broke at its end", model=self._name, exc_info=error)

    def _awake(self) -> bool:
        """Waits until there is something to do, and takes in what came. False when it is to end."""
        with self._wake:
            while not (self._closing or self._inbox or self._cancels or self._revive or self._has_work()):
                self._wake.wait()
            came, self._inbox = self._inbox, []
            cancels, self._cancels = self._cancels, False
            revive, self._revive = self._revive, False
            closing = self._closing
        for sequence in came:
            heapq.heappush(self._waiting, sequence)
        if cancels:
            self._waiting = [each for each in self._waiting if not each.ticket.cancelled]
            heapq.heapify(self._waiting)
        if revive and not closing and self._pipeline is None:
            self._open()
        return not closing

    def _has_work(self) -> bool:
        return bool(self._live or self._waiting) or (self._pipeline is not None and self._pipeline.busy)

    def _turn(self) -> None:
        """Admits, makes a step, tells."""
        pipeline = self._pipeline
        if pipeline is None:
            self._fail(self._waiting, self.error)
            self._waiting = []
            return
        self._stop_cancelled()
        self._admit(pipeline)
        if pipeline.busy:
            pipeline.step()
            self.steps += 1
        self._tell(self._read(pipeline))

    def _stop_cancelled(self) -> None:
        gone = [each for each in self._live if each.ticket.cancelled]
        for running in gone:
            running.generation.cancel()
        if gone:
            self._live = [each for each in self._live if not each.ticket.cancelled]

    def _admit(self, pipeline: Pipeline) -> None:
        """Begins as many of those that wait as there is room for."""
        refused: list[News] = []
        while self._waiting and len(self._live) < self._sequences:
            waiting = heapq.heappop(self._waiting)
            if waiting.ticket.cancelled:
                continue
            if waiting.due <= time.monotonic():
                late = EngineFailed("no place was free before the sentence was due", counts=False)
                refused.append((waiting.ticket, "", late))
                continue
            try:
                prompt = pipeline.encode(waiting.work.prompt)
                room = self._places - prompt.count
                if room < waiting.work.likely:
                    refused.append((waiting.ticket, "", SentenceTooLong(prompt.count, self._places)))
                    continue
                generation = pipeline.add(prompt, min(waiting.work.most, room))
            except Exception:
                # It belongs neither to those that wait nor to those that live.
                self._fail([waiting], _BROKE)
                raise
            self._live.append(_Running(waiting.ticket, generation, prompt.count))
        self._tell(refused)

    def _read(self, pipeline: Pipeline) -> list[News]:
        """What there is to tell. The first text and the last go at once, and others not too often."""
        now = time.monotonic()
        due = now - self._flushed >= INTERVAL_S
        if due:
            self._flushed = now
        news: list[News] = []
        for running in self._live:
            tokens, state = running.generation.read()
            running.tokens += tokens
            if state is not State.RUNNING:
                running.ended = True
                news.append(_last(running, pipeline, state))
            elif running.tokens and (due or not running.said):
                text = _more(running, pipeline)
                if text:
                    news.append((running.ticket, text, None))
        self._live = [each for each in self._live if not each.ended]
        return news

    def _replace(self) -> None:
        """Opens a fresh pipeline in place of a broken one."""
        began, self._live = self._live, []
        self._fail(began, _BROKE)
        # Its sequences hold on to it.
        del began
        self._pipeline = None
        self._devices.broke()
        self._open()

    def _open(self) -> None:
        try:
            self._pipeline = self._devices.open()
        except NoDevice as error:
            self.error = str(error)
            log.error("no device is left", model=self._name, error=self.error)
        else:
            self.error = ""
            log.warning("a fresh pipeline", model=self._name, device=self.device)

    def _fail(self, sequences: Iterable[_Running | _Waiting], why: str, *, counts: bool = True) -> None:
        self._tell([(each.ticket, "", EngineFailed(why, counts=counts)) for each in sequences])

    def _tell(self, news: list[News]) -> None:
        """Hands all of it over to the event loop at once: every call of a loop from outside wakes it."""
        by_loop: dict[int, list[News]] = {}
        for each in news:
            by_loop.setdefault(id(each[0].loop), []).append(each)
        for group in by_loop.values():
            try:
                group[0][0].loop.call_soon_threadsafe(deliver, group)
            except RuntimeError:
                # The loop was closed, and with it whoever waited.
                log.debug("nobody is left to tell", model=self._name)


def _more(running: _Running, pipeline: Pipeline) -> str:
    """What its tokens add to what was said of it. A text that does not go on from there waits for its end."""
    text = pipeline.decode(running.tokens)
    if not text.startswith(running.said):
        return ""
    more = text[len(running.said) :]
    running.said = text
    return more


def _last(running: _Running, pipeline: Pipeline, state: State) -> News:
    """The rest of it, and how it ended."""
    if state is State.DROPPED:
        return running.ticket, "", EngineFailed("its memory for sequences is full", counts=False)
    text = pipeline.decode(running.tokens)
    if not text.startswith(running.said):
        return running.ticket, "", EngineFailed("its text changed after it was said", counts=False)
    end = Ended(state, running.prompt_tokens, len(running.tokens))
    return running.ticket, text[len(running.said) :], end


def _closed() -> EngineFailed:
    return EngineFailed("it is being unloaded", counts=False)
