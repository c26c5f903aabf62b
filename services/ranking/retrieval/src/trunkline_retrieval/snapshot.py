"""A snapshot in memory, ready to be searched."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.approximate import TUNED_AT, Approximate, Graph, Lists
from trunkline_retrieval.attributes import Columns
from trunkline_retrieval.device import Device, Placed, use_one_thread
from trunkline_retrieval.digests import DigestMismatch, verify
from trunkline_retrieval.exact import BYTE_S, FETCH_S, NOTHING, Found, nearest
from trunkline_retrieval.filter import Filter
from trunkline_retrieval.index import Index, IndexType, Metric
from trunkline_retrieval.manifest import Manifest
from trunkline_retrieval.rowset import RowSet
from trunkline_retrieval.texts import Texts

INDEX, IDS, ATTRIBUTES, VECTORS = "index.faiss", "ids.npz", "attributes.npz", "vectors.npy"
"""Files of a snapshot. The vectors are apart only where the index holds codes in their place."""

_SELECTIVE = 3
"""How much more an approximate search looks at for each row it must pass over. At one for one a filter that half
of 1,000,000 vectors satisfy cost 3 % of recall, and one that a tenth do 8 %; at three for one, 1 %."""
_GROWTH = 1.3
"""Exponent of the time of an approximate search over its effort: the candidates of a graph leave the caches."""
_FILTERS = 32
"""Filters whose rows a snapshot remembers: a bit a vector each."""
_WARMING = 16
"""Searches that bring code and pages into memory before the first caller needs them."""


class SnapshotCorrupt(Exception):
    """The files of a snapshot are not those that were written. Says which."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The vectors of an index at one moment, immutable. Searched on any thread."""

    manifest: Manifest
    metric: Metric
    ids: Texts
    vectors: NDArray[np.float32]
    """`[vectors, dimension]`, as they were written."""
    columns: Columns
    rows_of: Callable[[Filter], RowSet]
    """The rows that satisfy a filter."""
    index: faiss.Index
    """Its memory is what `vectors` shows, where the vectors are in it."""
    approximate: Approximate | None
    """None where every search is exact."""
    placed: Placed | None
    """A flat index on a GPU."""

    def search(self, query: NDArray[np.float32], top_k: int, rows: RowSet) -> Found:
        """The nearest of the rows, best first; where the search is exact, all that tie with the last too.

        Never fewer than there are: when the approximate search meets too few of the rows, or would take
        longer to meet them than to compare each, the search is exact.

        Args:
            query: `[1, dimension]`, contiguous.
            top_k: 1 or more.
            rows: of which to find.
        """
        top_k = min(top_k, rows.count)
        if not top_k:
            return NOTHING
        if self.approximate is not None:
            effort = _effort(top_k, rows)
            if self._effort_s(effort) < self.exact_s(rows):
                found = self.approximate.search(query, top_k, rows, effort)
                if len(found[0]) == top_k:
                    return found
        elif self.placed is not None and self.placed.takes(top_k, rows):
            return self.placed.search(query, top_k, rows)
        return nearest(query, self.vectors, top_k, self.metric, rows)

    def look(self, query: NDArray[np.float32], top_k: int) -> Found:
        """The search of its type among all rows, without another in its place, to measure it."""
        every = RowSet.all(len(self.vectors))
        if self.approximate is not None:
            return self.approximate.search(query, top_k, every, 1.0)
        return nearest(query, self.vectors, top_k, self.metric, every)

    def search_s(self, top_k: int, rows: RowSet) -> float:
        """Predicted time of a search."""
        exact_s = self.exact_s(rows)
        if self.approximate is None or not rows.count:
            return exact_s
        return min(exact_s, self._effort_s(_effort(top_k, rows)))

    def exact_s(self, rows: RowSet) -> float:
        """Predicted time to compare a query with each of the rows."""
        row_s = int(self.vectors.shape[1]) * 4 * BYTE_S + (FETCH_S if rows.missing else 0.0)
        return rows.count * row_s

    def _effort_s(self, effort: float) -> float:
        return self.manifest.search_time_s * float(effort**_GROWTH)

    def warm(self) -> None:
        """Searches for some of its own vectors."""
        every = RowSet.all(len(self.vectors))
        for row in range(0, len(self.vectors), len(self.vectors) // _WARMING + 1):
            self.search(np.array(self.vectors[row : row + 1]), TUNED_AT, every)


def _effort(top_k: int, rows: RowSet) -> float:
    return max(1.0, top_k / TUNED_AT) * (1 + _SELECTIVE * rows.missing / rows.count)


def load(index: Index, directory: Path, manifest: Manifest, device: Device) -> Snapshot:
    """Reads a snapshot, every file's digest verified, and warms it. Blocks.

    The index is read into memory and not mapped: a file that is cut short or changed later cannot hurt it,
    and no search waits for a disk. Only the vectors beside an INDEX_TYPE_IVF are mapped: they are there to
    compare the few best again, and are what its codes save the memory of.

    Raises:
        SnapshotCorrupt: a file is missing, or is not as the manifest says.
        OSError: a file cannot be read.
    """
    use_one_thread()
    try:
        verify(directory, manifest.files)
        snapshot = _read(index, directory, manifest, device)
    except DigestMismatch as error:
        raise SnapshotCorrupt(f"{manifest.snapshot_id}: {error}") from error
    except (KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        # The bytes are those that were written, so it was the writer that was wrong, or of another version.
        raise SnapshotCorrupt(f"{manifest.snapshot_id}: its files cannot be understood") from error
    snapshot.warm()
    return snapshot


def _read(index: Index, directory: Path, manifest: Manifest, device: Device) -> Snapshot:
    with np.load(directory / IDS) as arrays:
        ids = Texts.from_arrays(arrays)
    with np.load(directory / ATTRIBUTES) as arrays:
        columns = Columns.from_arrays(arrays)
    engine = faiss.read_index(str(directory / INDEX))
    approximate: Approximate | None = None
    placed = None
    if manifest.type is IndexType.IVF:
        vectors = np.load(directory / VECTORS, mmap_mode="r")
        probes, refine = manifest.parameters["probes"], manifest.parameters["refine"]
        approximate = Lists(engine, device.place(engine), vectors, index.metric, probes, refine)
    else:
        if manifest.type is IndexType.HNSW:
            approximate = Graph(engine, manifest.parameters["ef_search"])
            vectors = held(faiss.downcast_index(engine.storage))
        else:
            vectors = held(engine)
            placed = device.place(engine)
    shape = (manifest.vector_count, index.dimension)
    if (vectors.shape, engine.ntotal, len(ids), columns.size) != (shape, *[manifest.vector_count] * 3):
        raise ValueError(f"{vectors.shape} vectors, {len(ids)} ids, {columns.size} rows of attributes")
    rows_of = lru_cache(_FILTERS)(lambda where: RowSet.of(columns.mask(where)))
    return Snapshot(manifest, index.metric, ids, vectors, columns, rows_of, engine, approximate, placed)


def held(flat: faiss.IndexFlat) -> NDArray[np.float32]:
    """The vectors in a flat index, not copied: they live as long as it does."""
    if not flat.ntotal:
        return np.empty((0, flat.d), np.float32)
    vectors: NDArray[np.float32] = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    vectors.flags.writeable = False
    return vectors.reshape(flat.ntotal, flat.d)
