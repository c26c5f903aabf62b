"""What scoring asks of a feature store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Online:
    """The value of one feature of one entity."""

    value: float | None
    """None when nothing, or null, is stored and no default is declared."""
    fresh: bool
    """False for a default, and for a value that is older than its view allows."""


class Features(Protocol):
    """The online store."""

    async def read(
        self, features: Sequence[str], entities: Mapping[str, str], timeout_s: float
    ) -> Sequence[Online]:
        """One value a feature, in the order asked.

        Args:
            features: as `view:field`.
            entities: one id by entity type.
            timeout_s: how long the answer is worth waiting for.

        Raises:
            Fault: they cannot be read.
        """
        ...
