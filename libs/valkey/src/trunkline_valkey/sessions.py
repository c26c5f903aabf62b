"""What a session that goes on elsewhere is to those who keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from trunkline_hop.errors import Conflict, NotFound


class Named(Protocol):
    """A snapshot of a session."""

    @property
    def session_id(self) -> str:
        """Names the session in logs and traces. No secret."""
        ...


class Numbered(Protocol):
    """An event of a session."""

    @property
    def sequence(self) -> int:
        """Grows with every event of the session."""
        ...


SnapshotT = TypeVar("SnapshotT", bound=Named)
EventT = TypeVar("EventT", bound=Numbered)


@dataclass(frozen=True, slots=True)
class Kept(Generic[SnapshotT, EventT]):
    """A session that was taken over."""

    epoch: int
    """Of the one who took it over."""
    snapshot: SnapshotT
    finals: tuple[EventT, ...]
    """The last events that are said again to a client that did not get them."""


class SessionStore(Protocol[SnapshotT, EventT]):
    """Keeps sessions by resume token, for a while after they were last saved or touched.

    Each stream of a session has an epoch. One with an older epoch than the newest cannot write any more.
    """

    @property
    def ttl_s(self) -> float:
        """How long a session is kept."""
        ...

    @property
    def kept(self) -> int:
        """How many final events of a session are kept."""
        ...

    async def save(self, token: str, epoch: int, snapshot: SnapshotT, finals: Sequence[EventT]) -> None:
        """Keeps a snapshot instead of the one before, and final events behind those that are kept already.

        Raises:
            Conflict: SESSION_MOVED, somebody resumed the session.
            StoreDown: whether it is kept is not known.
        """
        ...

    async def touch(self, token: str, epoch: int) -> None:
        """Keeps what is kept for as long again.

        Raises:
            Conflict, StoreDown: as `save`.
        """
        ...

    async def claim(self, token: str) -> Kept[SnapshotT, EventT]:
        """Takes a session over: from now on its writers so far cannot write any more.

        Raises:
            NotFound: SESSION_UNKNOWN.
            StoreDown: whether it was taken over is not known.
        """
        ...


def unknown() -> NotFound:
    """What is said to a client whose session is not, or not any more, to be had."""
    return NotFound(
        "SESSION_UNKNOWN",
        "no session can be resumed with this token: it is over for too long, or never was; start a new one",
        resource_type="session",
        resource_name="",
    )


def moved(session_id: str = "") -> Conflict:
    """What is said on a stream whose session somebody resumed."""
    return Conflict(
        "SESSION_MOVED",
        "the session was resumed on another stream",
        resource_type="session",
        resource_name=session_id,
    )
