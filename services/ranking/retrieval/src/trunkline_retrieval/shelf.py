"""The snapshots of one index on disk, and the builds that make them.

`snapshots/{id}/` holds a snapshot's files and, written last, its `manifest.json`: one without is not there.
`CURRENT` names the one in use. `builds/{id}.json` is what is known of a build; its builder keeps it locked (flock), so
that everybody sees when it died.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from pathlib import Path

from trunkline_retrieval import files
from trunkline_retrieval.manifest import Manifest, ManifestError

_MANIFEST = "manifest.json"
_CURRENT = "CURRENT"
_PROGRESS = "{:08.6f}\n"
_FAILED_KEPT = 10
_DIED = "The process that built it ended before it did. Build another."


class State(IntEnum):
    """Where a snapshot is in its life. The numbers are those of trunkline.retrieval.v1.SnapshotState."""

    BUILDING = 1
    READY = 2
    ACTIVE = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Build:
    """A snapshot as it is made, or was."""

    snapshot_id: str
    sequence: int
    vector_count: int
    create_time: datetime
    hold: bool = False
    request_id: str = ""
    state: State = State.BUILDING
    progress: float = 0.0
    error: str = ""
    end_time: datetime | None = None
    manifest: Manifest | None = None
    """Of a build that ended well."""


@dataclass(slots=True)
class Shelf:
    """Snapshots and builds of one index. Every method blocks.

    What changes something is for the holder of the index's lease.
    """

    directory: Path
    index_uid: str
    _manifests: dict[str, Manifest] = field(default_factory=dict)

    def path(self, snapshot_id: str) -> Path:
        """Where a snapshot's files lie."""
        return self.directory / "snapshots" / snapshot_id

    def current(self) -> str | None:
        """The id of the snapshot in use, None before the first."""
        content = files.read(self.directory / _CURRENT)
        return None if content is None else content.decode().strip()

    def set_current(self, snapshot_id: str) -> None:
        """Says which snapshot is in use."""
        files.replace(self.directory / _CURRENT, f"{snapshot_id}\n".encode())

    def manifest(self, snapshot_id: str) -> Manifest | None:
        """The manifest of a snapshot; None when there is none, or none of this index that can be read."""
        content = files.read(self.path(snapshot_id) / _MANIFEST)
        if content is None:
            self._manifests.pop(snapshot_id, None)
            return None
        known = self._manifests.get(snapshot_id)
        if known is None:
            try:
                known = Manifest.from_json(content)
            except ManifestError:
                return None
            if known.index_uid != self.index_uid or known.snapshot_id != snapshot_id:
                return None
            self._manifests[snapshot_id] = known
        return known

    def manifests(self) -> list[Manifest]:
        """Of all snapshots that are complete, newest first."""
        try:
            names = [path.name for path in (self.directory / "snapshots").iterdir()]
        except FileNotFoundError:
            return []
        found = [manifest for name in names if (manifest := self.manifest(name)) is not None]
        return sorted(found, key=lambda each: (each.sequence, each.create_time), reverse=True)

    def builds(self) -> Mapping[str, Build]:
        """All snapshots that are kept, being built, or failed, by id."""
        try:
            names = [path.name for path in (self.directory / "builds").iterdir()]
        except FileNotFoundError:
            return {}
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json") and name[0] != ".")
        found = (self.build(stem) for stem in stems)
        return {build.snapshot_id: build for build in found if build is not None}

    def build(self, snapshot_id: str) -> Build | None:
        """One of them. READY stands for ACTIVE as well: which one is in use is `current`."""
        try:
            descriptor = os.open(self._build_path(snapshot_id), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            alive = _is_locked(descriptor)
        finally:
            os.close(descriptor)
        try:
            build = _build(content)
        except (ValueError, KeyError, TypeError):
            return None
        if build.state is State.FAILED:
            return build
        # Looked for after the lock: a builder that let go of it has written its manifest before.
        manifest = self.manifest(snapshot_id)
        if manifest is not None:
            return replace(
                build, state=State.READY, progress=1.0, end_time=manifest.end_time, manifest=manifest
            )
        return build if alive else replace(build, state=State.FAILED, error=_DIED)

    def begin(self, build: Build) -> BuildFile:
        """Notes a build that begins, and makes the empty directory for its files."""
        self.path(build.snapshot_id).mkdir()
        return BuildFile.create(self._build_path(build.snapshot_id), build)

    def commit(self, manifest: Manifest) -> None:
        """Makes a snapshot whose files are durable one that is there."""
        files.replace(self.path(manifest.snapshot_id) / _MANIFEST, manifest.to_json().encode())
        files.sync_directory(self.directory / "snapshots")

    def discard(self, snapshot_id: str) -> None:
        """Removes a snapshot's files, what makes it one first."""
        (self.path(snapshot_id) / _MANIFEST).unlink(missing_ok=True)
        files.remove_tree(self.path(snapshot_id))
        self._manifests.pop(snapshot_id, None)

    def prune(self, keep: int) -> int:
        """Removes snapshots older than the `keep` newest, except the one in use.

        Returns:
            The sequence up to which no kept snapshot needs the log. It is 0 until there are `keep` snapshots: as long
            as there are few, the log from the start is what is left should they turn out damaged.
        """
        current = self.current()
        found = self.manifests()
        kept = found[:keep] + [each for each in found[keep:] if each.snapshot_id == current]
        for manifest in found[keep:]:
            if manifest.snapshot_id != current:
                self.discard(manifest.snapshot_id)
                self._build_path(manifest.snapshot_id).unlink(missing_ok=True)
        failed = [each for each in self.builds().values() if each.state is State.FAILED]
        for build in sorted(failed, key=lambda each: each.create_time, reverse=True)[_FAILED_KEPT:]:
            self._build_path(build.snapshot_id).unlink(missing_ok=True)
        return min(each.sequence for each in kept) if len(kept) >= keep else 0

    def sweep(self) -> None:
        """Removes the files of builds that died. For a new holder of the lease, which has no build yet."""
        files.remove_drafts(self.directory / "builds")
        for path in (self.directory / "snapshots").iterdir():
            build = self.build(path.name)
            # A manifest that cannot be read may be one of a newer version.
            if not (path / _MANIFEST).exists() and (build is None or build.state is State.FAILED):
                self.discard(path.name)

    def _build_path(self, snapshot_id: str) -> Path:
        return self.directory / "builds" / f"{snapshot_id}.json"


@dataclass(slots=True)
class BuildFile:
    """What is known of a build, kept by its builder. Blocks."""

    path: Path
    descriptor: int
    build: Build

    @classmethod
    def create(cls, path: Path, build: Build) -> BuildFile:
        """Makes the file, locked before anybody sees it."""
        draft = path.with_name(f".{uuid.uuid4().hex}.draft")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.write_all(descriptor, _content(build), 0)
            os.fsync(descriptor)
            draft.rename(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        files.sync_directory(path.parent)
        return cls(path, descriptor, build)

    def progress(self, share: float) -> None:
        """Notes the share of the build that is done."""
        files.write_all(self.descriptor, _PROGRESS.format(min(1.0, max(0.0, share))).encode(), 0)

    def fail(self, error: str, end_time: datetime) -> None:
        """Notes that there will be no snapshot, and why."""
        failed = replace(self.build, state=State.FAILED, error=error, end_time=end_time)
        files.replace(self.path, _content(failed))

    def close(self) -> None:
        """Lets go of the lock: from now on there is a manifest, or there was an error."""
        os.close(self.descriptor)


def _content(build: Build) -> bytes:
    document = {
        "snapshot_id": build.snapshot_id,
        "sequence": build.sequence,
        "vector_count": build.vector_count,
        "create_time": build.create_time.isoformat(),
        "hold": build.hold,
        "request_id": build.request_id,
        "error": build.error,
        "end_time": None if build.end_time is None else build.end_time.isoformat(),
    }
    return _PROGRESS.format(build.progress).encode() + json.dumps(document).encode() + b"\n"


def _build(content: bytes) -> Build:
    progress, _, document = content.partition(b"\n")
    read = json.loads(document)
    end_time = read["end_time"]
    return Build(
        snapshot_id=str(read["snapshot_id"]),
        sequence=int(read["sequence"]),
        vector_count=int(read["vector_count"]),
        create_time=datetime.fromisoformat(read["create_time"]),
        hold=bool(read["hold"]),
        request_id=str(read["request_id"]),
        state=State.FAILED if read["error"] else State.BUILDING,
        progress=float(progress),
        error=str(read["error"]),
        end_time=None if end_time is None else datetime.fromisoformat(end_time),
    )


def _is_locked(descriptor: int) -> bool:
    """True while a living process builds: nobody but a builder locks such a file for itself alone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
