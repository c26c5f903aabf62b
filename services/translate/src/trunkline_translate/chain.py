"""The engines of a server in order of preference: which of them are up, and which may be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog

from trunkline_hop.breaker import REFUSED, STATE_CLOSED, Breaker
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.clock import Clock
from trunkline_hop.errors import BadRequest, FieldViolation, NotFound
from trunkline_translate.engine import Engine, EngineFailed
from trunkline_translate.language import Direction
from trunkline_translate.meters import Meters

ENGINES: Final = "engines/"
"""Begins the name of an engine."""
_MODELS: Final = "openvino"
"""The engine whose models are the registry's."""

logger = structlog.get_logger("trunkline_translate")


@dataclass(frozen=True, slots=True)
class EngineState:
    """An engine, and how it is."""

    engine: Engine
    up: bool
    error: str
    """Why it is not, in one sentence with the remedy; empty when it is."""


class Link:
    """An engine of the chain: whether it answered when it was last probed, and its breaker.

    Args:
        engine: the engine.
        clock: the breaker's; metrics read it from their own thread.
        settings: when its breaker opens, and for how long.
        changed: is called when it may be up or down now.
    """

    def __init__(
        self, engine: Engine, clock: Clock, settings: ClientSettings, changed: Callable[[], None]
    ) -> None:
        self.engine = engine
        self._now = clock.monotonic
        self.unsettled = asyncio.Event()
        """Set when somebody wants to know sooner how it is."""
        self._changed = changed
        self._breaker = Breaker(settings, self._turned)
        self._silent = "it was not asked yet"
        self._answered = True
        self._failure = ""
        self._alive_at = float("-inf")

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    @property
    def breaker_state(self) -> str:
        """`closed`, `open` or `half-open`."""
        return self._breaker.state

    @property
    def up(self) -> bool:
        """True when a sentence may be given to it now."""
        return not self._silent and self._breaker.retry_in(self._now()) == 0.0

    @property
    def error(self) -> str:
        """Why it is not up; empty when it is."""
        if self._silent:
            # What the engine says is from before a probe that it did not answer.
            return (self.engine.error if self._answered else "") or self._silent
        return "" if self.up else f"it failed several times in a row: {self._failure}"

    def retry_in(self, probe_s: float) -> float:
        """Seconds until it may be asked again, when it is probed every so many seconds."""
        return probe_s if self._silent else self._breaker.retry_in(self._now())

    def enter(self) -> int:
        """A permit for one sentence, or REFUSED. It goes back with the outcome."""
        return REFUSED if self._silent else self._breaker.admit(self._now())

    def heard(self) -> None:
        """It said something."""
        self._alive_at = self._now()

    def heard_since(self, time_s: float) -> bool:
        """True when it said something to anybody at or after a time on the clock."""
        return self._alive_at >= time_s

    def succeeded(self, permit: int) -> None:
        """The sentence was translated."""
        self._breaker.succeeded(permit, self._now())

    def failed(self, permit: int, why: str) -> None:
        """The engine failed."""
        self._failure = why
        self._breaker.failed(permit, self._now())
        self.unsettled.set()

    def returned(self, permit: int) -> None:
        """It came to nothing, which says nothing about the engine."""
        self._breaker.returned(permit)

    async def probe(self, timeout_s: float) -> None:
        """Asks the engine how it is."""
        began = self._now()
        answered = True
        try:
            async with asyncio.timeout(timeout_s):
                await self.engine.probe()
        except TimeoutError:
            answered = False
            # One that translates meanwhile is busy, not gone.
            why = "" if self._alive_at >= began else f"it did not answer a probe within {timeout_s:g} s"
        except EngineFailed as failed:
            why = failed.why or "its probe failed"
        except Exception as error:
            logger.exception("a probe broke", engine=self.name)
            why = f"its probe broke: {type(error).__name__}"
        else:
            why = ""
        if bool(why) != bool(self._silent):
            if why:
                logger.warning("engine down", engine=self.name, why=why)
            else:
                logger.info("engine up", engine=self.name)
                # The next sentence shows whether it translates, and need not wait for the breaker.
                self._breaker.seen_alive()
        self._silent, self._answered = why, answered
        self._changed()

    def _turned(self, state: str) -> None:
        level = logger.info if state == STATE_CLOSED else logger.warning
        level("breaker of an engine", engine=self.name, state=state)
        self._changed()


