"""Keeps one session in the store while its stream lives, as well as the store lets it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic

import structlog

from trunkline_hop.clock import Clock
from trunkline_valkey.sessions import EventT, SessionStore, SnapshotT
from trunkline_valkey.store import StoreDown

RETRY_S: Final = 1.0
"""A store that did not answer is asked again after this: every question delays what is said."""
BEAT_S: Final = 15.0
"""A stream that has nothing to say hears within this that its session was resumed elsewhere."""

logger = structlog.get_logger("trunkline_valkey")


class Keeper(Generic[SnapshotT, EventT]):
    """Writes for one stream of a session.

    Args:
        store: None where none is configured.
        token: the session's resume token.
        epoch: the stream's.
        clock: says when a store that was down is asked again.
    """

    def __init__(
        self, store: SessionStore[SnapshotT, EventT] | None, token: str, epoch: int, clock: Clock
    ) -> None:
        self.token = token if store is not None else ""
        self._store = store
        self._epoch = epoch
        self._clock = clock
        self._unsaved: deque[EventT] = deque(maxlen=store.kept if store is not None else 0)
        self._again_at = float("-inf")
        self._saved = False

    @property
    def resumable(self) -> bool:
        """True when all that was said is in the store."""
        return self._saved

    async def save(self, snapshot: SnapshotT, final: EventT | None = None) -> bool:
        """Keeps a snapshot, and an event that is final. Returns `resumable`.

        Raises:
            Conflict: SESSION_MOVED.
        """
        if final is not None:
            self._unsaved.append(final)
        if self._store is None or self._clock.monotonic() < self._again_at:
            self._saved = False
            return False
        finals = tuple(self._unsaved)
        try:
            await self._store.save(self.token, self._epoch, snapshot, finals)
        except StoreDown:
            self._down("not saved")
            return False
        for _ in finals:
            self._unsaved.popleft()
        self._saved = True
        return True

    def revise(self, final: EventT) -> None:
        """What the last event was told as that is not in the store."""
        if self._unsaved:
            self._unsaved[-1] = final

    async def beat(self) -> None:
        """Keeps what is kept from being forgotten, until it is cancelled.

        Raises:
            Conflict: SESSION_MOVED.
        """
        if self._store is None:
            return
        while True:
            await asyncio.sleep(min(self._store.ttl_s / 4, BEAT_S))
            try:
                await self._store.touch(self.token, self._epoch)
            except StoreDown:
                self._down("not touched")

    def _down(self, what: str) -> None:
        if self._saved:
            logger.warning("the session store does not answer", what=what)
        self._saved = False
        self._again_at = self._clock.monotonic() + RETRY_S
