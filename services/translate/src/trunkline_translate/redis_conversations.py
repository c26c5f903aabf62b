"""Conversations in Redis or Valkey, so that they go on elsewhere."""

from __future__ import annotations

from pydantic import TypeAdapter

from trunkline_translate.conversation_events import Said
from trunkline_translate.snapshot import KEPT, Snapshot
from trunkline_valkey import StoredSessions


class RedisConversations(StoredSessions[Snapshot, Said]):
    """A `ConversationStore`. An async context manager.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        ttl_s: how long a conversation is kept after it was last written or touched.
        timeout_s: longest wait for an answer.
    """

    def __init__(self, url: str, *, ttl_s: float = 600.0, timeout_s: float = 0.25) -> None:
        super().__init__(
            url,
            prefix="translate",
            snapshots=TypeAdapter(Snapshot),
            events=TypeAdapter(Said),
            kept=KEPT,
            ttl_s=ttl_s,
            timeout_s=timeout_s,
        )
