"""Which types of index are worth building for some vectors and a budget, and how large they get."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

from trunkline_retrieval.exact import BYTE_S
from trunkline_retrieval.index import Index, IndexType

M: Final = 32
"""Links of a vector in an HNSW graph, twice as many on its ground level: Malkov and Yashunin give 12 to 48."""
EF_CONSTRUCTION: Final = 100
"""Candidates for the links of a vector. At FAISS's 40 clustered vectors lose a percent of recall."""
LIST_VECTORS: Final = 39
"""Least vectors a list, by FAISS: with fewer, k-means finds no clusters."""
REFINE: Final = 2
"""Candidates by 8-bit code for each match: codes alone confuse neighbours that are nearly as far."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build first, and what next if that misses the budget."""

    types: tuple[IndexType, ...]
    memory_bytes: dict[IndexType, int]
    """Predicted, of every type."""


def plan(index: Index, vectors: int, other_bytes: int) -> Plan:
    """The types that fit the memory budget, the ones most likely to meet the others first.

    FLAT leads when comparing every vector is fast enough, as it misses nothing; then HNSW, the fastest; then
    IVF, the smallest. A type that the index demands is the only one.

    Args:
        index: what the budget is of.
        vectors: how many there are.
        other_bytes: of ids and attributes, which every type has beside it.
    """
    if not vectors:
        return Plan((IndexType.FLAT,), {IndexType.FLAT: 0})
    memory_bytes = {type_: other_bytes + _bytes(type_, vectors, index.dimension) for type_ in IndexType}
    types = (index.type,) if index.type is not None else tuple(IndexType)
    fitting = [type_ for type_ in types if memory_bytes[type_] <= index.budget.memory_bytes]
    if vectors * index.dimension * 4 * BYTE_S > index.budget.search_time_s:
        fitting.sort(key=lambda type_: type_ is IndexType.FLAT)
    return Plan(tuple(fitting), memory_bytes)


def lists(vectors: int) -> int:
    """How many inverted lists: four square roots, so that finding lists and reading them take alike long."""
    return max(1, min(round(4 * sqrt(vectors)), vectors // LIST_VECTORS))


def _bytes(type_: IndexType, vectors: int, dimension: int) -> int:
    """Size of a FAISS index, to a percent or so."""
    match type_:
        case IndexType.FLAT:
            return vectors * dimension * 4
        case IndexType.HNSW:
            # Ground links, those of the one vector in M that is on a higher level, its level and offset.
            return vectors * (dimension * 4 + 2 * M * 4 + 4 + 4 + 8)
        case IndexType.IVF:
            # Codes and row numbers, the centroids, and two numbers a dimension to scale codes by.
            return vectors * (dimension + 8) + (lists(vectors) + 2) * dimension * 4
