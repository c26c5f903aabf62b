r"""One live session: audio in, events out.

feed -> Ear -> Intake -> Segmenter -> Passes (recogniser) -> Draft -> Keeper (store) -> events
        \_ the client's task _/  \__________________ the conversation's task __________/
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from trunkline_hop.errors import BadRequest, Conflict
from trunkline_hop.tasks import ended
from trunkline_speech.config import SessionConfig, Update
from trunkline_speech.conversation import Change, Conversation, End, Parts, Resumed
from trunkline_speech.events import AudioDropped, Said
from trunkline_speech.keeper import Keeper
from trunkline_speech.parts import Frame
from trunkline_speech.recogniser import Recogniser
from trunkline_speech.snapshot import Snapshot


class Session:
    """One live session. Made by `Sessions.start` and `Sessions.resume`, and ended by leaving their blocks.

    One task feeds it, in order; another one reads its events. The events end when everything is said.
    """

    def __init__(
        self,
        parts: Parts,
        snapshot: Snapshot,
        keeper: Keeper,
        recogniser: Recogniser,
        lease: AsyncExitStack,
        resumed: Resumed | None = None,
    ) -> None:
        self._id = snapshot.session_id
        self._choose = parts.choose
        self._keeper = keeper
        self._config = snapshot.config
        self._recogniser = recogniser
        self._leases = [lease]
        self._conversation = Conversation(parts, snapshot, keeper, recogniser, resumed)
        self._ear = self._conversation.ear
        self._intake = self._conversation.intake
        self._failure: Exception | None = None

    @property
    def config(self) -> SessionConfig:
        """What it was told, the last update included."""
        return self._config

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Session]:
        """Runs it as long as the block; then nothing of it is left but the snapshot in the store."""
        async with AsyncExitStack() as left:
            left.push_async_callback(self._release)
            left.push_async_callback(self._ear.close)
            left.callback(self._intake.close)
            task = asyncio.get_running_loop().create_task(self._main(), name=f"session {self._id}")
            left.push_async_callback(ended, task)
            yield self

    async def feed(self, data: bytes) -> None:
        """Takes the next bytes of the audio, cut anywhere; waits while it is too far ahead of the recogniser.

        Bytes that are no audio end the session with BadRequest, once everything before them is said. After its end
        it takes nothing more: the events say why.
        """
        if not self._intake.closed:
            try:
                async for item in self._ear.hear(data):
                    await self._take(item)
            except BadRequest as fault:
                await self._intake.put(End(fault))

    async def finish(self) -> None:
        """No more audio comes: what is in flight is said, then the events end."""
        fault: BadRequest | None = None
        if not self._intake.closed:
            try:
                async for item in self._ear.finish():
                    await self._take(item)
            except BadRequest as raised:
                fault = raised
            await self._intake.put(End(fault))

    async def update(self, update: Update) -> None:
        """Changes the session from the audio that follows. Another language begins a new segment.

        Raises:
            BadRequest: LANGUAGE_UNSUPPORTED, nobody here hears that language.
            NotFound, Unavailable: the recogniser that does cannot be had.
        """
        config = update.of(self._config)
        language, over = config.options.language, None
        if language and language not in self._recogniser.languages:
            lease, over = AsyncExitStack(), self._leases[-1]
            self._recogniser = await lease.enter_async_context(self._choose(config.options))
            self._leases.append(lease)
        self._config = config
        await self._intake.put(Change(config, self._recogniser, over))

    def drain(self) -> None:
        """Ends it with a `Draining` event, so that the client goes on elsewhere."""
        self._conversation.stop()

    async def events(self) -> AsyncIterator[Said]:
        """What it says, until all is said. Read by one task.

        Raises:
            BadRequest: the bytes that it was fed are no audio.
            Conflict: SESSION_MOVED, somebody resumed it elsewhere.
            Overloaded, TooLate, Unavailable: the recogniser cannot go on; the session can be resumed.
        """
        while (said := await self._conversation.said.get()) is not None:
            yield said
        if self._failure is not None:
            raise self._failure

    async def _take(self, item: Frame | AudioDropped) -> None:
        await self._intake.put(item, 0 if isinstance(item, AudioDropped) else len(item.samples))

    async def _release(self) -> None:
        async with AsyncExitStack() as left:
            for lease in self._leases:
                left.push_async_exit(lease)

    async def _main(self) -> None:
        beat = asyncio.get_running_loop().create_task(self._beat(), name=f"session {self._id} beat")
        try:
            await self._conversation.run()
        except Exception as failure:
            self._failure = failure
        finally:
            await ended(beat)
        self._intake.close()
        await self._conversation.said.put(None)

    async def _beat(self) -> None:
        try:
            await self._keeper.beat()
        except Conflict as moved:
            self._conversation.stop(moved)
