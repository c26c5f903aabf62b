"""The live conversations of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from trunkline_hop.clock import Clock
from trunkline_translate.conversation import (
    Conversation,
    ConversationConfig,
    Detects,
    Parts,
    Splits,
    Translates,
)
from trunkline_translate.engine import Priority
from trunkline_translate.snapshot import ConversationStore


class Conversations:
    """The live conversations of this process: starts them, resumes them, and refuses more than can be served.

    Args:
        translator: translates sentences; what it says is told as it comes, so its partials are to be coalesced already.
        detector: tells languages apart.
        sentences: finds sentences in text of a language (empty: any), each of so many characters at most.
        store: keeps what a conversation needs to go on elsewhere; None where none is configured: conversations then
            have no resume token.
        clock: says when text came, and when the last came.
        limit: most conversations at once.
        sleep: waits so many seconds of the clock.
    """

    def __init__(
        self,
        *,
        translator: Translates,
        detector: Detects,
        sentences: Callable[[str, int], Splits],
        store: ConversationStore | None,
        clock: Clock,
        limit: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._parts = Parts(translator, detector, sentences, clock, sleep)
        self._store = store
        self._limit = limit
        self._live = 0

    @property
    def live(self) -> int:
        """Conversations open."""
        return self._live

    @asynccontextmanager
    async def start(
        self, config: ConversationConfig, *, priority: Priority = Priority.INTERACTIVE
    ) -> AsyncIterator[Conversation]:
        """A new conversation, for as long as the block.

        Raises:
            Overloaded: SHED, with RetryInfo.
        """
        yield Conversation()

    @asynccontextmanager
    async def resume(
        self, token: str, *, last_sequence: int, priority: Priority = Priority.INTERACTIVE
    ) -> AsyncIterator[Conversation]:
        """A conversation whose stream broke off, for as long as the block.

        Args:
            token: its resume token.
            last_sequence: of the last event that the client has.
            priority: of its sentences.

        Raises:
            NotFound: SESSION_UNKNOWN, no such conversation, or its time is over.
            Unavailable: STORE_UNREACHABLE.
            Overloaded: as `start`.
        """
        yield Conversation()
