"""Who writes an index: one process at a time.

`writer.lock` is locked by the holder (flock: the kernel lets go of it when the process is gone, kill -9 included).
`holder.json` says which epoch it began and where it is called. Epochs only rise.

The lock alone would do on one machine. A network file system may take a lock away from a process that does not
notice. So a holder claims first (`holder.json`) and reads the log after, and a writer writes first and looks at the
claim after, before it acknowledges: of two that both believe to hold the lease, the later sees what the earlier
acknowledged, and the earlier acknowledges nothing that the later did not see.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from trunkline_retrieval import files

_LOCK = "writer.lock"
_HOLDER = "holder.json"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lease, or held it last."""

    epoch: int
    address: str
    """`host:port` to call it at."""


class LeaseLost(OSError):
    """Somebody else claimed the lease."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write an index, until it is released. Every method blocks."""

    directory: Path
    epoch: int
    lock: int
    """Descriptor of the locked file."""
    claim: tuple[int, int]
    """Inode and modification time of our `holder.json`."""

    @classmethod
    def lock_only(cls, directory: Path) -> Lease | None:
        """The lock without a claim, for what writes nothing: None while another process holds it."""
        try:
            lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            return None  # the index is being deleted
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink:
                return cls(directory, 0, lock, (0, 0))
        except BlockingIOError:
            os.close(lock)
            return None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # locked, but in a directory that was deleted meanwhile
        return None

    @classmethod
    def take(cls, directory: Path, address: str, epoch_before: int) -> Lease | None:
        """The lease, None while another process holds it.

        Args:
            directory: of the index.
            address: where this process is called.
            epoch_before: the highest epoch seen in the log; ours is above it whatever `holder.json` says.
        """
        locked = cls.lock_only(directory)
        if locked is None:
            return None
        try:
            files.remove_drafts(directory)
            before = holder(directory)
            epoch = max(epoch_before, before.epoch if before else 0) + 1
            content = json.dumps({"epoch": epoch, "address": address}).encode()
            files.replace(directory / _HOLDER, content)
            taken = cls(directory, epoch, locked.lock, _identity(directory))
            if holder(directory) == Holder(epoch, address):
                return taken
        except BaseException:
            locked.release()
            raise
        locked.release()  # claimed by somebody whose lock is as good as ours
        return None

    def check(self) -> None:
        """Raises LeaseLost when somebody else claimed it."""
        try:
            kept = _identity(self.directory) == self.claim
        except FileNotFoundError:
            kept = False
        if not kept:
            raise LeaseLost("another process writes this index")

    def release(self) -> None:
        """Lets the next one have it."""
        os.close(self.lock)


def holder(directory: Path) -> Holder | None:
    """Who holds the lease of an index, or held it last. None when nobody ever did. Blocks."""
    content = files.read(directory / _HOLDER)
    if content is None:
        return None
    document = json.loads(content)
    return Holder(int(document["epoch"]), str(document["address"]))


def held(directory: Path) -> bool:
    """True while a living process holds the lease of an index. Blocks."""
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _identity(directory: Path) -> tuple[int, int]:
    status = (directory / _HOLDER).stat()
    return status.st_ino, status.st_mtime_ns
