"""Builds a snapshot: chooses how it is searched, writes its files, measures what lies on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trunkline_retrieval.assemble import in_order, write_index, write_rows
from trunkline_retrieval.device import Device, use_one_thread
from trunkline_retrieval.files import sync_directory
from trunkline_retrieval.index import Index, IndexType
from trunkline_retrieval.manifest import Manifest
from trunkline_retrieval.measure import Measured, measure
from trunkline_retrieval.plan import REFINE, plan
from trunkline_retrieval.rows import Rows
from trunkline_retrieval.snapshot import VECTORS, load

_CPU: Final = Device("cpu")
"""Budgets are of a core: that is what is measured, whatever the snapshot is searched on later."""

_UNTUNED: Final[Mapping[IndexType, Mapping[str, int]]] = {
    IndexType.FLAT: {},
    IndexType.HNSW: {"ef_search": 1},
    IndexType.IVF: {"probes": 1, "refine": REFINE},
}


class BuildFailed(Exception):
    """The budget of the index cannot be met. Says by how much, and what to change."""


class BuildCancelled(Exception):
    """It was told to stop. What it wrote so far is without a manifest."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def build(
    index: Index,
    rows: Rows,
    sequence: int,
    snapshot_id: str,
    directory: Path,
    progress: Callable[[float], None],
    cancelled: threading.Event,
    *,
    now: Callable[[], datetime] = _utc_now,
) -> Manifest:
    """Writes the files of a snapshot into an empty directory, durably, and returns what they are. Blocks.

    Without any vectors it is FLAT. The manifest itself is for the caller to write, last: a directory without
    one is of a build that died.

    Args:
        index: whose budget it must meet.
        rows: what `Collection.rows` returned.
        sequence: of the last change that is in the rows.
        snapshot_id: for the manifest.
        directory: exists.
        progress: told the share done, 0 to 1 and never less than before, in this thread.
        cancelled: looked at every second or so, but not while an INDEX_TYPE_IVF is trained.
        now: the time, UTC.

    Raises:
        BuildFailed, BuildCancelled.
        OSError: the files cannot be written.
    """
    reported = 0.0

    def step(share: float) -> None:
        nonlocal reported
        if cancelled.is_set():
            raise BuildCancelled(snapshot_id)
        reported = max(reported, share)
        progress(reported)

    use_one_thread()
    create_time = now()
    numbers, ids = in_order(rows, lambda share: step(0.05 * share))
    beside = write_rows(rows, numbers, ids, directory)
    plans = plan(index, len(rows), sum(file.size_bytes for file in beside.values()))
    missed: list[Manifest] = []
    for type_ in plans.types:
        files = beside | write_index(
            index, type_, rows, numbers, directory, lambda share: step(0.05 + 0.85 * share)
        )
        sync_directory(directory)
        draft = Manifest(
            snapshot_id=snapshot_id,
            index_uid=index.uid,
            sequence=sequence,
            vector_count=len(rows),
            type=type_,
            parameters=_UNTUNED[type_],
            recall=1.0,
            search_time_s=0.0,
            memory_bytes=sum(file.size_bytes for name, file in files.items() if name != VECTORS),
            files=files,
            create_time=create_time,
            end_time=create_time,
        )
        # What readers will read, and not what is still in memory here.
        loaded = load(index, directory, draft, _CPU)
        measured = measure(loaded, index.budget.recall, lambda share: step(0.9 + 0.09 * share))
        manifest = _finished(draft, measured, now())
        if _within(index, manifest):
            step(1.0)
            return manifest
        missed.append(manifest)
        for name in files.keys() - beside.keys():
            (directory / name).unlink()
    raise BuildFailed(_remedy(index, plans.memory_bytes, missed))


def _finished(draft: Manifest, measured: Measured, end_time: datetime) -> Manifest:
    approximate = measured.snapshot.approximate
    return replace(
        draft,
        parameters=approximate.parameters if approximate else {},
        recall=measured.recall,
        search_time_s=measured.search_time_s,
        end_time=end_time,
    )


def _within(index: Index, manifest: Manifest) -> bool:
    return manifest.recall >= index.budget.recall and manifest.search_time_s <= index.budget.search_time_s


def _remedy(index: Index, memory_bytes: Mapping[IndexType, int], missed: Sequence[Manifest]) -> str:
    """What was tried, and what to change, as whoever owns the index reads it."""
    budget, tried = index.budget, [index.type] if index.type else list(IndexType)
    found = [
        f"{each.type.name} finds {each.recall:.3f} of the nearest in {1e3 * each.search_time_s:.2f} ms"
        for each in missed
    ] + [
        f"{type_.name} needs {memory_bytes[type_]:,} bytes"
        for type_ in tried
        if memory_bytes[type_] > budget.memory_bytes
    ]
    changes = {
        "raise memory_bytes": len(missed) < len(tried),
        "raise search_time": any(each.search_time_s > budget.search_time_s for each in missed),
        "lower recall": any(each.recall < budget.recall for each in missed),
    }
    allowed = f"{budget.recall:.3f} in {1e3 * budget.search_time_s:.2f} ms and {budget.memory_bytes:,} bytes"
    wanted = " or ".join(change for change, helps in changes.items() if helps)
    return f"{'; '.join(found)}; the budget is {allowed}. Create an index with another budget: {wanted}."
