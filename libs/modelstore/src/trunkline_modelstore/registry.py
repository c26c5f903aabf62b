"""What the store asks of a model registry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from trunkline_modelstore.version import Version


@dataclass(frozen=True, slots=True)
class ServingSet:
    """The versions of one model that serve: its last word on that model, whole."""

    model: str
    """`models/fraud`."""
    versions: tuple[Version, ...]
    """The one in production and the candidates, in any order. Empty when none serves."""
    resume_token: str = ""


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything up to here was the state when the watch began."""

    resume_token: str = ""


@dataclass(frozen=True, slots=True)
class Draining:
    """The registry process at the other end is about to stop; another one answers."""

    resume_token: str = ""


Event = ServingSet | Synced | Draining


class Registry(Protocol):
    """The registry, as far as a model server needs it. Everything may raise a Fault."""

    def watch(self, models: Sequence[str], resume_token: str) -> AsyncGenerator[Event, None]:
        """Each model's serving set, then `Synced`, then every change, from after the token on."""
        ...

    async def get(self, name: str) -> Version:
        """One version by name.

        Raises:
            NotFound: there is none.
        """
        ...

    def download(self, sha256: str, offset_bytes: int) -> AsyncGenerator[bytes, None]:
        """The bytes of one file from an offset on."""
        ...
