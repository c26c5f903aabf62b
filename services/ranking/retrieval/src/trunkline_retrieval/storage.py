"""Indexes in a directory that replicas may share: `{root}/{index}.json` declares one, `{root}/{index}.{uid}/` is its.

The declaration is what makes an index exist: created when nobody else did, removed to delete it. The rest follows.
What it leaves behind when a process dies in between is removed by the next start.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog

from trunkline_retrieval import files, lease
from trunkline_retrieval.index import Budget, Index, IndexType, Metric

_INDEX_ID = re.compile(r"[a-z][a-z0-9-]*")
_SUFFIX = ".json"
_ABANDONED_S = 3600.0
"""Age of a half-written declaration that nobody is writing any more."""

logger = structlog.get_logger("trunkline_retrieval")


@dataclass(slots=True)
class DirectoryStorage:
    """Which indexes there are, and where their files lie. Every method blocks."""

    root: Path
    _read: dict[str, tuple[tuple[int, int], Index | None]] = field(default_factory=dict)
    """Declarations read before, by inode and time."""

    @classmethod
    def open(cls, root: Path) -> DirectoryStorage:
        """The indexes in a directory, which is made when there is none. Removes what deleted ones left.

        Raises:
            OSError: it cannot be made or written to.
        """
        root.mkdir(parents=True, exist_ok=True)
        for draft in root.glob(".*.draft"):
            with contextlib.suppress(FileNotFoundError):  # written, or removed by another, just now
                if draft.stat().st_mtime < time.time() - _ABANDONED_S:
                    draft.unlink()
        storage = cls(root)
        # Listed before the declarations are read: an index is declared before its directory is made.
        directories = [path for path in root.iterdir() if path.is_dir() and "." in path.name]
        kept = {storage.directory(index) for index in storage.indexes().values()}
        for directory in directories:
            if directory not in kept and not lease.held(directory):
                files.remove_tree(directory)
        return storage

    def directory(self, index: Index) -> Path:
        """Where the files of an index lie, once it was opened."""
        return self.root / f"{index.id}.{index.uid}"

    def indexes(self) -> Mapping[str, Index]:
        """All indexes by id."""
        found = {}
        for path in self.root.glob(f"*{_SUFFIX}"):
            if (index := self.find(path.name.removesuffix(_SUFFIX))) is not None:
                found[index.id] = index
        return found

    def find(self, index_id: str) -> Index | None:
        """One index, None when there is none."""
        if not _INDEX_ID.fullmatch(index_id):
            return None
        path = self.root / f"{index_id}{_SUFFIX}"
        try:
            status = path.stat()
            identity = (status.st_ino, status.st_mtime_ns)
            known = self._read.get(index_id)
            if known is None or known[0] != identity:
                known = self._read[index_id] = (identity, _index(index_id, path.read_bytes()))
        except FileNotFoundError:
            self._read.pop(index_id, None)
            return None
        return known[1]

    def prepare(self, index: Index) -> Path:
        """Makes the directories of a declared index."""
        directory = self.directory(index)
        for each in (directory, directory / "log", directory / "snapshots", directory / "builds"):
            files.make_directory(each)
        return directory

    def create(self, index: Index) -> bool:
        """Declares an index. False when there is one of that id."""
        return files.create(self.root / f"{index.id}{_SUFFIX}", _document(index))

    def delete(self, index: Index) -> None:
        """Ends an index. Only for the holder of its lease, so that nobody writes what nobody will read."""
        (self.root / f"{index.id}{_SUFFIX}").unlink(missing_ok=True)
        files.sync_directory(self.root)

    def discard(self, index: Index) -> None:
        """Removes the files of an index that was deleted."""
        files.remove_tree(self.directory(index))


def _document(index: Index) -> bytes:
    document = {
        "uid": index.uid,
        "dimension": index.dimension,
        "metric": index.metric.name,
        "type": None if index.type is None else index.type.name,
        "budget": {
            "search_time_s": index.budget.search_time_s,
            "memory_bytes": index.budget.memory_bytes,
            "recall": index.budget.recall,
        },
        "create_time": index.create_time.isoformat(),
        "description": index.description,
        "labels": dict(index.labels),
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _index(index_id: str, content: bytes) -> Index | None:
    """The index that a document declares; None, and a line in the log, for one that cannot be read."""
    try:
        document = json.loads(content)
        budget = document["budget"]
        return Index(
            id=index_id,
            uid=str(document["uid"]),
            dimension=int(document["dimension"]),
            metric=Metric[document["metric"]],
            type=None if document["type"] is None else IndexType[document["type"]],
            budget=Budget(
                float(budget["search_time_s"]), int(budget["memory_bytes"]), float(budget["recall"])
            ),
            create_time=datetime.fromisoformat(document["create_time"]),
            description=str(document["description"]),
            labels={str(key): str(value) for key, value in document["labels"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        logger.exception("declaration of an index cannot be read", index=index_id)
        return None
