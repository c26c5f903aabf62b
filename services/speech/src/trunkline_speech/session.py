"""One live session: audio in, events out."""

from __future__ import annotations

from collections.abc import AsyncIterator

from trunkline_speech.config import Update
from trunkline_speech.events import Said


class Session:
    """One live session. Made by `Sessions.start` and `Sessions.resume`, and ended by leaving their blocks.

    One task feeds it, in order; another one reads its events. The events end when everything is said.
    """

    async def feed(self, data: bytes) -> None:
        """Takes the next bytes of the audio, cut anywhere; waits while it is too far ahead of the recogniser.

        Once the session has ended (drained or failed) it does nothing: the events say why.

        Raises:
            BadRequest: this is no audio.
        """
        ...

    async def update(self, update: Update) -> None:
        """Changes the session from the audio that follows.

        Raises:
            BadRequest: nobody here hears that language.
        """
        ...

    async def finish(self) -> None:
        """No more audio comes: what is in flight is said, then the events end.

        Raises:
            BadRequest: the audio ends in the middle of something.
        """
        ...

    def drain(self) -> None:
        """Ends it with a `Draining` event, so that the client goes on elsewhere."""
        ...

    def events(self) -> AsyncIterator[Said]:
        """What it says, until all is said. Read by one task.

        Raises:
            Conflict: SESSION_MOVED, somebody resumed it elsewhere.
            Overloaded, Unavailable: the recogniser cannot go on; the session can be resumed.
        """
        ...
