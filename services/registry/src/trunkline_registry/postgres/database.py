"""The database: a pool of connections, and its errors in the catalogue's words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from trunkline_hop.context import current
from trunkline_hop.errors import Unavailable
from trunkline_hop.telemetry import span
from trunkline_registry.postgres.rows import PostgresRows

PATIENCE_S = 2.0
"""Longest wait for a connection: with a database that is down, callers learn it this soon."""
_CONNECTION: dict[str, str | int] = {
    "application_name": "trunkline-registry",
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Notices a peer that is gone without a word. What the DSN says goes first."""
_SESSION = "SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '30s'"
"""Whatever happens here, no lock is held for long."""
_RETRY_AFTER = timedelta(seconds=1)

T = TypeVar("T")


class Database:
    """Connections to one database. Use `open`."""

    def __init__(self, dsn: str, pool: AsyncConnectionPool[AsyncConnection[DictRow]]) -> None:
        self._dsn = dsn
        self._pool = pool
        self._steps: set[asyncio.Task[Any]] = set()
        self.usable = False
        """Whether the schema is known to be there; whoever migrates says so."""

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str, *, pool_size: int) -> AsyncIterator[Database]:
        """The database, which need not be up yet."""
        unsaid = {key: value for key, value in _CONNECTION.items() if key not in conninfo_to_dict(dsn)}
        dsn = make_conninfo(dsn, **unsaid)
        pool = AsyncConnectionPool(
            dsn,
            connection_class=AsyncConnection[DictRow],
            kwargs={"row_factory": dict_row},
            min_size=1,
            max_size=pool_size,
            open=False,
            configure=_configure,
            # One round trip more, so that after a restart of the database nobody gets a dead connection.
            check=_check,
            # Gives up early because the next call tries again: with a longer time its pauses would grow.
            reconnect_timeout=PATIENCE_S,
            name="registry",
        )
        await pool.open()
        try:
            yield cls(dsn, pool)
        finally:
            await pool.close()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[AsyncConnection[DictRow]]:
        """A connection of its own, outside the pool and without transactions, that has notifications.

        Raises:
            psycopg.OperationalError: the database is down.
        """
        async with await AsyncConnection.connect(self._dsn, autocommit=True, row_factory=dict_row) as own:
            await own.execute(f"LISTEN {channel}".encode())
            yield own

    @asynccontextmanager
    async def transaction(self, what: str) -> AsyncIterator[PostgresRows]:
        """Rows to read and change: kept when the block ends, forgotten when it raises or is cancelled.

        Waits for a connection no longer than the call has left.

        Raises:
            Unavailable: STORE_UNREACHABLE. Whether the transaction happened is then unknown.
        """
        with span(f"postgres.{what}"), unreachable():
            if not self.usable:
                raise psycopg.OperationalError("the schema is not known to be there yet")
            async with self._connection() as connection:
                yield PostgresRows(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """A connection of the pool, in a transaction.

        Not the pool's own `connection`: a caller that is cancelled while it waits for a connection, or gives
        one back, costs psycopg_pool 3.3 that connection for good. So neither is ever cancelled.
        """
        patience_s = _patience()
        taking = self._step(self._pool.getconn(timeout=patience_s))
        try:
            # The pool's own timeout ends no check: a database that hangs would hold its callers up with it.
            async with asyncio.timeout(patience_s):
                connection = await asyncio.shield(taking)
        except TimeoutError:
            taking.add_done_callback(self._not_wanted)
            raise psycopg.OperationalError("no connection in time") from None
        except asyncio.CancelledError:
            taking.add_done_callback(self._not_wanted)
            raise
        try:
            async with connection:  # commits, or rolls back
                yield connection
        finally:
            await asyncio.shield(self._step(self._pool.putconn(connection)))

    def _step(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        step = asyncio.get_running_loop().create_task(work)
        self._steps.add(step)
        step.add_done_callback(self._steps.discard)
        return step

    def _not_wanted(self, taking: asyncio.Task[AsyncConnection[DictRow]]) -> None:
        if not taking.cancelled() and taking.exception() is None:
            self._step(self._pool.putconn(taking.result()))


@contextmanager
def unreachable() -> Iterator[None]:
    """Turns a database that is down, or too slow, into Unavailable."""
    try:
        yield
    except psycopg.Error as error:
        if not gone(error):
            raise
        raise Unavailable(
            "STORE_UNREACHABLE", "The registry's database cannot be reached.", retry_after=_RETRY_AFTER
        ) from error


def gone(error: psycopg.Error) -> bool:
    """True when the database, and no statement, is at fault: it is down, too slow, or not what answers there.

    The last is libpq's own DatabaseError, such as "lost synchronization with server"; what the server itself says
    has a class of its own.
    """
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or (
        type(error) is psycopg.DatabaseError
    )


def _patience() -> float:
    call = current.get()
    if call is None or call.deadline is None:
        return PATIENCE_S
    return max(0.0, min(PATIENCE_S, call.deadline - time.monotonic()))


async def _check(connection: AsyncConnection[Any]) -> None:
    """Passes when a connection works. One that does not answer in time is given up, and its place with it free."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await AsyncConnectionPool.check_connection(connection)
    except TimeoutError:
        raise psycopg.OperationalError("a connection does not answer") from None


async def _configure(connection: AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)
    await connection.execute(_SESSION)
    await connection.set_autocommit(False)
