"""What a store says of its versions, for status pages and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a version is on its way into memory."""

    LOADING = "loading"
    """It is being fetched, loaded or warmed, or waits for its next try."""
    READY = "ready"
    """It is loaded and warmed; leases by its own name get it."""
    IN_FORCE = "in_force"
    """Leases by the model's name get it."""
    FAILED = "failed"
    """The last try failed, another one will come."""
    REFUSED = "refused"
    """It will never load here."""


@dataclass(frozen=True, slots=True)
class Status:
    """One version in one store."""

    version: str
    """`models/fraud/versions/3`."""
    digest: str
    state: State
    error: str = ""
    """What the last try failed with."""
    size_bytes: int = 0
    leases: int = 0
