"""The delta log of an index: what was acknowledged, in order, in segments `log/{epoch}-{base}.log`.

A segment holds the entries after its base sequence. It is appended to by the one writer that made it; the next
writer, and the next snapshot, begin another. Of a segment only the entries up to the next one's base count.

A segment begins with 64 bytes: magic, epoch u64, base u64, CRC-32; and at 32 the mark: sequence u64, end u64,
CRC-32. The mark says what is known to be on disk, and readers stop there: nobody sees a change that a power loss
could take back. Records (`records`) follow.

A writer appends, flushes to disk, looks whether the lease is still its own, moves the mark, and then the change is
acknowledged. What lies behind the mark when a writer died may be on disk or not, whole or torn: the next writer
copies what is whole to the start of its own segment, so that it is written again and flushed again, and goes on
from there. So an acknowledged change is never lost, and one that was not acknowledged is there or is not.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from trunkline_retrieval import files, records
from trunkline_retrieval.changes import Entry
from trunkline_retrieval.lease import Lease
from trunkline_retrieval.records import Damaged

_MAGIC = b"TKDELTA1"
_HEAD = struct.Struct("<8sQQ")
_MARK = struct.Struct("<QQ")
_CHECK = struct.Struct("<I")
_MARK_AT = 32
_START = 64
READ_BYTES = 8 * 2**20
"""How much is read at a time, so that what is read can be applied without holding up searches."""

_LARGEST_BYTES = 128 * 2**20
"""No record is larger: the change of one request, which has at most 16 MiB, its JSON escaped."""


class Gone(Exception):
    """The log no longer reaches back that far: a newer snapshot holds what was asked for."""


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of the log, as its name says."""

    epoch: int
    """Of the lease under which it was written."""
    base: int
    """Its first entry is the one after this."""

    @property
    def file_name(self) -> str:
        """Its name in the directory. Names sort as segments follow each other."""
        return f"{self.epoch:08}-{self.base:016}.log"


