"""Watching which versions serve: the state, then every change, resumable at any revision.

Every change of a serving set has a revision of the store, gapless and in the order of commits, so that the
last revision seen says exactly what was missed. One listener per process brings the changes in; watchers
read them from its memory each at their own pace, and from the store what is no longer there. No watcher
waits for another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from trunkline_hop.errors import BadRequest
from trunkline_registry.versions import ModelVersion

RECENT_CHANGES = 256
BATCH = 100


@dataclass(frozen=True, slots=True)
class ServingSet:
    """The versions of one model that serve: the one in production. Without their cards."""

    model_id: str
    versions: tuple[ModelVersion, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A serving set as a revision left it."""

    revision: int
    serving: ServingSet


@dataclass(frozen=True, slots=True)
class Position:
    """A point in the life of one store."""

    store: str
    """Which store: a database restored or made anew counts on its own."""
    revision: int

    @property
    def token(self) -> str:
        """As a resume token."""
        return f"{self.store}.{self.revision}"

    @classmethod
    def of(cls, token: str) -> Position:
        """The position in a resume token.

        Raises:
            BadRequest: it is none.
        """
        store, _, revision = token.partition(".")
        if not (store.isalnum() and revision.isascii() and revision.isdigit() and len(revision) <= 18):
            raise BadRequest.field("resume_token", "must be the resume_token of an event")
        return cls(store, int(revision))


@dataclass(frozen=True, slots=True)
class State:
    """Every serving set at one position."""

    position: Position
    changes: Sequence[Change]
    """The last one of each model, by revision."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A model's serving set."""

    position: Position | None
    """Where to resume; None in a state that is not whole yet, which is to be asked for again."""
    serving: ServingSet


@dataclass(frozen=True, slots=True)
class Synced:
    """The watcher knows the state now."""

    position: Position
    whole: bool
    """Everything before it was the whole state, not what had changed."""


@dataclass(frozen=True, slots=True)
class Draining:
    """The server is about to stop."""

    position: Position


Event = Serving | Synced | Draining


class History(Protocol):
    """The changes in the store. Raises Unavailable (STORE_UNREACHABLE)."""

    async def position(self) -> Position:
        """Where the store is now."""
        ...

    async def state(self) -> State:
        """Every serving set, read at once."""
        ...

    async def since(self, revision: int, limit: int) -> Sequence[Change]:
        """The changes after a revision, in order, the first `limit` of them."""
        ...


class Recent:
    """The last changes, in memory. One listener adds to it; watchers read."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self.era = 0
        """Grows when the store turns out to be another one, or to have gone back in time."""
        self.signal = asyncio.Event()
        """Set, and replaced by a new one, when there is something new."""
        self.reached = 0
        """The last revision that anybody here has read, a watcher perhaps before the listener."""
        self._changes: deque[Change] = deque(maxlen=RECENT_CHANGES)

    def found(self, position: Position, reached: int) -> int:
        """Says where the store is now. Returns the revision to read on from.

        Args:
            position: what the store said.
            reached: `self.reached` before it was asked: it has gone back if it is before that.
        """
        known = self.position
        if known is None or known.store != position.store or position.revision < reached:
            self._changes.clear()
            self.position = position
            self.reached = max(self.reached, position.revision) if known is None else position.revision
            self.era += known is not None
            self._wake()
            return position.revision
        return known.revision

    def add(self, changes: Sequence[Change]) -> None:
        """Takes changes that follow on the position found."""
        if self.position is not None and changes:
            self._changes.extend(changes)
            self.position = Position(self.position.store, changes[-1].revision)
            self.reached = max(self.reached, changes[-1].revision)
            self._wake()

    def after(self, revision: int) -> Sequence[Change] | None:
        """The changes after a revision, None when some of them are no longer here."""
        if self.position is None or revision >= self.position.revision:
            return ()
        if not self._changes or self._changes[0].revision > revision + 1:
            return None
        return [change for change in self._changes if change.revision > revision]

    def _wake(self) -> None:
        self.signal.set()
        self.signal = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Watch:
    """What can be watched."""

    history: History
    recent: Recent

    async def stream(
        self, models: Collection[str], token: str, draining: asyncio.Event
    ) -> AsyncGenerator[Event, None]:
        """The state or what changed since the token, `Synced`, then each change until the server drains.

        A token of another store, or of a revision that this one has not reached (a database that was
        restored from a copy), gets the whole state. So does a running watch when that happens under it.

        Args:
            models: ids of the models to watch; empty: all. One that does not exist has an empty set.
            token: where to go on, empty for the start.
            draining: set when the server is about to stop.

        Raises:
            BadRequest: the token is none.
            Unavailable: STORE_UNREACHABLE, while the state is read. Once synced a watch waits for the
                store to come back, unless it has fallen behind what is in memory.
        """
        wanted = frozenset(models)
        cursor = Position.of(token) if token else None
        while True:
            era = self.recent.era
            head = await self.history.position()
            if cursor is None or cursor.store != head.store or cursor.revision > head.revision:
                state = await self.history.state()
                for serving in _sets(state, models):
                    yield Serving(None, serving)
                cursor, whole = state.position, True
            else:
                while changes := await self.history.since(cursor.revision, BATCH):
                    for change in changes:
                        cursor = Position(cursor.store, change.revision)
                        if not wanted or change.serving.model_id in wanted:
                            yield Serving(cursor, change.serving)
                whole = False
            self.recent.reached = max(self.recent.reached, cursor.revision)
            yield Synced(cursor, whole)
            while era == self.recent.era:
                signal = self.recent.signal
                if draining.is_set():
                    yield Draining(cursor)
                    return
                batch = self.recent.after(cursor.revision)
                if batch is None:
                    batch = await self.history.since(cursor.revision, BATCH)
                for change in batch:
                    cursor = Position(cursor.store, change.revision)
                    self.recent.reached = max(self.recent.reached, cursor.revision)
                    if not wanted or change.serving.model_id in wanted:
                        yield Serving(cursor, change.serving)
                if not batch:
                    await _either(signal, draining)
            cursor = None  # revisions of another era say nothing, even if they fit by chance


def _sets(state: State, models: Collection[str]) -> Sequence[ServingSet]:
    """Those of the models, or all."""
    if not models:
        return [change.serving for change in state.changes]
    known = {change.serving.model_id: change.serving for change in state.changes}
    return [known.get(model_id, ServingSet(model_id, ())) for model_id in dict.fromkeys(models)]


async def _either(*events: asyncio.Event) -> None:
    """Returns when one of them is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
