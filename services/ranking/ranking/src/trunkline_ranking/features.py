"""What ranking asks of a feature store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Online(Generic[V]):
    """The value of one feature of one entity."""

    value: V | None
    """None when nothing, or null, is stored and no default is declared."""
    fresh: bool
    """False for a default, and for a value that is older than its view allows."""


@dataclass(frozen=True, slots=True)
class FeatureQuery:
    """Which features, each as `view:field`, by the kind of their values."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in the order in which a row has them."""
        return self.numbers + self.texts + self.vectors


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One value a feature, in the order of the query."""

    numbers: Sequence[Online[float]]
    texts: Sequence[Online[str]] = ()
    vectors: Sequence[Online[NDArray[np.float32]]] = ()


class Features(Protocol):
    """The online store."""

    async def read(self, query: FeatureQuery, entities: Mapping[str, str], timeout_s: float) -> FeatureRow:
        """The features of some entities, one of each type.

        Args:
            query: which features.
            entities: one id by entity type.
            timeout_s: how long the answer is worth waiting for.

        Raises:
            Fault: they cannot be read.
        """
        ...
