"""The live conversations of this process."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Final

from trunkline_hop.clock import Clock
from trunkline_hop.errors import Overloaded
from trunkline_translate.conversation import LAPSE, Conversation, Resumed
from trunkline_translate.conversation_events import Said, SentenceFailed, SentenceTranslated
from trunkline_translate.conversation_parts import Detects, Parts, Translates
from trunkline_translate.engine import Priority
from trunkline_translate.incoming import Splits
from trunkline_translate.snapshot import ConversationConfig, ConversationStore, Snapshot
from trunkline_valkey import Keeper, StoreDown, unknown

_RETRY_AFTER: Final = timedelta(seconds=2)
_TOKEN_BYTES: Final = 24


class Conversations:
    """The live conversations of this process: starts them, resumes them, and refuses more than can be served.

    Args:
        translator: translates sentences. What it says is told as it comes, but no more often than a client gains from.
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
        with self._place():
            snapshot = Snapshot(uuid.uuid4().hex, config)
            keeper = self._keeper(secrets.token_urlsafe(_TOKEN_BYTES), epoch=1)
            async with self._conversation(snapshot, keeper, priority).running() as conversation:
                yield conversation

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
            NotFound: SESSION_UNKNOWN, no such conversation, its time is over, or the client lacks answers that are not
                kept any more.
            Unavailable: STORE_UNREACHABLE.
            Overloaded: as `start`.
        """
        with self._place():
            if self._store is None:
                raise unknown()
            try:
                kept = await self._store.claim(token)
            except StoreDown as down:
                raise down.unavailable() from None
            if last_sequence - kept.snapshot.sequence >= LAPSE:
                # Said while the store was down. Going on from before it would say it again, as if it were new.
                raise unknown()
            there = {said.sequence for said in kept.finals}
            if any(each > last_sequence and each not in there for each in kept.snapshot.answered):
                # Lost with the store, or too many: going on without it would leave the client without an answer.
                raise unknown()
            resumed = Resumed(last_sequence, kept.epoch, _once(kept.finals))
            keeper = self._keeper(token, kept.epoch)
            async with self._conversation(kept.snapshot, keeper, priority, resumed).running() as conversation:
                yield conversation

    def _keeper(self, token: str, epoch: int) -> Keeper[Snapshot, Said]:
        return Keeper(self._store, token, epoch, self._parts.clock)

    def _conversation(
        self,
        snapshot: Snapshot,
        keeper: Keeper[Snapshot, Said],
        priority: Priority,
        resumed: Resumed | None = None,
    ) -> Conversation:
        ttl_s = None if self._store is None else self._store.ttl_s
        return Conversation(self._parts, snapshot, keeper, priority, ttl_s=ttl_s, resumed=resumed)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._live >= self._limit:
            raise Overloaded(
                "SHED",
                f"{self._limit} conversations are open, and no more are held",
                retry_after=_RETRY_AFTER,
            )
        self._live += 1
        try:
            yield
        finally:
            self._live -= 1


def _once(answers: tuple[Said, ...]) -> tuple[Said, ...]:
    """One answer a sentence: the one that was told, where a store kept one that it did not confirm."""
    by_sentence = {
        said.event.sentence_id: said
        for said in answers
        if isinstance(said.event, SentenceTranslated | SentenceFailed)
    }
    return tuple(by_sentence.values())
