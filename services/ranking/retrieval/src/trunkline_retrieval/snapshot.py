"""A snapshot in memory, ready to be searched."""

from __future__ import annotations

from pathlib import Path

from trunkline_retrieval.device import Device
from trunkline_retrieval.index import Index
from trunkline_retrieval.manifest import Manifest


class SnapshotCorrupt(Exception):
    """The files of a snapshot are not those that were written. Says which."""


class Snapshot:
    """The vectors of an index at one moment, immutable. Searched on any thread."""

    manifest: Manifest


def load(index: Index, directory: Path, manifest: Manifest, device: Device) -> Snapshot:
    """Reads a snapshot, every file's digest verified, and warms it. Blocks.

    Raises:
        SnapshotCorrupt: a file is missing, or is not as the manifest says.
        OSError: a file cannot be read.
    """
