"""Builds a snapshot: chooses how it is searched, writes its files, measures what lies on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from trunkline_retrieval.index import Index
from trunkline_retrieval.manifest import Manifest
from trunkline_retrieval.rows import Rows


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

    The manifest itself is for the caller to write, last: a directory without one is of a build that died.

    Args:
        rows: what `Collection.rows` returned.
        sequence: of the last change that is in the rows.
        progress: told the share done, 0 to 1, in this thread.
        cancelled: looked at between steps of a second or less.

    Raises:
        BuildFailed, BuildCancelled.
        OSError: the files cannot be written.
    """
