"""Artifacts: files by the SHA-256 of their content, whole or not there."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeVar

from trunkline_hop.errors import BadRequest, NotAllowed, NotFound, Overloaded
from trunkline_registry.formats import SUFFIXES, Format, check_file, is_model_file
from trunkline_registry.pickles import Refused

SeenT = TypeVar("SeenT")


class BlobUnknown(LookupError):
    """No complete blob has this digest."""


class BlobWriter(Protocol):
    """A blob on its way in, which nobody sees yet."""

    async def write(self, chunk: bytes) -> None: ...

    async def commit(self) -> bool:
        """Makes it visible and durable. False when an equal one was there first."""
        ...


class Blobs(Protocol):
    """Complete files by digest. All may raise Unavailable (STORE_UNREACHABLE) or Overloaded (QUOTA)."""

    async def size(self, sha256: str) -> int | None:
        """Its size in bytes, None when there is none."""
        ...

    def writer(self, sha256: str) -> AbstractAsyncContextManager[BlobWriter]:
        """A new blob; leaving the block without a commit leaves nothing behind."""
        ...

    def read(self, sha256: str, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes from an offset on, in chunks of 1 MiB. Raises BlobUnknown."""
        ...

    async def inspect(self, sha256: str, look: Callable[[BinaryIO], SeenT]) -> SeenT:
        """What `look` sees in the file, which it may seek in. Runs outside the event loop. Raises BlobUnknown."""
        ...


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored file."""

    sha256: str
    size_bytes: int
    created: bool
    """False when it was stored already."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What can be done with files."""

    blobs: Blobs
    limit_bytes: int
    """Largest file that is taken."""

    async def upload(self, sha256: str, size: int, chunks: AsyncIterator[bytes]) -> Artifact:
        """Stores a file. One that is stored already is read and verified like any other, and not written.

        Raises:
            Overloaded: TOO_LARGE.
            BadRequest: there were fewer or more bytes than announced.
            NotAllowed: CHECKSUM_MISMATCH.
        """
        if size > self.limit_bytes:
            raise Overloaded("TOO_LARGE", f"A file has at most {self.limit_bytes} bytes.")
        verified = _verified(sha256, size, chunks)
        if await self.blobs.size(sha256) is not None:
            async for _ in verified:
                pass
            return Artifact(sha256, size, created=False)
        async with self.blobs.writer(sha256) as blob:
            async for chunk in verified:
                await blob.write(chunk)
            return Artifact(sha256, size, created=await blob.commit())

    async def download(self, sha256: str, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a file from an offset on. From its end on there are none.

        Raises:
            NotFound: ARTIFACT_UNKNOWN.
            BadRequest: the offset is behind the end.
        """
        size = await self.blobs.size(sha256)
        if size is None:
            raise unknown_artifact(sha256)
        if offset > size:
            raise BadRequest.field("offset_bytes", f"must be at most {size}, the size of the file")
        try:
            async with aclosing(self.blobs.read(sha256, offset)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except BlobUnknown:
            raise unknown_artifact(sha256) from None

    async def check_files(self, kind: Format, digests: Mapping[str, str]) -> dict[str, int]:
        """Size by path, when every file is stored and may be part of a version of this format.

        Args:
            kind: what the files are said to be.
            digests: SHA-256 by path.

        Raises:
            NotFound: ARTIFACT_UNKNOWN.
            NotAllowed: MODEL_REFUSED.
        """
        sizes, missing = {}, set(SUFFIXES[kind])
        for path, sha256 in digests.items():
            try:
                size, needed = await self.blobs.inspect(sha256, _look(kind, path))
            except BlobUnknown:
                raise unknown_artifact(sha256, path) from None
            except Refused as refused:
                raise _refused(path, f"{path} {refused}.", sha256) from None
            sizes[path] = size
            if needed:
                missing -= {suffix for suffix in missing if path.endswith(suffix)}
        if missing:
            raise _refused(kind.name, f"{kind.name} needs a valid file *{' and *'.join(sorted(missing))}.")
        return sizes


def _look(kind: Format, path: str) -> Callable[[BinaryIO], tuple[int, bool]]:
    def look(file: BinaryIO) -> tuple[int, bool]:
        check_file(path, file)
        return file.seek(0, os.SEEK_END), is_model_file(kind, path, file)

    return look


async def _verified(sha256: str, size: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks as they come; raises in the end, when they were not what was announced."""
    digest, count = hashlib.sha256(), 0
    async for chunk in chunks:
        count += len(chunk)
        if count > size:
            raise BadRequest.field("header.size_bytes", f"was {size}, but more bytes came")
        await asyncio.to_thread(digest.update, chunk)
        yield chunk
    if count < size:
        raise BadRequest.field("header.size_bytes", f"was {size}, but only {count} bytes came")
    if digest.hexdigest() != sha256:
        raise NotAllowed(
            "CHECKSUM_MISMATCH",
            "The bytes that came have another SHA-256 than was announced.",
            subject=f"artifact {sha256}",
            metadata={"announced": sha256, "received": digest.hexdigest()},
        )


def unknown_artifact(sha256: str, path: str = "") -> NotFound:
    """No complete file with this digest is stored."""
    return NotFound(
        "ARTIFACT_UNKNOWN",
        "No file with this SHA-256 is stored: upload it first.",
        resource_type="artifact",
        resource_name=sha256,
        metadata={"path": path} if path else None,
    )


def _refused(subject: str, message: str, sha256: str = "") -> NotAllowed:
    metadata = {"path": subject, "sha256": sha256} if sha256 else {"format": subject}
    return NotAllowed("MODEL_REFUSED", message, subject=subject, metadata=metadata)
