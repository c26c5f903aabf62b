from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_retrieval import records
from trunkline_retrieval.changes import Delete, Entry, Upsert
from trunkline_retrieval.lease import Lease, LeaseLost, holder
from trunkline_retrieval.log import Gone, LogReader, LogWriter, segments, trim
from trunkline_retrieval.records import Damaged


def entry(sequence: int, *ids: str) -> Entry:
    names = ids or (f"v{sequence}",)
    vectors = np.full((len(names), 3), sequence, np.float32)
    return Entry(sequence, Upsert(list(names), vectors, [{"n": float(sequence)}] * len(names)))


def entries(first: int, last: int) -> list[Entry]:
    return [entry(n) for n in range(first, last + 1)]


def sequences(reader: LogReader) -> list[int]:
    found: list[int] = []
    while read := reader.read():
        found += [each.sequence for each in read]
    return found


def start(directory: Path, reached: int = 0) -> tuple[Lease, LogWriter]:
    epoch = max((each.epoch for each in segments(directory / "log")), default=0)
    lease = Lease.take(directory, "127.0.0.1:1", epoch)
    assert lease is not None
    return lease, LogWriter.begin(directory / "log", lease, reached)


def die(lease: Lease, log: LogWriter) -> None:
    """As kill -9 does it: descriptors closed, nothing flushed."""
    os.close(log._descriptor)
    lease.release()


def segment_file(directory: Path) -> Path:
    return directory / "log" / segments(directory / "log")[-1].file_name


texts = st.text(max_size=20)
attributes = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
    texts | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(texts).map(tuple),
    max_size=4,
)


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=20), attributes), min_size=1, max_size=5),
    st.integers(1, 9),
)
def test_an_entry_is_read_as_it_was_written(
    rows: list[tuple[str, dict[str, object]]], dimension: int
) -> None:
    vectors = np.random.default_rng(0).standard_normal((len(rows), dimension)).astype(np.float32)
    written = Entry(7, Upsert([row[0] for row in rows], vectors, [row[1] for row in rows]))  # type: ignore[misc]
    ((_, payload),) = records.payloads(records.pack(written))
    read = records.unpack(payload)
    assert isinstance(read.change, Upsert)
    assert (read.sequence, read.change.ids) == (7, written.change.ids)
    assert read.change.vectors.tobytes() == vectors.tobytes()
    assert list(read.change.attributes) == [row[1] for row in rows]


def test_a_deletion_is_read_as_it_was_written() -> None:
    ((_, payload),) = records.payloads(records.pack(Entry(3, Delete(["a", "ß"]))))
    assert records.unpack(payload) == Entry(3, Delete(["a", "ß"]))


def test_a_reader_sees_what_was_appended_and_then_what_is_appended_next(tmp_path: Path) -> None:
    _, log = start(tmp_path)
    reader = LogReader(tmp_path / "log", 0)
    assert sequences(reader) == []
    log.append(entries(1, 3))
    assert sequences(reader) == [1, 2, 3]
    log.append(entries(4, 4))
    log.append(entries(5, 6))
    assert sequences(reader) == [4, 5, 6]
    assert sequences(LogReader(tmp_path / "log", 4)) == [5, 6]


def test_nobody_sees_a_record_before_the_mark_says_that_it_is_on_disk(tmp_path: Path) -> None:
    _, log = start(tmp_path)
    log.append(entries(1, 2))
    with segment_file(tmp_path).open("ab") as file:
        file.write(records.pack(entry(3)))
    assert sequences(LogReader(tmp_path / "log", 0)) == [1, 2]


@pytest.mark.parametrize("kept", range(0, 400, 7))
def test_a_tail_cut_off_anywhere_leaves_the_whole_records_before_the_cut(tmp_path: Path, kept: int) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 2))
    die(lease, log)
    path = segment_file(tmp_path)
    durable = path.stat().st_size
    tail = b"".join(map(records.pack, entries(3, 6)))
    path.write_bytes(path.read_bytes() + tail[:kept])
    each = len(tail) // 4
    whole = min(4, kept // each)
    lease, log = start(tmp_path)
    assert log.sequence == 2 + whole
    log.append([entry(log.sequence + 1)])
    assert sequences(LogReader(tmp_path / "log", 0)) == list(range(1, 4 + whole))
    assert path.stat().st_size == durable + min(kept, len(tail)), (
        "a writer never appends to another's segment"
    )


def test_bytes_that_rotted_behind_the_mark_end_the_tail(tmp_path: Path) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 1))
    die(lease, log)
    path = segment_file(tmp_path)
    second = bytearray(records.pack(entry(2)))
    second[-1] ^= 1
    path.write_bytes(path.read_bytes() + bytes(second) + records.pack(entry(3)))
    _, log = start(tmp_path)
    assert log.sequence == 1


def test_zeros_where_data_never_reached_the_disk_end_the_tail(tmp_path: Path) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 1))
    die(lease, log)
    path = segment_file(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(4096))
    _, log = start(tmp_path)
    assert log.sequence == 1


def test_bytes_that_rotted_before_the_mark_are_damage_and_nothing_is_skipped(tmp_path: Path) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 5))
    die(lease, log)
    path = segment_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[64 + len(records.pack(entry(1))) + 20] ^= 1
    path.write_bytes(bytes(content))
    reader = LogReader(tmp_path / "log", 0)
    with pytest.raises(Damaged):
        sequences(reader)
    with pytest.raises(Damaged):
        sequences(LogReader(tmp_path / "log", 0))


