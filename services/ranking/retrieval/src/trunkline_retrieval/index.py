"""An index as it was declared. It never changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum


class Metric(IntEnum):
    """How vectors are compared. The numbers are those of trunkline.retrieval.v1.Metric."""

    INNER_PRODUCT = 1
    COSINE = 2
    SQUARED_L2 = 3


class IndexType(IntEnum):
    """How a snapshot is searched. The numbers are those of trunkline.retrieval.v1.IndexType."""

    FLAT = 1
    HNSW = 2
    IVF = 3


@dataclass(frozen=True, slots=True)
class Budget:
    """What a search may cost and must find."""

    search_time_s: float = 0.001
    """Longest time of one query on one core, in the median."""
    memory_bytes: int = 4 * 2**30
    """Most memory of a snapshot."""
    recall: float = 0.98
    """Smallest share of the exact nearest 100 that an approximate search finds."""


@dataclass(frozen=True, slots=True)
class Index:
    """Vectors of one dimension, compared by one metric."""

    id: str
    uid: str
    """Tells it from an earlier index of the same name."""
    dimension: int
    metric: Metric
    type: IndexType | None
    """None: chosen by the budget for each snapshot."""
    budget: Budget
    create_time: datetime
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Resource name."""
        return f"indexes/{self.id}"
