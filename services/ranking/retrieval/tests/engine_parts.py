"""What the tests of the engine share: indexes, changes, builds, and a model that searches by brute force."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.build import build
from trunkline_retrieval.changes import Attributes, Change, Delete, Entry, Upsert
from trunkline_retrieval.collection import Collection, Matches
from trunkline_retrieval.device import Device
from trunkline_retrieval.exact import unit
from trunkline_retrieval.filter import Filter
from trunkline_retrieval.index import Budget, Index, IndexType, Metric
from trunkline_retrieval.manifest import Manifest
from trunkline_retrieval.snapshot import Snapshot, load

CPU = Device("cpu")
GENEROUS = Budget(search_time_s=60.0, recall=0.0)
"""Times on a busy machine are no test's business."""


def an_index(
    dimension: int = 4,
    metric: Metric = Metric.SQUARED_L2,
    type_: IndexType | None = None,
    budget: Budget = GENEROUS,
) -> Index:
    return Index("movies", "uid", dimension, metric, type_, budget, datetime(2026, 1, 1, tzinfo=UTC))


def an_upsert(
    vectors: Mapping[str, Sequence[float]], attributes: Mapping[str, Attributes] | None = None
) -> Upsert:
    matrix = np.array(list(vectors.values()), np.float32)
    return Upsert(list(vectors), matrix, [(attributes or {}).get(id_, {}) for id_ in vectors])


def clustered(count: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of length 1 around a centre for each fifty."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(count // 50, 1), dimension), np.float32)
    spread = 0.35 * random.standard_normal((count, dimension), np.float32)
    return unit(centres[random.integers(0, len(centres), count)] + spread)


def numbered(vectors: NDArray[np.float32], attributes: Iterable[Attributes] | None = None) -> Upsert:
    """The vectors as id `v0`, `v1` and so on."""
    ids = [f"v{row}" for row in range(len(vectors))]
    return Upsert(ids, vectors, list(attributes) if attributes else [{}] * len(ids))


def a_collection(index: Index, *changes: Change, snapshot: Snapshot | None = None) -> Collection:
    collection = Collection(index, snapshot, CPU)
    apply(collection, *changes)
    return collection


def apply(collection: Collection, *changes: Change) -> None:
    for change in changes:
        collection.apply(Entry(collection.sequence + 1, change))


def built(collection: Collection, directory: Path) -> Manifest:
    """The manifest of a snapshot of the collection in a new directory."""
    directory.mkdir(parents=True)
    return build(
        collection.index,
        collection.rows(),
        collection.sequence,
        directory.name,
        directory,
        lambda share: None,
        threading.Event(),
    )


def rebuilt(collection: Collection, directory: Path) -> Collection:
    """The collection over a new snapshot of itself."""
    manifest = built(collection, directory)
    return Collection(collection.index, load(collection.index, directory, manifest, CPU), CPU)


@dataclass
class Model:
    """What a collection should be: a dict. Scores are computed with numbers that float32 holds exactly."""

    metric: Metric
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    attributes: dict[str, Attributes] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        if isinstance(change, Delete):
            for id_ in change.ids:
                self.vectors.pop(id_, None)
                self.attributes.pop(id_, None)
        else:
            self.vectors |= dict(zip(change.ids, change.vectors, strict=True))
            self.attributes |= dict(zip(change.ids, change.attributes, strict=True))

    def score(self, query: NDArray[np.float32], id_: str) -> float:
        vector = self.vectors[id_].astype(np.float64)
        if self.metric is Metric.SQUARED_L2:
            return float(((vector - query) ** 2).sum())
        return float(vector @ query)

    def search(
        self, query: NDArray[np.float32], top_k: int, where: Filter | None = None
    ) -> list[tuple[str, float]]:
        sign = 1 if self.metric is Metric.SQUARED_L2 else -1
        found = [
            (id_, self.score(query, id_))
            for id_ in self.vectors
            if where is None or where.matches(self.attributes[id_])
        ]
        return sorted(found, key=lambda match: (sign * match[1], match[0]))[:top_k]


def pairs(matches: Matches) -> list[tuple[str, float]]:
    return list(zip(matches.ids, matches.scores.tolist(), strict=True))
