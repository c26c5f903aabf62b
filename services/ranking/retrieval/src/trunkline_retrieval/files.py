"""Files that are complete or not there, also after kill -9 and power loss."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from trunkline_hop.errors import Overloaded, Unavailable

_RETRY_AFTER = timedelta(seconds=1)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

ResultT = TypeVar("ResultT")


def create(path: Path, content: bytes) -> bool:
    """Makes a file that nobody made before. False when there is one."""
    draft = _draft(path, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    sync_directory(path.parent)
    return True


def replace(path: Path, content: bytes) -> None:
    """Puts a file in the place of the one before, if any."""
    draft = _draft(path, content)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def read(path: Path) -> bytes | None:
    """A file's content, None when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def make_directory(path: Path) -> None:
    """Makes a directory, unless there is one, in one that is there."""
    try:
        path.mkdir()
    except FileExistsError:
        return
    sync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Removes a directory with all that is in it, also when somebody else removes it as well."""
    for _ in range(3):  # a removal leaves a directory behind when somebody writes into it meanwhile
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return


def remove_drafts(directory: Path) -> None:
    """Removes what writers that died left half-written. The directory must have no living one."""
    for path in directory.glob(".*.draft"):
        path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Makes what was created, renamed or removed in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes | memoryview, offset: int) -> None:
    """Writes all of it at an offset."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        offset += written
        rest = rest[written:]


async def thread(function: Callable[..., ResultT], *arguments: object) -> ResultT:
    """Runs a blocking function in a thread and, cancelled, still waits for its end.

    What a lock guards must not be let go while a thread is at work on it.
    """
    step = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not step.done():
        try:
            await asyncio.wait({step})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not step.cancelled():
            step.exception()  # seen, though nobody is left to tell
        raise cancelled
    return step.result()


@contextmanager
def faults() -> Iterator[None]:
    """Turns what the file system says into the catalogue's errors."""
    try:
        yield
    except OSError as error:
        raise fault_of(error) from error


def fault_of(error: OSError) -> Overloaded | Unavailable:
    """The catalogue's error for one of the file system."""
    if error.errno in _NO_SPACE:
        return Overloaded("QUOTA", "There is no space left for vectors.")
    return Unavailable("STORE_UNREACHABLE", "The vectors' files cannot be reached.", retry_after=_RETRY_AFTER)


def _draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{uuid.uuid4().hex}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        try:
            write_all(descriptor, content, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft
