"""The right to use a version: while it lasts, the version stays in memory."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Protocol, TypeVar

from trunkline_modelstore.residents import Resident

M = TypeVar("M")


class Lender(Protocol[M]):
    """What a lease asks of its store."""

    def find(self, name: str) -> Resident[M] | None:
        """The resident that a name means, when it is in memory."""

    async def obtain(self, name: str) -> Resident[M]:
        """The resident that a name means, loaded if need be. Raises like `ModelStore.lease`."""

    def take(self, resident: Resident[M]) -> None:
        """Counts a user of a resident that was found in this step of the event loop."""

    def give_back(self, resident: Resident[M]) -> None:
        """Counts a user off."""


class Lease(Generic[M]):
    """`async with store.lease("models/fraud") as lease:` uses `lease.model` until the end of the block."""

    __slots__ = ("_name", "_resident", "_store")

    def __init__(self, store: Lender[M], name: str) -> None:
        self._store = store
        self._name = name
        self._resident: Resident[M] | None = None

    @property
    def model(self) -> M:
        """What the loader made."""
        return self._held.model

    @property
    def version(self) -> str:
        """`models/fraud/versions/3`."""
        return self._held.key[0]

    @property
    def digest(self) -> str:
        """The version's digest."""
        return self._held.key[1]

    @property
    def _held(self) -> Resident[M]:
        if self._resident is None:
            raise RuntimeError("a lease is used outside of its block")
        return self._resident

    async def __aenter__(self) -> Lease[M]:
        """Takes the version, at once when it is in memory. Raises like `ModelStore.lease`."""
        resident = self._store.find(self._name) or await self._store.obtain(self._name)
        # Nothing between finding and taking lets another task push it out.
        self._store.take(resident)
        self._resident = resident
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        resident, self._resident = self._held, None
        self._store.give_back(resident)
