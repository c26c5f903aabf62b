"""What a session needs to go on elsewhere, and who keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session as it was when it last said something."""

    session_id: str


class SessionStore(Protocol):
    """Keeps snapshots by resume token for a minute after their stream ended. `RedisSessions` is one."""

    async def save(self, token: str, snapshot: Snapshot) -> None:
        """Keeps it."""
        ...
