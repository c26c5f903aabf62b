"""The live sessions of this process."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from trunkline_hop.clock import Clock
from trunkline_speech.config import AudioFormat, SessionConfig
from trunkline_speech.parts import Choose, Diarize, Listen
from trunkline_speech.session import Session
from trunkline_speech.snapshot import SessionStore


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
    ) -> None: ...

    @property
    def live(self) -> int:
        """Sessions open."""
        ...

    @property
    def load(self) -> float:
        """Share of its capacity that recognition uses; at 1 new sessions are refused."""
        ...

    def start(self, config: SessionConfig) -> AbstractAsyncContextManager[Session]:
        """A new session, for as long as the block.

        Raises:
            Overloaded: SHED, with RetryInfo.
            BadRequest, NotFound, Unavailable: nobody hears with these options.
        """
        ...

    def resume(
        self,
        token: str,
        *,
        last_sequence: int,
        audio_start: int | None = None,
        audio: AudioFormat | None = None,
    ) -> AbstractAsyncContextManager[Session]:
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
        ...
