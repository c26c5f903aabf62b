"""Files of a snapshot on disk: written to stay there, and checked before they are used."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trunkline_retrieval.manifest import FileDigest

_THREADS = 4
"""Files hashed at once; hashing leaves the interpreter to other threads."""


class DigestMismatch(Exception):
    """A file is missing, or is not as it was written. Says which."""


class HashingWriter(io.RawIOBase):
    """Writes to a file and digests what it was given, so that the digest owes nothing to the disk."""

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self._file = file
        self._sha256 = hashlib.sha256()
        self._size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, chunk: bytes | memoryview, /) -> int:  # type: ignore[override]
        """Writes all of it."""
        rest = memoryview(chunk).cast("B")
        self._sha256.update(rest)
        self._size_bytes += len(rest)
        size = len(rest)
        while rest:
            rest = rest[self._file.write(rest) :]
        return size

    @property
    def digest(self) -> FileDigest:
        """Of everything written so far."""
        return FileDigest(self._sha256.hexdigest(), self._size_bytes)


def write(path: Path, content: Callable[[HashingWriter], object]) -> FileDigest:
    """Makes a file, durable when it returns but for its name in the directory.

    Raises:
        OSError: there is one, or it cannot be written.
    """
    with path.open("xb", buffering=0) as file:
        writer = HashingWriter(file)
        content(writer)
        os.fsync(file.fileno())
    return writer.digest


def verify(directory: Path, files: Mapping[str, FileDigest]) -> None:
    """Compares every file with its digest, several at once.

    Raises:
        DigestMismatch: one is missing or differs.
        OSError: one cannot be read.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda name: _digest(directory / name), files)
        for (name, expected), digest in zip(files.items(), found, strict=True):
            if digest is None:
                raise DigestMismatch(f"{name} is missing")
            if digest != expected:
                raise DigestMismatch(f"{name} is not the file that was written")


def _digest(path: Path) -> FileDigest | None:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return FileDigest(sha256, file.tell())
    except FileNotFoundError:
        return None