def test_a_mark_that_is_torn_costs_a_copy_and_no_entry(tmp_path: Path) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 5))
    die(lease, log)
    path = segment_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[32:36] = struct.pack("<I", 99)
    path.write_bytes(bytes(content))
    reader = LogReader(tmp_path / "log", 3)
    assert sequences(reader) == []
    _, log = start(tmp_path, reached=5)
    assert log.sequence == 5
    log.append(entries(6, 6))
    assert sequences(LogReader(tmp_path / "log", 0)) == [1, 2, 3, 4, 5, 6]
    assert sequences(reader) == [4, 5, 6]


def test_a_writer_that_dies_before_its_head_is_whole_leaves_no_segment(tmp_path: Path) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 2))
    die(lease, log)
    (tmp_path / "log" / ".abc.draft").write_bytes(b"TKDEL")
    _, log = start(tmp_path)
    assert log.sequence == 2
    assert not list((tmp_path / "log").glob(".*"))


def test_a_log_that_ends_before_what_was_durable_is_not_written_on(tmp_path: Path) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 2))
    die(lease, log)
    with pytest.raises(Damaged):
        start(tmp_path, reached=3)


def test_a_reader_goes_on_through_every_change_of_writer(tmp_path: Path) -> None:
    reader, seen = LogReader(tmp_path / "log", 0), []
    for n in range(5):
        lease, log = start(tmp_path)
        log.append(entries(2 * n + 1, 2 * n + 2))
        if n % 2:
            log.rotate()
            die(lease, log)
            seen += sequences(reader)
        else:
            log.close()
            lease.release()
    assert seen + sequences(reader) == list(range(1, 11))
    assert len({each.epoch for each in segments(tmp_path / "log")}) == 5


def test_what_is_below_the_floor_is_trimmed_and_never_more(tmp_path: Path) -> None:
    _, log = start(tmp_path)
    for n in range(3):
        log.append(entries(2 * n + 1, 2 * n + 2))
        log.rotate()
    behind, ahead = LogReader(tmp_path / "log", 0), LogReader(tmp_path / "log", 3)
    assert ahead.read()[0].sequence == 4
    assert trim(tmp_path / "log", 3) == 1
    assert sequences(LogReader(tmp_path / "log", 3)) == [4, 5, 6]
    assert trim(tmp_path / "log", 100) == 2
    assert sequences(LogReader(tmp_path / "log", 6)) == []
    log.append(entries(7, 7))
    with pytest.raises(Gone):
        behind.read()
    with pytest.raises(Gone):
        sequences(ahead)


def test_one_process_holds_the_lease_and_epochs_rise(tmp_path: Path) -> None:
    first = Lease.take(tmp_path, "one:1", 0)
    assert first is not None
    assert Lease.take(tmp_path, "two:1", 0) is None
    first.release()
    second = Lease.take(tmp_path, "two:1", 0)
    assert second is not None
    assert second.epoch == first.epoch + 1
    now = holder(tmp_path)
    assert now is not None
    assert (now.epoch, now.address) == (second.epoch, "two:1")
    second.release()
    (tmp_path / "holder.json").unlink()
    third = Lease.take(tmp_path, "three:1", 41)
    assert third is not None
    assert third.epoch == 42, "the log's epochs count where the file that says so is lost"


def test_a_writer_whose_lease_went_to_another_acknowledges_nothing(tmp_path: Path) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 2))
    os.remove(tmp_path / "writer.lock")  # as a file system that takes locks away
    other, theirs = start(tmp_path)
    with pytest.raises(LeaseLost):
        log.append(entries(3, 3))
    theirs.append([entry(3, "theirs")])
    (read,) = LogReader(tmp_path / "log", 2).read()
    assert read.change.ids == ["theirs"]
    die(lease, log)
    die(other, theirs)


def test_what_the_one_before_acknowledged_is_seen_by_the_one_that_took_over_while_it_wrote(
    tmp_path: Path,
) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 2))
    os.remove(tmp_path / "writer.lock")
    # Flushed and looked at the claim; the mark not yet moved when the other claims.
    with segment_file(tmp_path).open("ab") as file:
        file.write(records.pack(entry(3)))
    other, theirs = start(tmp_path)
    assert theirs.sequence == 3
    theirs.append(entries(4, 4))
    assert sequences(LogReader(tmp_path / "log", 0)) == [1, 2, 3, 4]
    die(lease, log)
    die(other, theirs)


def test_after_a_refused_append_the_log_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, log = start(tmp_path)
    log.append(entries(1, 2))
    size = segment_file(tmp_path).stat().st_size

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with pytest.raises(OSError, match="Input/output"):
            log.append(entries(3, 9))
    assert segment_file(tmp_path).stat().st_size == size
    die(lease, log)
    _, log = start(tmp_path)
    assert log.sequence == 2


def test_a_writer_that_wrote_nothing_leaves_no_segment_unless_it_is_the_only_one(tmp_path: Path) -> None:
    lease, log = start(tmp_path)
    log.close()
    lease.release()
    assert len(segments(tmp_path / "log")) == 1
    lease, log = start(tmp_path)
    log.append(entries(1, 2))
    log.rotate()
    reader = LogReader(tmp_path / "log", 0)
    assert sequences(reader) == [1, 2]
    log.close()
    lease.release()
    assert [each.base for each in segments(tmp_path / "log")] == [0, 0]
    lease, log = start(tmp_path, reached=2)
    log.append(entries(3, 3))
    assert sequences(reader) == [3]
    log.rotate()
    trim(tmp_path / "log", 3)
    log.close()
    lease.release()
    assert [each.base for each in segments(tmp_path / "log")] == [3]
    assert start(tmp_path, reached=3)[1].sequence == 3
