"""Packed rows in Redis: one MGET a read, one script a write."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline_features.redis_views import REVISION_KEY
from trunkline_valkey import Script, Store

_WRITE = Script(
    "write_rows",
    """
-- KEYS: revision, row...   ARGV: revision, (row, expiry in ms since the epoch or 0)...
-- Returns how many rows are now the newest of their entity, or -1 when the views are at another revision.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return -1 end
local function replaces(row, stored)
  local ours, theirs = struct.unpack('<i8', row, 9), struct.unpack('<i8', stored, 9)
  if ours ~= theirs then return ours > theirs end
  -- Any total order does, as long as it does not depend on who came first. Not `<`: it follows the locale.
  for i = 1, math.min(#row, #stored) do
    local a, b = row:byte(i), stored:byte(i)
    if a ~= b then return a > b end
  end
  return #row >= #stored
end
local written = 0
for i = 2, #KEYS do
  local row, expiry = ARGV[2 * i - 2], ARGV[2 * i - 1]
  local stored = redis.call('GET', KEYS[i])
  if not stored or #stored < 16 or replaces(row, stored) then
    if expiry == '0' then
      redis.call('SET', KEYS[i], row)
    else
      redis.call('SET', KEYS[i], row, 'PXAT', expiry)
    end
    written = written + 1
  end
end
return written
""",
)


class RedisRows:
    """Packed rows by key.

    Args:
        store: the connection.
        read_timeout_s, write_timeout_s: longest wait for one answer.
    """

    def __init__(self, store: Store, *, read_timeout_s: float, write_timeout_s: float) -> None:
        self._store = store
        self._read_timeout_s = read_timeout_s
        self._write_timeout_s = write_timeout_s

    async def read(self, keys: Sequence[str]) -> tuple[str, list[bytes | None]]:
        """The views' revision and the rows, from one moment.

        Raises:
            StoreDown: the store did not answer.
        """
        reply = await self._store.command("MGET", REVISION_KEY, *keys, timeout_s=self._read_timeout_s)
        return (reply[0] or b"").decode(), reply[1:]

    async def write(
        self, revision: str, keys: Sequence[str], rows: Sequence[bytes], expiries_ms: Sequence[int]
    ) -> int | None:
        """Stores those rows that are newer than what is there; all of it in one moment.

        Returns:
            How many those are; None, and nothing is stored, when the views are at another revision.

        Raises:
            StoreDown: the store did not answer; whether it wrote is not known.
        """
        arguments: list[str | bytes | int] = [revision]
        for row, expiry in zip(rows, expiries_ms, strict=True):
            arguments += (row, expiry)
        written: int = await self._store.script(
            _WRITE, (REVISION_KEY, *keys), arguments, timeout_s=self._write_timeout_s
        )
        return None if written < 0 else written
