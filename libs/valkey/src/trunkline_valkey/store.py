"""The connection to Redis or Valkey: commands with a deadline that a cancelled caller cannot spoil."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from redis import exceptions as redis_errors
from redis.asyncio.connection import BlockingConnectionPool, Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from trunkline_hop.breaker import REFUSED, Breaker
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.context import current
from trunkline_hop.errors import Unavailable
from trunkline_hop.telemetry import span

_NO_ANSWER = (
    OSError,
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.InvalidResponse,  # whatever answers there, it is no such server
    # A server that answers, but says that it cannot serve now:
    redis_errors.ClusterDownError,
    redis_errors.MasterDownError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
    redis_errors.TryAgainError,
)
_NOT_NOW = ("NOREPLICAS ", "MISCONF ", "BUSY ")
"""The same, where redis-py has no class for it: too few replicas, a disk that is full, a script that does not end."""
_DEADLINE_SHARE = 0.8
"""Of what is left of a call: the rest is for answering without the store."""
_FLOOR_S = 0.1
"""A wait shorter than this says nothing about the store: one impatient caller opens the breaker for nobody."""
_BREAKER = ClientSettings(breaker_failures=3, breaker_open_s=1.0)
"""A store that is gone is asked once a second, so that it serves again soon after it is back."""


class StoreDown(Exception):
    """The store gave no answer.

    Args:
        what: what it is to its users, such as `feature store`.
        retry_after: when it is asked again.
    """

    def __init__(self, what: str, retry_after: timedelta) -> None:
        super().__init__(f"the {what} does not answer")
        self.what = what
        self.retry_after = retry_after

    def unavailable(self) -> Unavailable:
        """What a caller gets who cannot be answered without the store."""
        return Unavailable("STORE_UNREACHABLE", str(self), retry_after=self.retry_after)


class Script:
    """A Lua script, sent once and called by its digest after that.

    Args:
        name: what it does, for traces: `save`.
        source: the script.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class _Pool(BlockingConnectionPool):
    """Hands out no connection that was reset while it waited. redis-py looks for one that was closed in order."""

    async def ensure_connection(self, connection: Any) -> None:
        reader = connection._reader  # noqa: SLF001 - nothing public tells
        if reader is not None and reader.exception() is not None:
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)


class Store:
    """A pool of connections to one server. An async context manager.

    A command runs in a task of its own: when its caller is cancelled, nobody takes the reply, but it is
    still read from the connection. A connection whose reply was not read, because the command timed out, is
    closed. So no connection is ever used again with somebody else's reply on it.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        what: what it is to its users, for errors: `feature store`.
        connections: most that are open at once; further commands wait for one within their timeout.
    """

    def __init__(self, url: str, *, what: str = "store", connections: int = 64) -> None:
        self._what = what
        self._pool = _Pool.from_url(
            url,
            max_connections=connections,
            timeout=None,
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            # With them, the pool takes a connection that the server closed for one with a notification on it.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            decode_responses=False,
        )
        self._breaker = Breaker(_BREAKER)
        self._running: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._pool.aclose()

    @property
    def pending(self) -> int:
        """Commands whose reply has not been read."""
        return len(self._running)

    async def command(self, *arguments: str | bytes | int, timeout_s: float, name: str = "") -> Any:
        """The reply to one command.

        Args:
            arguments: the command and its arguments.
            timeout_s: longest wait; less where the call being served has less left.
            name: what it does, for traces; empty: the command says it.

        Raises:
            StoreDown: no answer, or the server says it cannot give one now.
            ResponseError: the command itself is wrong.
        """
        context = current.get()
        if context is not None and context.deadline is not None:
            timeout_s = min(timeout_s, (context.deadline - time.monotonic()) * _DEADLINE_SHARE)
        permit = self._breaker.admit(time.monotonic())
        if permit == REFUSED:
            raise StoreDown(self._what, timedelta(seconds=self._breaker.retry_in(time.monotonic())))
        task = asyncio.create_task(self._run(arguments, timeout_s, permit))
        self._running.add(task)
        task.add_done_callback(self._ended)
        with span(f"redis.{name or str(arguments[0]).lower()}"):
            return await asyncio.shield(task)

    async def script(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int], *, timeout_s: float
    ) -> Any:
        """The reply of a script, which the server gets when it does not know it yet.

        Raises:
            StoreDown: as `command` does.
        """
        tail = (len(keys), *keys, *arguments)
        try:
            return await self.command("EVALSHA", script.digest, *tail, timeout_s=timeout_s, name=script.name)
        except NoScriptError:
            return await self.command("EVAL", script.source, *tail, timeout_s=timeout_s, name=script.name)

    async def _run(self, arguments: Sequence[str | bytes | int], timeout_s: float, permit: int) -> Any:
        try:
            reply = await self._exchange(arguments, timeout_s)
        except (*_NO_ANSWER, ResponseError) as error:
            if isinstance(error, ResponseError) and not _cannot_now(error):
                self._breaker.succeeded(permit, time.monotonic())
                raise
            if isinstance(error, TimeoutError) and timeout_s < _FLOOR_S:
                self._breaker.returned(permit)
            else:
                self._breaker.failed(permit, time.monotonic())
            raise StoreDown(self._what, timedelta(seconds=_BREAKER.breaker_open_s)) from error
        except BaseException:
            self._breaker.returned(permit)
            raise
        self._breaker.succeeded(permit, time.monotonic())
        return reply

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that went away does not ask for it

    async def _exchange(self, arguments: Sequence[str | bytes | int], timeout_s: float) -> Any:
        connection: Connection | None = None
        clean = False
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
                await connection.send_command(*arguments)
                reply = await connection.read_response()
            clean = True
            return reply
        except ResponseError:
            clean = True
            raise
        finally:
            # Outside of the timeout: a release that is interrupted would lose the connection to the pool.
            if connection is not None:
                if not clean:
                    await connection.disconnect(nowait=True)
                await self._pool.release(connection)


def _cannot_now(error: ResponseError) -> bool:
    return isinstance(error, _NO_ANSWER) or str(error).startswith(_NOT_NOW)
