"""The live sessions of this process."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta

from trunkline_hop.clock import Clock
from trunkline_hop.errors import Overloaded
from trunkline_speech.config import AudioFormat, SessionConfig
from trunkline_speech.conversation import Parts, Resumed
from trunkline_speech.events import Said
from trunkline_speech.keeper import Keeper
from trunkline_speech.load import Loads
from trunkline_speech.parts import Choose, Diarize, Listen
from trunkline_speech.segmenter import Mark
from trunkline_speech.session import Session
from trunkline_speech.snapshot import SessionStore, Snapshot
from trunkline_valkey import Kept, StoreDown, unknown

_RETRY_AFTER = timedelta(seconds=2)
_TOKEN_BYTES = 24


class Sessions:
    """The live sessions of this process: starts them, resumes them, and refuses more than can be served.

    Args:
        listen: makes ears.
        choose: chooses recognisers.
        diarize: makes diarizers.
        store: keeps what a session needs to go on elsewhere; None where none is configured: sessions then have
            no resume token.
        clock: measures how far behind sessions are.
        limit: most sessions at once.
    """

    def __init__(
        self,
        *,
        listen: Listen,
        choose: Choose,
        diarize: Diarize,
        store: SessionStore | None,
        clock: Clock,
        limit: int,
    ) -> None:
        self._parts = Parts(listen, choose, diarize, Loads(clock), clock)
        self._store = store
        self._limit = limit
        self._live = 0

    @property
    def live(self) -> int:
        """Sessions open."""
        return self._live

    @property
    def load(self) -> float:
        """Share of its capacity that the busiest recogniser uses; at 1 it is given no new sessions."""
        return self._parts.loads.most

    @asynccontextmanager
    async def start(self, config: SessionConfig) -> AsyncIterator[Session]:
        """A new session, for as long as the block.

        Raises:
            Overloaded: SHED, with RetryInfo.
            BadRequest, NotFound, NotAllowed, Unavailable: nobody hears with these options.
        """
        with self._place():
            snapshot = Snapshot(
                session_id=uuid.uuid4().hex,
                config=config,
                sequence=0,
                mark=Mark(),
                number=1,
                revision=0,
                committed=(),
                carried=(),
                before=(),
                language="",
                utterance=(0, 0),
                speakers=b"",
            )
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            async with self._running(snapshot, token, epoch=1) as session:
                yield session

    @asynccontextmanager
    async def resume(
        self,
        token: str,
        *,
        last_sequence: int,
        audio_start: int | None = None,
        audio: AudioFormat | None = None,
    ) -> AsyncIterator[Session]:
        """A session whose stream broke off, for as long as the block.

        Args:
            token: its resume token.
            last_sequence: of the last event that the client has.
            audio_start: where the client's audio begins; None where `Started` then says.
            audio: the format of what follows; None as before.

        Raises:
            NotFound: SESSION_UNKNOWN, no such session, or its minute is over.
            Unavailable: STORE_UNREACHABLE.
            Overloaded, BadRequest: as `start`.
        """
        with self._place():
            kept = await self._claim(token, last_sequence)
            snapshot = kept.snapshot
            if audio is not None:
                snapshot = replace(snapshot, config=replace(snapshot.config, audio=audio))
            resumed = Resumed(last_sequence, audio_start, kept.finals)
            async with self._running(snapshot, token, kept.epoch, resumed) as session:
                yield session

    async def _claim(self, token: str, last_sequence: int) -> Kept[Snapshot, Said]:
        if self._store is None:
            raise unknown()
        try:
            kept = await self._store.claim(token)
        except StoreDown as down:
            raise down.unavailable() from None
        if last_sequence > kept.snapshot.sequence:
            # Said while the store was down. Going on from before it would say it again, as if it were new.
            raise unknown()
        return kept

    @asynccontextmanager
    async def _running(
        self, snapshot: Snapshot, token: str, epoch: int, resumed: Resumed | None = None
    ) -> AsyncIterator[Session]:
        keeper = Keeper(self._store, token, epoch, self._parts.clock)
        async with AsyncExitStack() as lease:
            recogniser = await lease.enter_async_context(self._parts.choose(snapshot.config.options))
            if resumed is None and self._parts.loads.of(recogniser.name).now >= 1.0:
                raise Overloaded(
                    "SHED",
                    f"{recogniser.name} cannot follow the sessions that are open",
                    retry_after=_RETRY_AFTER,
                )
            session = Session(self._parts, snapshot, keeper, recogniser, lease, resumed)
            async with session.running():
                yield session

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._live >= self._limit:
            raise Overloaded(
                "SHED", f"{self._limit} sessions are open, and no more are held", retry_after=_RETRY_AFTER
            )
        self._live += 1
        try:
            yield
        finally:
            self._live -= 1
