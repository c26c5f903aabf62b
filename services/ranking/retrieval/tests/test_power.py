"""The delta log when the power goes: what was not flushed is there in part, or not, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_retrieval.changes import Entry, Upsert
from trunkline_retrieval.lease import Lease
from trunkline_retrieval.log import LogReader, LogWriter, segments


class PowerLoss(BaseException):
    """The machine stops here."""


@dataclass
class Disk:
    """Remembers what was flushed, and stops the machine at a call to the file system."""

    root: Path
    calls_left: int
    flushed: dict[int, bytes] = field(default_factory=dict)
    """Content of files by inode."""
    entries: dict[Path, dict[str, int]] = field(default_factory=dict)
    """Names and inodes in directories."""
    kept: dict[Path, bytes] = field(default_factory=dict)
    """What was flushed of files that were removed, whose removal may not be on disk."""

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Sees the calls that matter to what is on disk."""
        with pytest.MonkeyPatch.context() as patched:
            for name in ("pwrite", "fsync", "fdatasync", "link", "unlink", "rename", "replace", "ftruncate"):
                patched.setattr(os, name, self._seen(name, getattr(os, name)))
            yield

    def _seen(self, name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if self.calls_left == 0:
                raise PowerLoss
            self.calls_left -= 1
            if name == "unlink":
                self._keep(Path(str(arguments[0])))
            elif name in ("rename", "replace"):
                self._keep(Path(str(arguments[1])))
            result = function(*arguments, **options)
            if name in ("fsync", "fdatasync"):
                self._flush(int(str(arguments[0])))
            return result

        return call

    def _keep(self, path: Path) -> None:
        if path.exists():
            self.kept[path] = self.flushed.get(path.stat().st_ino, b"")

    def _flush(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            self.entries[path] = {each.name: each.stat().st_ino for each in path.iterdir()}
        else:
            with open(f"/proc/self/fd/{descriptor}", "rb") as file:
                self.flushed[status.st_ino] = file.read()

    def lose(self, random: Random) -> None:
        """Leaves what was flushed, and of the rest what chance wants."""
        for directory in [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]:
            durable = self.entries.get(directory, {})
            for path in list(directory.iterdir()):
                if path.is_dir():
                    continue
                inode = path.stat().st_ino
                if durable.get(path.name) != inode and random.random() < 0.5:
                    path.unlink()
                    continue
                self._tear(path, self.flushed.get(inode, b""), random)
            for name in durable:
                path = directory / name
                if not path.exists() and path in self.kept and random.random() < 0.5:
                    path.write_bytes(self.kept[path])

    @staticmethod
    def _tear(path: Path, flushed: bytes, random: Random) -> None:
        now = path.read_bytes()
        # Sectors are written whole: the head, where the mark is, is one.
        head = (now if random.random() < 0.5 else flushed)[: min(64, len(flushed))]
        tail = now[len(flushed) :]
        keep = random.randint(0, len(tail))
        rest = tail[:keep] + (bytes(len(tail) - keep) if random.random() < 0.3 else b"")
        path.write_bytes(head + flushed[64:] + rest)


def entry(sequence: int) -> Entry:
    return Entry(sequence, Upsert([f"v{sequence}"], np.full((1, 4), sequence, np.float32), [{}]))


def read_all(reader: LogReader) -> list[int]:
    found: list[int] = []
    while read := reader.read():
        found += [each.sequence for each in read]
    return found


def take(root: Path, reached: int) -> tuple[Lease, LogWriter]:
    epoch = max((each.epoch for each in segments(root / "log")), default=0)
    lease = Lease.take(root, "127.0.0.1:1", epoch)
    assert lease is not None
    try:
        return lease, LogWriter.begin(root / "log", lease, reached)
    except BaseException:
        lease.release()
        raise


@given(
    st.lists(st.sampled_from(["append", "append", "group", "rotate", "hand over"]), min_size=1, max_size=12),
    st.integers(0, 160),
    st.integers(0, 2**32),
)
def test_nothing_acknowledged_or_seen_is_lost_wherever_the_power_goes(
    actions: list[str], calls: int, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "index"
        (root / "log").mkdir(parents=True)
        disk = Disk(root, calls)
        acknowledged, seen = 0, 0
        reader = LogReader(root / "log", 0)
        held: list[Lease] = []
        try:
            with disk.attached():
                lease, log = take(root, 0)
                held = [lease]
                for action in actions:
                    if action == "rotate":
                        log.rotate()
                    elif action == "hand over":
                        log.close()
                        lease.release()
                        held = []
                        lease, log = take(root, acknowledged)
                        held = [lease]
                    else:
                        count = 1 if action == "append" else 3
                        log.append([entry(acknowledged + n) for n in range(1, count + 1)])
                        acknowledged += count
                    seen = max([seen, *read_all(reader)])
        except PowerLoss:
            seen = max([seen, *read_all(reader)])
            disk.lose(Random(seed))
        for each in held:
            each.release()
        lease, log = take(root, max(acknowledged, seen))
        assert log.sequence >= max(acknowledged, seen)
        log.append([entry(log.sequence + 1)])
        assert read_all(LogReader(root / "log", 0)) == list(range(1, log.sequence + 1))
        log.close()
        lease.release()
