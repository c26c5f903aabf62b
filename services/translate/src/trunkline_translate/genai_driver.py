"""What translations ask for sequences: it speaks with the process of a pipeline, and replaces one that ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Final

import structlog

from trunkline_modelstore.backoff import Backoff
from trunkline_translate.engine import EngineFailed, SentenceTooLong
from trunkline_translate.genai_devices import Devices, NoDevice
from trunkline_translate.genai_messages import (
    Began,
    Begin,
    Broke,
    Cancel,
    Failed,
    Gone,
    Message,
    Order,
    Over,
    Said,
    State,
    Steps,
    TooLong,
    decode,
    encode,
)
from trunkline_translate.genai_process import Process
from trunkline_translate.genai_ticket import Ended, Ticket

log = structlog.get_logger("trunkline.translate")

HUNG_S: Final = 60.0
"""No step takes so long."""
_LINE_BYTES: Final = 1 << 24


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


@dataclass(slots=True)
class _Sequence:
    begin: Begin
    ticket: Ticket
    began: bool = False


class Driver:
    """Runs the sequences of a model in a process of its own, several at once.

    It is made and closed in any thread, and belongs to the event loop on which it is used. When the process ends,
    however it does, a fresh one takes its place: sequences that had begun fail, since each of them may have been the
    reason, and those that wait go on. Where no device is left, everything fails until a `check` finds one.

    Args:
        name: of the model, for logs.
        devices: where pipelines are opened, one at once. The first is open when this returns.
        places: sequences that a pipeline runs at once.
        queue_limit: most sequences that may wait when all places are taken.
        hung_s: a process that has work and said nothing for so long is killed when it says nothing until the next look
            either. Once is not enough: it may be this process that stood still, or was suspended.

    Raises:
        NoDevice: no device works.
    """

    def __init__(
        self, name: str, devices: Devices, *, places: int, queue_limit: int, hung_s: float = HUNG_S
    ) -> None:
        self._name = name
        self._devices = devices
        self._room = places + queue_limit
        self._hung_s = hung_s
        self._lock = Lock()
        # Under the lock.
        self._process: Process | None = devices.open()
        self._closing = False
        # The loop's.
        self._sequences: dict[int, _Sequence] = {}
        self._number = 0
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._heard_at = 0.0
        self._doubted_at = 0.0
        """When a process was heard last that seemed to hang at the last look."""
        self._why = ""
        self._backoff = Backoff()
        self.error = ""
        """Why nothing runs; empty when it does."""
        self.steps = 0
        """Of all pipelines so far."""
        self.live = 0
        """Sequences that have begun and go on."""

    @property
    def device(self) -> str:
        """The device in use, or the last one."""
        return self._devices.using

    @property
    def waiting(self) -> int:
        """Sequences that have not begun."""
        return len(self._sequences) - self.live

    @property
    def silent_s(self) -> float:
        """For how long the process has had work and said nothing, in seconds. It gives a sign of life every second."""
        if self._writer is None or not self._sequences:
            return 0.0
        return time.monotonic() - self._heard_at

    def submit(self, work: Work) -> Ticket:
        """Lets a sequence begin as soon as it can. Its ticket is to be closed.

        The ticket raises EngineFailed, or SentenceTooLong before its first text.

        Raises:
            EngineFailed: nothing runs, or too much waits.
        """
        if self._closing:
            raise _closed()
        if self.error:
            raise EngineFailed(self.error)
        if len(self._sequences) >= self._room:
            raise EngineFailed(f"{self.waiting} sentences wait for it already", counts=False)
        self._number += 1
        now = time.monotonic()
        due = now + (work.due - asyncio.get_running_loop().time())
        begin = Begin(self._number, work.prompt, work.most, work.likely, work.priority, due)
        ticket = Ticket(partial(self._cancel, self._number))
        if not self._sequences:
            self._heard_at = now
        self._sequences[self._number] = _Sequence(begin, ticket)
        self._start()
        self._send(begin)
        return ticket

    def check(self) -> None:
        """Sees to the process: one that hangs is killed, and where no device was left, all are tried once more."""
        if self._process is not None and (silent_s := self.silent_s) > self._hung_s:
            if self._doubted_at == self._heard_at:
                log.error("a pipeline hangs", model=self._name, device=self.device, silent_s=silent_s)
                self._process.kill()
            self._doubted_at = self._heard_at
        self._start()

    def close(self) -> None:
        """Ends the process, and fails what goes on. It blocks for a step at most, in any thread."""
        with self._lock:
            self._closing = True
            process = self._process
        if process is not None:
            process.end()

    def _start(self) -> None:
        if (self._task is None or self._task.done()) and not self._closing:
            self._task = asyncio.create_task(self._run(), name=f"driver {self._name}")

    def _cancel(self, number: int) -> None:
        if number not in self._sequences:
            return
        if self._writer is None:
            self._taken(number)
        else:
            self._send(Cancel(number))

    def _send(self, order: Order) -> None:
        if self._writer is not None:
            self._writer.write(encode(order))

    async def _run(self) -> None:
        """Listens to one process after the other."""
        while not self._closing:
            process = self._process
            if process is None:
                try:
                    process = await asyncio.to_thread(self._open)
                except NoDevice as failed:
                    self.error = str(failed)
                    log.error("no device is left", model=self._name, error=self.error)
                    self._fail(self._sequences, EngineFailed(self.error))
                    return
                self.error = ""
                log.warning("a fresh pipeline", model=self._name, device=self.device)
            await self._listen(process)
            ended = await asyncio.to_thread(process.end)
            if not self._closing:
                await self._lost(ended)
        self._fail(self._sequences, _closed())

    def _open(self) -> Process:
        process = self._devices.open()
        with self._lock:
            self._process = process
            if self._closing:
                process.end()
        return process

    async def _listen(self, process: Process) -> None:
        """Hands work over, and takes in what comes of it, until the process ends."""
        try:
            connection = process.connect()
        except OSError:
            # It was closed before anything was asked of it.
            return
        reader, self._writer = await asyncio.open_unix_connection(sock=connection, limit=_LINE_BYTES)
        self._heard_at = time.monotonic()
        try:
            for each in self._sequences.values():
                self._send(each.begin)
            async for line in reader:
                self._hear(decode(line))
        except OSError as error:
            log.debug("a pipeline is gone", model=self._name, why=type(error).__name__)
        except Exception:
            log.exception("a pipeline says what makes no sense", model=self._name)
            process.kill()
        finally:
            self._writer.close()
            self._writer = None

    def _hear(self, message: Message) -> None:
        self._heard_at = time.monotonic()
        match message:
            case Steps(made):
                self.steps += made
            case Began(number):
                self._sequences[number].began = True
                self.live += 1
            case Said(number, text):
                self._sequences[number].ticket.tell(text)
            case Over(number, text, state, prompt_tokens, completion_tokens):
                self._backoff.reset()
                ended = Ended(State(state), prompt_tokens, completion_tokens)
                self._taken(number).tell(text, ended)
            case TooLong(number, tokens, limit):
                self._fail([number], SentenceTooLong(tokens, limit))
            case Failed(number, why):
                self._fail([number], EngineFailed(why, counts=False))
            case Gone(number):
                self._taken(number)
            case Broke(why):
                self._why = why

    async def _lost(self, ended: str) -> None:
        """A process ended that should not have."""
        why, self._why = self._why, ""
        log.error("a pipeline is broken", model=self._name, device=self.device, why=why or ended)
        with self._lock:
            self._process = None
        self._devices.broke()
        gone = [number for number, each in self._sequences.items() if each.began or each.ticket.cancelled]
        self._fail(gone, EngineFailed("its pipeline broke"))
        await asyncio.sleep(self._backoff.next_s())

    def _fail(self, numbers: Iterable[int], why: Exception) -> None:
        for number in list(numbers):
            self._taken(number).tell("", why)

    def _taken(self, number: int) -> Ticket:
        """The ticket of a sequence that is no more."""
        sequence = self._sequences.pop(number)
        self.live -= sequence.began
        return sequence.ticket


def _closed() -> EngineFailed:
    return EngineFailed("it is being unloaded", counts=False)