class Chain:
    """The engines of a server. An async context manager: while it is entered, every engine is probed regularly.

    Entering it waits until every engine was probed once.

    Args:
        engines: the preferred one first.
        clock: the process's.
        meters: where it shows how they are.
        probe_s: seconds between two probes of an engine.
        probe_timeout_s: longest wait for an engine's answer to one.
        breaker_failures: failures in a row after which an engine is left alone.
        breaker_open_s: for how many seconds.
        on_change: is called when what `states` and `ready` say may have changed.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        clock: Clock,
        meters: Meters,
        *,
        probe_s: float = 5.0,
        probe_timeout_s: float = 2.0,
        breaker_failures: int = 3,
        breaker_open_s: float = 5.0,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        settings = ClientSettings(breaker_failures=breaker_failures, breaker_open_s=breaker_open_s)
        self._probe_s = probe_s
        self._probe_timeout_s = probe_timeout_s
        self._links = [Link(engine, clock, settings, on_change) for engine in engines]
        self._tasks: list[asyncio.Task[None]] = []
        for link in self._links:
            _show(link, meters)

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(link.probe(self._probe_timeout_s) for link in self._links))
        self._tasks = [
            asyncio.create_task(self._watch(link), name=f"probe {link.name}") for link in self._links
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def candidates(self, direction: Direction, model: str = "") -> Sequence[Link]:
        """Who may translate, in order of preference, whether up or not; at least one.

        Args:
            direction: from what into what.
            model: `engines/{engine}` for that one, `models/{model}` or a version of it for the engine of the registry's
                models; empty for all.

        Raises:
            BadRequest: LANGUAGE_UNSUPPORTED, nobody translates this. Lists the directions.
            NotFound: MODEL_UNKNOWN, there is no such engine.
        """
        links = self._named(model) if model else self._links
        if model and not model.startswith(ENGINES):
            # What a version translates that may not be loaded yet is for its engine to say.
            return links
        # What an engine that never answered would translate is not known.
        found = [
            link
            for link in links
            if direction in link.engine.directions or not (link.engine.directions or link.up)
        ]
        if not found and links:
            raise _unsupported(direction, links)
        return found

    def retry_in(self, links: Sequence[Link]) -> float:
        """Seconds until one of them may be up again."""
        return min((link.retry_in(self._probe_s) for link in links), default=self._probe_s)

    def refresh(self) -> None:
        """Probes the engines now: something happened that they would tell."""
        for link in self._links:
            link.unsettled.set()

    def states(self) -> list[EngineState]:
        """Every engine, in order of preference."""
        return [EngineState(link.engine, link.up, link.error) for link in self._links]

    def ready(self) -> bool:
        """True when an engine is up, or there are none by design."""
        return not self._links or any(link.up for link in self._links)

    def _named(self, model: str) -> list[Link]:
        name = model.removeprefix(ENGINES) if model.startswith(ENGINES) else _MODELS
        found = [link for link in self._links if link.name == name]
        if not found:
            raise NotFound(
                "MODEL_UNKNOWN", f"{model} is not served here", resource_type="model", resource_name=model
            )
        return found

    async def _watch(self, link: Link) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._probe_s):
                    await link.unsettled.wait()
            # Cleared before it is asked, so that what happens meanwhile is asked about again.
            link.unsettled.clear()
            await link.probe(self._probe_timeout_s)


def _show(link: Link, meters: Meters) -> None:
    meters.watch(link.name, lambda: link.up, lambda: link.breaker_state)


def _unsupported(direction: Direction, links: Sequence[Link]) -> BadRequest:
    there = sorted({each for link in links for each in link.engine.directions})
    pairs = ",".join(map(str, there))
    wanted = (
        f"nobody here translates {direction.source} into {direction.target}; there is {pairs or 'nothing'}"
    )
    return BadRequest(
        f"options.target_language_code: {wanted}",
        [FieldViolation("options.target_language_code", wanted)],
        reason="LANGUAGE_UNSUPPORTED",
        metadata={"source": direction.source, "target": direction.target, "pairs": pairs},
    )