def segments(directory: Path) -> list[Segment]:
    """The segments in a directory, in order; none when it does not exist yet. Blocks."""
    try:
        names = [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        stem, _, suffix = name.partition(".")
        epoch, _, base = stem.partition("-")
        if suffix == "log" and epoch.isdigit() and base.isdigit():
            found.append(Segment(int(epoch), int(base)))
    return sorted(found)


def trim(directory: Path, floor: int) -> int:
    """Removes the segments whose entries are all at or below a sequence; how many. Blocks."""
    found = segments(directory)
    removed = 0
    for segment, following in pairwise(found):
        if following.base > floor:
            break
        (directory / segment.file_name).unlink(missing_ok=True)
        removed += 1
    return removed


class LogWriter:
    """Appends to the log under a lease. Blocks; one thread at a time.

    After an OSError it takes nothing more: close it and release the lease.

    Attributes:
        sequence: of the last entry that is durable.
    """

    def __init__(self, directory: Path, lease: Lease, sequence: int) -> None:
        self.sequence = sequence
        self._directory = directory
        self._lease = lease
        self._segment = Segment(0, 0)
        self._descriptor = -1
        self._end = 0

    @classmethod
    def begin(cls, directory: Path, lease: Lease, reached: int) -> LogWriter:
        """Takes over the log: what is whole behind the last mark is made durable in a segment of our own.

        Args:
            directory: of the segments, made when there is none.
            lease: under which it will be written.
            reached: a sequence that is known to be durable, so that a log that lost entries is not written on.

        Raises:
            OSError: it cannot be written.
            Damaged: the last segment cannot be read, or ends before `reached`.
        """
        files.make_directory(directory)
        files.remove_drafts(directory)
        found = segments(directory)
        base, tail = _behind_the_mark(directory, found[-1]) if found else (0, [])
        if base + len(tail) < reached:
            raise Damaged(f"the log ends at entry {base + len(tail)}, but {reached} was durable")
        writer = cls(directory, lease, base)
        writer._open(Segment(lease.epoch, base), base + len(tail), b"".join(tail))
        return writer

    def append(self, entries: Sequence[Entry]) -> None:
        """Makes entries durable. They follow on `sequence`.

        Raises:
            OSError: they are not, or nobody can know.
            LeaseLost: somebody else writes now.
        """
        data = b"".join(map(records.pack, entries))
        try:
            files.write_all(self._descriptor, data, self._end)
            os.fdatasync(self._descriptor)
            self._lease.check()
            end, sequence = self._end + len(data), entries[-1].sequence
            files.write_all(self._descriptor, _mark(sequence, end), _MARK_AT)
        except BaseException:
            # Gives its space back, and lets nobody find what was refused. Where that fails as well, the change may
            # turn up later: a caller who was told of a failure does not know.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise
        self._end, self.sequence = end, sequence

    def rotate(self) -> None:
        """Begins another segment here, so that the ones before can be removed some day."""
        if self._segment.base == self.sequence:
            return
        self._lease.check()
        os.fdatasync(self._descriptor)
        self._open(Segment(self._lease.epoch, self.sequence), self.sequence, b"")

    def close(self) -> None:
        """Lets go of the file, the mark flushed so that the next writer has nothing to copy."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # the mark is a hint; without it entries are copied
                os.fdatasync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            # Writers that cannot write, as on a full disk, would leave one empty segment each.
            if self._end == _START and len(segments(self._directory)) > 1:
                with contextlib.suppress(OSError):
                    (self._directory / self._segment.file_name).unlink()

    def _open(self, segment: Segment, sequence: int, content: bytes) -> None:
        head = _HEAD.pack(_MAGIC, segment.epoch, segment.base)
        end = _START + len(content)
        start = (head + _CHECK.pack(zlib.crc32(head))).ljust(_MARK_AT, b"\0")
        start = (start + _mark(sequence, end)).ljust(_START, b"\0")
        path = self._directory / segment.file_name
        if not files.create(path, start + content):
            raise FileExistsError(f"{segment.file_name} is there already")
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = os.open(path, os.O_RDWR)
        self._segment, self._end, self.sequence = segment, end, sequence


class LogReader:
    """Reads the log from a sequence on. Blocks; one thread at a time.

    Attributes:
        sequence: of the last entry that was read.
    """

    def __init__(self, directory: Path, sequence: int) -> None:
        self.sequence = sequence
        self._directory = directory
        self._segment: Segment | None = None
        self._offset = _START
        self._mark = sequence

    @property
    def behind(self) -> int:
        """How many durable entries, of those seen at the last read, were not read yet."""
        return max(0, self._mark - self.sequence)

    def read(self) -> list[Entry]:
        """The next entries that are durable; none when there are none yet.

        Raises:
            Gone: they were removed, after a snapshot.
            Damaged: they are not what was written.
            OSError: the log cannot be read.
        """
        while True:
            try:
                following = self._locate()
                if self._segment is None:
                    return []
                entries = self._read(self._segment, following)
            except FileNotFoundError:
                self._segment = None  # removed since it was listed: find our place again
                continue
            if entries or following is None:
                return entries
            if self.sequence < following.base:
                raise Damaged(f"entry {self.sequence + 1} of the log is missing")
            self._segment, self._offset = following, _START

    def _locate(self) -> Segment | None:
        """Finds the segment to read from, and the one that follows it."""
        found = segments(self._directory)
        if self._segment is None or self._segment not in found:
            at = max((n for n, each in enumerate(found) if each.base <= self.sequence), default=None)
            if at is None:
                if found or self.sequence:
                    raise Gone(f"the log begins after entry {self.sequence}")
                return None
            self._segment, self._offset = found[at], _START
        later = found[found.index(self._segment) + 1 :]
        return later[0] if later else None

    def _read(self, segment: Segment, following: Segment | None) -> list[Entry]:
        limit = None if following is None else following.base
        with (self._directory / segment.file_name).open("rb", buffering=0) as file:
            _check_head(file.fileno(), segment)
            self._mark, end = _read_mark(file.fileno(), segment)
            while self._offset < end:
                entries = self._chunk(file.fileno(), end, limit)
                if entries or (limit is not None and self.sequence >= limit):
                    return entries
        return []

    def _chunk(self, descriptor: int, end: int, limit: int | None) -> list[Entry]:
        for size in (READ_BYTES, _LARGEST_BYTES):
            data = os.pread(descriptor, min(size, end - self._offset), self._offset)
            entries, read = [], 0
            for offset, payload in records.payloads(data):
                read = offset
                sequence = records.sequence_of(payload)
                if sequence <= self.sequence:
                    continue
                if limit is not None and sequence > limit:
                    continue  # void: the next segment begins before it
                if sequence != self.sequence + 1:
                    raise Damaged(f"entry {sequence} of the log follows on {self.sequence}")
                entries.append(records.unpack(payload))
                self.sequence = sequence
            if read:
                self._offset += read
                return entries
        raise Damaged(f"the log is damaged after entry {self.sequence}")


def _behind_the_mark(directory: Path, segment: Segment) -> tuple[int, list[bytes]]:
    """The sequence of a segment's mark, and the whole records behind it."""
    with (directory / segment.file_name).open("rb", buffering=0) as file:
        _check_head(file.fileno(), segment)
        sequence, offset = _read_mark(file.fileno(), segment)
        file.seek(offset)
        data = file.readall()
    tail, start, expected = [], 0, sequence + 1
    for end, payload in records.payloads(data):
        if records.sequence_of(payload) != expected:
            break
        tail.append(data[start:end])
        start, expected = end, expected + 1
    return sequence, tail


def _check_head(descriptor: int, segment: Segment) -> None:
    head = os.pread(descriptor, _HEAD.size + _CHECK.size, 0)
    content = _HEAD.pack(_MAGIC, segment.epoch, segment.base)
    if head != content + _CHECK.pack(zlib.crc32(content)):
        raise Damaged(f"the head of {segment.file_name} is damaged")


def _mark(sequence: int, end: int) -> bytes:
    content = _MARK.pack(sequence, end)
    return content + _CHECK.pack(zlib.crc32(content))


def _read_mark(descriptor: int, segment: Segment) -> tuple[int, int]:
    """Sequence and offset up to which the segment is durable. One that is torn says nothing."""
    data = os.pread(descriptor, _MARK.size + _CHECK.size, _MARK_AT)
    content = data[: _MARK.size]
    if len(data) < _MARK.size + _CHECK.size or _CHECK.pack(zlib.crc32(content)) != data[_MARK.size :]:
        return segment.base, _START
    sequence, end = _MARK.unpack(content)
    return sequence, end
