"""The versions in memory: who uses them, what they take of the budget, and which one goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import Generic, TypeVar

from trunkline_hop.errors import Overloaded
from trunkline_modelstore.version import Key

M = TypeVar("M")

_RETRY_AFTER = timedelta(seconds=1)


class Pin(IntEnum):
    """Why a version is held. What is wanted more may push out what is wanted less."""

    NONE = 0
    """Somebody once asked for it by name."""
    CANDIDATE = 1
    """A rollout compares it with production."""
    PRODUCTION = 2
    """It is in force: never pushed out."""


@dataclass(slots=True, eq=False)
class Resident(Generic[M]):
    """A version in memory."""

    key: Key
    model: M
    size_bytes: int
    pin: Pin = Pin.NONE
    leases: int = 0
    retired: bool = False
    """Nobody gets it any more; it goes when its last lease is returned."""


@dataclass(slots=True)
class Residents(Generic[M]):
    """Versions in memory under a budget. Synchronous: every method is one step on the event loop.

    What a method returns as pushed out is no longer counted, and the caller unloads it. A leased version
    is never pushed out, nor is one in production; a candidate only by one that goes into production.
    """

    budget_bytes: int
    limit: int | None = None
    """Most versions at once, whatever they take; None: as many as the bytes allow."""
    used_bytes: int = 0
    """Of residents, retired ones included, and of reservations. Never more than the budget."""
    count: int = 0
    """Of the same. Never more than the limit."""
    _held: OrderedDict[Key, Resident[M]] = field(default_factory=OrderedDict)
    """Least recently used first."""
    _reserved: dict[Key, int] = field(default_factory=dict)

    def reserve(self, key: Key, size_bytes: int, pin: Pin) -> list[Resident[M]]:
        """Sets bytes aside for a version that is about to load; returns what was pushed out for it.

        Raises:
            Overloaded: TOO_LARGE, it would not fit into the empty budget; SHED, it does not fit now.
        """
        evicted = self._make_room(key, size_bytes, pin)
        self._reserved[key] = size_bytes
        self.used_bytes += size_bytes
        self.count += 1
        return evicted

    def cancel(self, key: Key) -> None:
        """Gives a reservation back."""
        self.used_bytes -= self._reserved.pop(key)
        self.count -= 1

    def admit(self, key: Key, model: M, size_bytes: int, pin: Pin) -> tuple[Resident[M], list[Resident[M]]]:
        """Turns a reservation into a resident of its real size; also returns what was pushed out for it.

        Raises:
            Overloaded: it turned out larger than reserved, and that does not fit. The reservation is gone.
        """
        self.cancel(key)
        evicted = self._make_room(key, size_bytes, pin)
        resident = Resident(key, model, size_bytes, pin)
        self._held[key] = resident
        self.used_bytes += size_bytes
        self.count += 1
        return resident, evicted

    def find(self, key: Key) -> Resident[M] | None:
        """The resident of a version."""
        return self._held.get(key)

    def lease(self, resident: Resident[M]) -> None:
        """Counts a user, who returns it by `release`. The resident must be held."""
        resident.leases += 1
        self._held.move_to_end(resident.key)

    def release(self, resident: Resident[M]) -> bool:
        """Counts a user off. True when the resident was retired and this was the last: unload it."""
        resident.leases -= 1
        if resident.retired and not resident.leases:
            self._forget(resident)
            return True
        return False

    def pin(self, key: Key, pin: Pin) -> None:
        """Changes why a version is held, if it is."""
        if (resident := self._held.get(key)) is not None:
            resident.pin = pin

    def retire(self, resident: Resident[M]) -> bool:
        """Takes a version out of use. True when nobody uses it: unload it. Else the last `release` says so."""
        del self._held[resident.key]
        resident.retired = True
        if resident.leases:
            return False
        self._forget(resident)
        return True

    def shed(self) -> Resident[M] | None:
        """Pushes out the least recently used version that nobody uses and no serving set names, if any."""
        for resident in self._held.values():
            if resident.pin is Pin.NONE and not resident.leases:
                self.retire(resident)
                return resident
        return None

    def __iter__(self) -> Iterator[Resident[M]]:
        return iter(list(self._held.values()))

    def __len__(self) -> int:
        return len(self._held)

    def _forget(self, resident: Resident[M]) -> None:
        self.used_bytes -= resident.size_bytes
        self.count -= 1

    def _make_room(self, key: Key, size_bytes: int, pin: Pin) -> list[Resident[M]]:
        about = {"version": key[0], "size_bytes": str(size_bytes), "budget_bytes": str(self.budget_bytes)}
        if size_bytes > self.budget_bytes:
            raise Overloaded(
                "TOO_LARGE", f"{key[0]} does not fit into the byte budget of this server", metadata=about
            )
        excess = self.used_bytes + size_bytes - self.budget_bytes
        crowd = 0 if self.limit is None else self.count + 1 - self.limit
        victims: list[Resident[M]] = []
        # Sorting is stable: within one pin the least recently used stays first.
        for resident in sorted(self._held.values(), key=lambda held: held.pin):
            if (excess <= 0 and crowd <= 0) or resident.pin >= max(pin, Pin.CANDIDATE):
                break
            if not resident.leases:
                victims.append(resident)
                excess -= resident.size_bytes
                crowd -= 1
        if excess > 0 or crowd > 0:
            raise Overloaded(
                "SHED",
                f"{key[0]} does not fit beside the versions in use",
                retry_after=_RETRY_AFTER,
                metadata=about,
            )
        for victim in victims:
            self.retire(victim)
        return victims
