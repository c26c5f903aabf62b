"""Sessions in Redis or Valkey: a snapshot and the last final events, under the hash of the resume token."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from trunkline_hop.breaker import REFUSED, Breaker
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.telemetry import span
from trunkline_speech.events import Said
from trunkline_speech.snapshot import (
    KEPT,
    Kept,
    Snapshot,
    StoreDown,
    dump,
    dump_said,
    load,
    load_said,
    moved,
    unknown,
)

_NO_ANSWER: Final = (
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
_BREAKER: Final = ClientSettings(breaker_failures=3, breaker_open_s=1.0)
"""A store that is gone is asked once a second by all sessions together."""

# A session is one hash: `epoch` of the stream that may write, and `state`; and a list of its final events. Both
# keys have the token's hash in braces, so that a cluster keeps them together.
_SAVE: Final = """
-- KEYS: session, finals   ARGV: epoch, life in ms, most finals, snapshot, final events...
-- Returns 0 when a newer stream writes. A session that was lost with its server is written anew.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'state', ARGV[4])
for i = 5, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
redis.call('LTRIM', KEYS[2], -tonumber(ARGV[3]), -1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
"""
_TOUCH: Final = """
-- KEYS: session, finals   ARGV: epoch, life in ms
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
"""
_CLAIM: Final = """
-- KEYS: session, finals   ARGV: life in ms
-- Returns the new epoch, the snapshot and the final events; nothing when there is no such session.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {} end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return {epoch, state, redis.call('LRANGE', KEYS[2], 0, -1)}
"""


class RedisSessions:
    """A `SessionStore`. An async context manager.

    A command runs in a task of its own: when its caller is cancelled, its reply is still read, so that no
    connection is used again with somebody else's reply on it.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        ttl_s: how long a session is kept after it was last written or touched.
        timeout_s: longest wait for an answer.
    """

    def __init__(self, url: str, *, ttl_s: float = 60.0, timeout_s: float = 0.25) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Connections that a server which was away left in the pool cost nothing. Never after a timeout.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis_errors.ConnectionError,)),
            decode_responses=False,
        )
        self._save = self._redis.register_script(_SAVE)
        self._touch = self._redis.register_script(_TOUCH)
        self._claim = self._redis.register_script(_CLAIM)
        self._ttl_s = ttl_s
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
        await self._redis.aclose()

    @property
    def ttl_s(self) -> float:
        return self._ttl_s

    async def save(self, token: str, epoch: int, snapshot: Snapshot, finals: Sequence[Said]) -> None:
        arguments: list[int | bytes] = [epoch, self._life_ms, KEPT, dump(snapshot), *map(dump_said, finals)]
        if not await self._ask("save", self._save, token, arguments):
            raise moved(snapshot.session_id)

    async def touch(self, token: str, epoch: int) -> None:
        if not await self._ask("touch", self._touch, token, [epoch, self._life_ms]):
            raise moved("")

    async def claim(self, token: str) -> Kept:
        reply = await self._ask("claim", self._claim, token, [self._life_ms])
        if not reply:
            raise unknown()
        epoch, state, finals = reply
        try:
            # Written twice where the answer to the first attempt was lost.
            once = {said.sequence: said for said in map(load_said, finals)}
            return Kept(int(epoch), load(state), tuple(once.values()))
        except ValueError:
            # Written by another version of this service.
            raise unknown() from None

    @property
    def _life_ms(self) -> int:
        return max(1, round(self._ttl_s * 1000))

    async def _ask(self, what: str, script: Any, token: str, arguments: list[int | bytes]) -> Any:
        permit = self._breaker.admit(time.monotonic())
        if permit == REFUSED:
            raise StoreDown
        digest = hashlib.sha256(token.encode()).hexdigest()
        keys = [f"{{speech:{digest}}}", f"{{speech:{digest}}}:finals"]
        task = asyncio.create_task(self._run(script, keys, arguments, permit))
        self._running.add(task)
        task.add_done_callback(self._ended)
        with span(f"redis.{what}"):
            return await asyncio.shield(task)

    async def _run(self, script: Any, keys: list[str], arguments: list[int | bytes], permit: int) -> Any:
        try:
            reply = await script(keys=keys, args=arguments)
        except _NO_ANSWER as error:
            self._breaker.failed(permit, time.monotonic())
            raise StoreDown from error
        except BaseException:
            self._breaker.returned(permit)
            raise
        self._breaker.succeeded(permit, time.monotonic())
        return reply

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that went away does not ask for it
