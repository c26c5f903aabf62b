"""Blobs in a directory: `{root}/{first two digits}/{sha256}`, and `{root}/incoming/` for what is on its way.

A blob is written to `incoming/`, flushed to disk and renamed into place, so that a path by digest is a
complete file even after kill -9 or power loss. Several processes may share the directory: a writer holds a
lock on its file, which the kernel releases when the process is gone, so a start removes only what is
nobody's.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import io
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, TypeVar

from trunkline_hop.errors import Overloaded, Unavailable
from trunkline_hop.telemetry import span
from trunkline_registry.artifacts import BlobUnknown

CHUNK_BYTES = 2**20
_RETRY_AFTER = timedelta(seconds=1)

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class DirectoryBlobs:
    """Complete files by digest, in a local or a shared directory."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> DirectoryBlobs:
        """The blobs in a directory, which is made when there is none. Removes what dead writers left.

        Raises:
            OSError: it cannot be made or written to.
        """
        (root / "incoming").mkdir(parents=True, exist_ok=True)
        for path in (root / "incoming").iterdir():
            _remove_abandoned(path)
        return cls(root)

    def path(self, sha256: str) -> Path:
        """Where the blob is, if it is."""
        return self.root / sha256[:2] / sha256

    async def size(self, sha256: str) -> int | None:
        """Its size in bytes, None when there is none."""

        def size() -> int | None:
            try:
                return self.path(sha256).stat().st_size
            except FileNotFoundError:
                return None

        with _faults():
            return await _thread(size)

    @asynccontextmanager
    async def writer(self, sha256: str) -> AsyncIterator[DirectoryWriter]:
        """A new blob; leaving the block without a commit leaves nothing behind."""
        with _faults():
            writer = await _thread(
                DirectoryWriter.start,
                self.root / "incoming",
                self.path(sha256),
                undo=DirectoryWriter.close,
            )
        try:
            yield writer
        finally:
            with _faults():
                await _thread(writer.close)

    async def read(self, sha256: str, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes from an offset on, in chunks of 1 MiB. Raises BlobUnknown."""
        with _faults():
            file = await _thread(self._open, sha256, undo=_close)
            try:
                await _thread(file.seek, offset)
                while chunk := await _thread(file.read, CHUNK_BYTES):
                    yield chunk
            finally:
                file.close()

    async def inspect(self, sha256: str, look: Callable[[BinaryIO], ResultT]) -> ResultT:
        """What `look` sees in the file, which it may seek in. Runs in a thread. Raises BlobUnknown."""

        def open_and_look() -> ResultT:
            with self._open(sha256) as file:
                return look(file)

        with span("blobs.inspect"), _faults():
            return await _thread(open_and_look)

    def _open(self, sha256: str) -> BinaryIO:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise BlobUnknown(sha256) from None


@dataclass(slots=True)
class DirectoryWriter:
    """A blob on its way in, which nobody sees yet."""

    file: io.FileIO
    incoming: Path
    target: Path

    @classmethod
    def start(cls, directory: Path, target: Path) -> DirectoryWriter:
        """Makes the file and locks it, so that no other process takes it for abandoned. Blocks."""
        while True:
            path = directory / uuid.uuid4().hex
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                return cls(file, path, target)
            file.close()  # another process started just now and saw it before it was locked

    async def write(self, chunk: bytes) -> None:
        """Adds to the end of the file."""
        with _faults():
            await _thread(self._write, chunk)

    async def commit(self) -> bool:
        """Makes it visible and durable. False when an equal one was there first."""
        with span("blobs.commit"), _faults():
            return await _thread(self._commit)

    def close(self) -> None:
        """Removes the file unless it was committed. Blocks."""
        self.file.close()
        self.incoming.unlink(missing_ok=True)

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[self.file.write(rest) :]

    def _commit(self) -> bool:
        os.fchmod(self.file.fileno(), 0o444)
        os.fsync(self.file.fileno())
        try:
            self.target.parent.mkdir()
            _sync_directory(self.target.parent.parent)
        except FileExistsError:
            pass  # another blob with these digits came first
        try:
            os.link(self.incoming, self.target)
            created = True
        except FileExistsError:
            created = False  # the same content, uploaded at the same time
        _sync_directory(self.target.parent)
        return created


def _remove_abandoned(path: Path) -> None:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    except (BlockingIOError, FileNotFoundError):
        return  # its writer lives, or was done just now


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _thread(
    function: Callable[..., ResultT], *arguments: object, undo: Callable[[ResultT], object] | None = None
) -> ResultT:
    """Runs a blocking function in a thread and, cancelled, still waits for its end.

    What follows a cancelled step closes the file, and a thread that still writes to a closed descriptor
    would write into whatever got its number next. `undo` gets a result that nobody will.
    """
    step = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not step.done():
        try:
            await asyncio.wait({step})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return step.result()
    if step.exception() is None and undo is not None:
        undo(step.result())
    raise cancelled


def _close(file: BinaryIO) -> None:
    # Not `BinaryIO.close` itself: that is typing's, and does nothing.
    file.close()


@contextmanager
def _faults() -> Iterator[None]:
    """Turns what the file system says into the catalogue's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Overloaded("QUOTA", "There is no space left for artifacts.") from error
        raise Unavailable(
            "STORE_UNREACHABLE", "The artifacts cannot be reached.", retry_after=_RETRY_AFTER
        ) from error
