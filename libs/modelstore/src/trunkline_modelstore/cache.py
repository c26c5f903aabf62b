"""Files by their SHA-256 on this machine's disk."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from io import BufferedRandom
from pathlib import Path
from uuid import uuid4

import structlog

from trunkline_hop.errors import NotAllowed
from trunkline_modelstore import threads
from trunkline_modelstore.flight import SingleFlight
from trunkline_modelstore.version import File, LocalVersion, Version

Download = Callable[[str, int], AsyncGenerator[bytes, None]]
"""Opens a file by its SHA-256 from an offset in bytes on."""

log = structlog.get_logger("trunkline.modelstore")


class Damaged(NotAllowed):
    """What arrived is not what the digest says. Another try may bring the right bytes."""

    def __init__(self, file: File, what: str) -> None:
        super().__init__(
            "CHECKSUM_MISMATCH",
            f"{file.path} arrived {what}",
            subject=file.sha256,
            metadata={"sha256": file.sha256, "path": file.path},
        )


@dataclass(slots=True)
class Cache:
    """A content-addressed directory, which several processes may share.

        blobs/SHA256                 whole files; they appear by a rename and never change
        partial/SHA256[.OWN]         downloads under way, or broken off and waiting to be resumed
        versions/DIGEST/PATH         each version's files under their own names: links to blobs

    A crash at any moment leaves at worst a partial file, which the next download of it continues.
    """

    root: Path
    executor: Executor
    context: Context
    _flights: SingleFlight[str, Path] = field(init=False)

    def __post_init__(self) -> None:
        self._flights = SingleFlight(self.context)
        for directory in ("blobs", "partial", "versions"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)

    async def version(self, version: Version, download: Download) -> LocalVersion:
        """A version, whose manifest is checked, with all its files here and verified just now.

        Raises:
            Damaged: what was downloaded is not what it should be.
            Fault: the download failed.
        """
        blobs = {file.path: await self.fetch(file, download) for file in version.files}
        directory = self.root / "versions" / version.digest
        await threads.run(self.executor, lambda: _link(directory, blobs))
        files = {path: directory / path for path in blobs}
        return LocalVersion(version.name, version.digest, directory, files, version.size_bytes)

    async def fetch(self, file: File, download: Download) -> Path:
        """The path of a file whose content has been verified just now, downloaded if need be."""
        return await self._flights.run(file.sha256, lambda: self._fetch(file, download))

    async def _fetch(self, file: File, download: Download) -> Path:
        blob = self.root / "blobs" / file.sha256
        found = await threads.run(self.executor, lambda: _digest(blob))
        if found == file.sha256:
            return blob
        if found is not None:
            log.error("cached file is damaged, fetching it again", sha256=file.sha256, found=found)
            blob.unlink(missing_ok=True)
        async with self._partial(file.sha256) as partial:
            resumed = partial.size_bytes > 0
            try:
                await self._receive(partial, file, download)
            except Damaged:
                if not resumed:
                    raise
                # The part that was here may have been the bad one: once more, from the start.
                await self._receive(partial, file, download)
            await threads.run(self.executor, lambda: partial.publish(blob))
        return blob

    async def _receive(self, partial: _Partial, file: File, download: Download) -> None:
        """Brings a partial file to its end and verifies it. Bad content is thrown away."""
        while partial.size_bytes < file.size_bytes:
            before = partial.size_bytes
            async with contextlib.aclosing(download(file.sha256, before)) as chunks:
                async for chunk in chunks:
                    await threads.run(self.executor, functools.partial(partial.write, chunk))
                    if partial.size_bytes > file.size_bytes:
                        break  # no more of this: it would fill the disk
            if partial.size_bytes == before:
                raise Damaged(file, f"truncated to {before} of {file.size_bytes} bytes")
        if partial.size_bytes > file.size_bytes:
            partial.reset()
            raise Damaged(file, f"with more than its {file.size_bytes} bytes")
        if partial.digest() != file.sha256:
            partial.reset()
            raise Damaged(file, "with other content than its digest says")

    @asynccontextmanager
    async def _partial(self, sha256: str) -> AsyncIterator[_Partial]:
        path = self.root / "partial" / sha256
        partial = await threads.run(self.executor, lambda: _Partial.open(path), _Partial.close)
        try:
            yield partial
        finally:
            partial.close()

    def sweep(self, wanted: Collection[str], budget_bytes: int) -> int:
        """Deletes what `wanted` (SHA-256) does not name, least recently used first, down to the budget.

        Returns the bytes deleted. What other processes still use, they fetch again.
        """
        entries: list[tuple[float, int, Path]] = []
        for directory in ("blobs", "partial"):
            for path in (self.root / directory).iterdir():
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    stat = path.stat()
                    entries.append((stat.st_mtime, stat.st_size, path))
        excess = sum(size for _, size, _ in entries) - budget_bytes
        deleted = 0
        for _, size, path in sorted(entries):
            if deleted < excess and path.name not in wanted:
                path.unlink(missing_ok=True)
                deleted += size
        return deleted


class _Partial:
    """A file on its way here: every byte that is written is hashed."""

    def __init__(self, path: Path, stream: BufferedRandom, *, resumable: bool) -> None:
        self._path = path
        self._stream = stream
        self._resumable = resumable
        stream.seek(0)
        self._hash = hashlib.file_digest(stream, "sha256")
        self.size_bytes = stream.seek(0, os.SEEK_END)

    @classmethod
    def open(cls, path: Path) -> _Partial:
        """The partial file at `path`; one of this process's own while another process works on that."""
        while True:
            stream = path.open("a+b")
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                    return cls(path, stream, resumable=True)
                stream.close()  # another process published it between open and lock
            except FileNotFoundError:
                stream.close()  # the same
            except BlockingIOError:
                stream.close()
                own = path.with_name(f"{path.name}.{uuid4().hex}")
                return cls(own, own.open("a+b"), resumable=False)

    def write(self, chunk: bytes) -> None:
        """Appends bytes."""
        self._stream.write(chunk)
        self._hash.update(chunk)
        self.size_bytes += len(chunk)

    def digest(self) -> str:
        """SHA-256 of what is here."""
        return self._hash.hexdigest()

    def reset(self) -> None:
        """Throws away what is here."""
        self._stream.truncate(0)
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def publish(self, target: Path) -> None:
        """Makes it durable under its final name, whole or not at all."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._path.replace(target)
        _sync_directory(target.parent)

    def close(self) -> None:
        """Lets it go; what is worth resuming stays."""
        if not self._resumable or not self.size_bytes:
            self._path.unlink(missing_ok=True)  # while it is still locked
        self._stream.close()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str | None:
    """SHA-256 of a file, which counts as used now; None when there is none."""
    try:
        with path.open("rb") as stream:
            os.utime(stream.fileno())
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _link(directory: Path, blobs: dict[str, Path]) -> None:
    """Gives blobs their own names. Doing it twice, or in two processes at once, comes to the same."""
    for path, blob in blobs.items():
        link = directory / path
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(blob, link.parent)
        if link.is_symlink() and str(link.readlink()) == target:
            continue
        temporary = link.with_name(f".{link.name}.{uuid4().hex}")
        temporary.symlink_to(target)
        temporary.replace(link)
