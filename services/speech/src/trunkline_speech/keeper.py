"""Keeps one session in the store while its stream lives."""

from __future__ import annotations

from trunkline_hop.clock import Clock
from trunkline_speech.events import Said
from trunkline_speech.snapshot import SessionStore, Snapshot
from trunkline_valkey import Keeper as ValkeyKeeper


class Keeper(ValkeyKeeper[Snapshot, Said]):
    """Writes for one stream of a session, and knows which audio the last snapshot needs.

    Args:
        store, token, epoch, clock: as for any session.
    """

    def __init__(self, store: SessionStore | None, token: str, epoch: int, clock: Clock) -> None:
        super().__init__(store, token, epoch, clock)
        self.saved_from = 0
        """Where the audio begins that the snapshot in the store needs."""

    async def save(self, snapshot: Snapshot, final: Said | None = None) -> bool:
        saved = await super().save(snapshot, final)
        if saved:
            self.saved_from = snapshot.mark.start
        return saved
