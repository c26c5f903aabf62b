"""The files of a snapshot, from rows: ids, attributes, and a FAISS index of a type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.digests import HashingWriter, write
from trunkline_retrieval.exact import faiss_metric
from trunkline_retrieval.index import Index, IndexType
from trunkline_retrieval.manifest import FileDigest
from trunkline_retrieval.plan import EF_CONSTRUCTION, M, lists
from trunkline_retrieval.rows import Rows
from trunkline_retrieval.snapshot import ATTRIBUTES, IDS, INDEX, VECTORS
from trunkline_retrieval.texts import Texts, order

_ADDED: Final = 4096
"""Vectors added between two steps: about a second of a graph."""
_READ: Final = 65_536
"""Ids or vectors copied between two steps."""
_TRAINING: Final = 64
"""Vectors a list that k-means sees: more take longer and hardly move the centroids."""
_ROUNDS: Final = 10
"""Iterations of k-means, as FAISS does for inverted lists."""
_SEED: Final = 20

Step = Callable[[float], None]
"""Told the share done; raises to stop."""


def in_order(rows: Rows, step: Step) -> tuple[NDArray[np.int64], list[str]]:
    """The numbers and ids of rows in the order they get in a snapshot.

    By the hash of the id: the same whoever wrote what when, so that equal vectors make equal files; found by
    bisection; and shuffled, since a graph that meets its vectors cluster by cluster links them badly.
    """
    numbers, ids = rows.numbers(), list[str]()
    for start in range(0, len(numbers), _READ):
        ids += rows.ids(numbers[start : start + _READ])
        step(start / len(numbers))
    by_hash = order(ids)
    return numbers[by_hash], [ids[row] for row in by_hash.tolist()]


def write_rows(
    rows: Rows, numbers: NDArray[np.int64], ids: list[str], directory: Path
) -> dict[str, FileDigest]:
    """Writes what every type has beside its index."""
    texts = Texts.in_order(ids).to_arrays()
    columns = rows.columns(numbers).to_arrays()
    return {
        IDS: write(directory / IDS, lambda file: np.savez(file, allow_pickle=False, **texts)),
        ATTRIBUTES: write(directory / ATTRIBUTES, lambda file: np.savez(file, allow_pickle=False, **columns)),
    }


def write_index(
    index: Index, type_: IndexType, rows: Rows, numbers: NDArray[np.int64], directory: Path, step: Step
) -> dict[str, FileDigest]:
    """Builds and writes the index, and the vectors where it does not hold them as they are."""

    def chunks(size: int) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(numbers), size):
            step(start / len(numbers))
            yield rows.vectors(numbers[start : start + size])

    def write_vectors(file: HashingWriter) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(numbers), index.dimension)}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks(_READ):
            file.write(chunk.data)

    metric = faiss_metric(index.metric)
    built: faiss.Index
    match type_:
        case IndexType.FLAT:
            built = faiss.IndexFlat(index.dimension, metric)
        case IndexType.HNSW:
            built = faiss.IndexHNSWFlat(index.dimension, M, metric)
            built.hnsw.efConstruction = EF_CONSTRUCTION
        case IndexType.IVF:
            built = _trained(index, rows, numbers)
    for chunk in chunks(_ADDED):
        built.add(chunk)
    written = {INDEX: write(directory / INDEX, lambda file: _write_faiss(built, file))}
    if type_ is IndexType.IVF:
        written[VECTORS] = write(directory / VECTORS, write_vectors)
    return written


def _trained(index: Index, rows: Rows, numbers: NDArray[np.int64]) -> faiss.IndexIVFScalarQuantizer:
    count, metric = lists(len(numbers)), faiss_metric(index.metric)
    built = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlat(index.dimension, metric),
        index.dimension,
        count,
        faiss.ScalarQuantizer.QT_8bit,
        metric,
    )
    built.cp.niter = _ROUNDS
    built.cp.min_points_per_centroid = 1
    built.cp.max_points_per_centroid = _TRAINING
    random = np.random.default_rng(_SEED)
    sample = random.choice(len(numbers), min(_TRAINING * count, len(numbers)), replace=False)
    built.train(rows.vectors(numbers[np.sort(sample)]))
    return built


def _write_faiss(built: faiss.Index, file: HashingWriter) -> None:
    # Through a file of Python's, and not by name: then a full disk is an OSError with its number.
    faiss.write_index(built, faiss.PyCallbackIOWriter(file.write))
