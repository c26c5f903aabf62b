"""What a conversation needs to go on elsewhere, and who keeps it."""

from __future__ import annotations

from typing import Protocol


class ConversationStore(Protocol):
    """Keeps conversations by resume token, for ten minutes after they were last saved or touched."""

    @property
    def ttl_s(self) -> float:
        """How long one is kept."""
        ...
