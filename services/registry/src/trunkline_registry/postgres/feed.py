"""The feed of serving sets: one listening connection a process, however many watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from trunkline_registry.postgres.database import Database, gone
from trunkline_registry.postgres.migrate import migrate
from trunkline_registry.postgres.rows import CHANNEL, PostgresRows
from trunkline_registry.watch import BATCH, Change, Position, Recent, State

POLL_S = 5.0
"""A notification that got lost is found this late."""
STEP_S = 5.0
"""Longest answer of a database that is alive."""
RECONNECT_S = 0.5

_log = structlog.get_logger(__name__)


class Feed:
    """The changes in the database: what is in it, and what comes."""

    def __init__(self, database: Database, *, poll_s: float = POLL_S) -> None:
        self.recent = Recent()
        self.connected = False
        """Whether changes come in right now."""
        self._database = database
        self._poll_s = poll_s

    async def position(self) -> Position:
        """Where the store is now. Raises Unavailable."""
        async with self._database.transaction("feed_position") as rows:
            return await rows.position()

    async def state(self) -> State:
        """Every serving set, read at once. Raises Unavailable."""
        async with self._database.transaction("feed_state") as rows:
            return await rows.state()

    async def since(self, revision: int, limit: int) -> Sequence[Change]:
        """The changes after a revision, in order, the first `limit` of them. Raises Unavailable."""
        async with self._database.transaction("feed_since") as rows:
            return await rows.since(revision, limit)

    async def run(self, changed: Callable[[], None] = lambda: None) -> None:
        """Migrates the schema, then follows the changes; over and over when the database goes away.

        Args:
            changed: called when `connected` is another.

        Raises:
            MigrationChanged, psycopg.Error: the schema cannot be made what the code expects.
        """
        while True:
            try:
                async with self._database.listen(CHANNEL) as connection:
                    for name in await migrate(connection):
                        _log.info("migration applied", name=name)
                    self._database.usable = True
                    await self._follow(connection, changed)
            except (psycopg.Error, TimeoutError) as error:
                if isinstance(error, psycopg.Error) and not gone(error):
                    raise
                _log.warning("feed lost its connection", error=type(error).__name__, reason=str(error))
            finally:
                self._now(False, changed)
            await asyncio.sleep(RECONNECT_S)

    async def _follow(self, connection: AsyncConnection[DictRow], changed: Callable[[], None]) -> None:
        rows = PostgresRows(connection)
        while True:
            reached = self.recent.reached
            async with asyncio.timeout(STEP_S):
                position = await rows.position()
            revision = self.recent.found(position, reached)
            while revision < position.revision:
                async with asyncio.timeout(STEP_S):
                    changes = await rows.since(revision, BATCH)
                if not changes:
                    break  # it went back just now; the next look sees that
                self.recent.add(changes)
                revision = changes[-1].revision
            self._now(True, changed)
            async for _ in connection.notifies(timeout=self._poll_s, stop_after=1):
                pass  # what it says is read with all the rest

    def _now(self, connected: bool, changed: Callable[[], None]) -> None:
        if self.connected != connected:
            self.connected = connected
            changed()
