"""Sessions in Redis or Valkey: a snapshot and the last final events, under the hash of the resume token."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Generic, Self

from pydantic import TypeAdapter

from trunkline_valkey.sessions import EventT, Kept, SnapshotT, moved, unknown
from trunkline_valkey.store import Script, Store

# A session is one hash: `epoch` of the stream that may write, and `state`; and a list of its final events. Both
# keys have the token's hash in braces, so that a cluster keeps them together.
_SAVE: Final = Script(
    "save",
    """
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
""",
)
_TOUCH: Final = Script(
    "touch",
    """
-- KEYS: session, finals   ARGV: epoch, life in ms
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
""",
)
_CLAIM: Final = Script(
    "claim",
    """
-- KEYS: session, finals   ARGV: life in ms
-- Returns the new epoch, the snapshot and the final events; nothing when there is no such session.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {} end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return {epoch, state, redis.call('LRANGE', KEYS[2], 0, -1)}
""",
)


class StoredSessions(Generic[SnapshotT, EventT]):
    """A `SessionStore`. An async context manager.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        prefix: of the keys: the service's name.
        snapshots, events: write and read them, as JSON.
        kept: most final events of a session.
        ttl_s: how long a session is kept after it was last written or touched.
        timeout_s: longest wait for an answer.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        snapshots: TypeAdapter[SnapshotT],
        events: TypeAdapter[EventT],
        kept: int,
        ttl_s: float,
        timeout_s: float,
    ) -> None:
        self._store = Store(url, what="session store")
        self._prefix = prefix
        self._snapshots = snapshots
        self._events = events
        self._kept = kept
        self._ttl_s = ttl_s
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._store.__aexit__(kind, error, trace)

    @property
    def ttl_s(self) -> float:
        return self._ttl_s

    @property
    def kept(self) -> int:
        return self._kept

    @property
    def pending(self) -> int:
        """Commands whose reply has not been read."""
        return self._store.pending

    async def save(self, token: str, epoch: int, snapshot: SnapshotT, finals: Sequence[EventT]) -> None:
        state = self._snapshots.dump_json(snapshot)
        events = map(self._events.dump_json, finals)
        if not await self._ask(_SAVE, token, [epoch, self._life_ms, self._kept, state, *events]):
            raise moved(snapshot.session_id)

    async def touch(self, token: str, epoch: int) -> None:
        if not await self._ask(_TOUCH, token, [epoch, self._life_ms]):
            raise moved()

    async def claim(self, token: str) -> Kept[SnapshotT, EventT]:
        reply = await self._ask(_CLAIM, token, [self._life_ms])
        if not reply:
            raise unknown()
        epoch, state, finals = reply
        try:
            # Written twice where the answer to the first attempt was lost.
            once = {event.sequence: event for event in map(self._events.validate_json, finals)}
            return Kept(int(epoch), self._snapshots.validate_json(state), tuple(once.values()))
        except ValueError:
            # Written by another version of this service.
            raise unknown() from None

    @property
    def _life_ms(self) -> int:
        return max(1, round(self._ttl_s * 1000))

    async def _ask(self, script: Script, token: str, arguments: Sequence[int | bytes]) -> Any:
        key = f"{{{self._prefix}:{hashlib.sha256(token.encode()).hexdigest()}}}"
        return await self._store.script(script, (key, f"{key}:finals"), arguments, timeout_s=self._timeout_s)
