"""Entries of the delta log as bytes.

A record, little-endian: length of the payload u32, CRC-32 of it u32, payload. A payload: sequence u64, kind u8
(1 upsert, 2 delete), zero u8, dimension u16, length of the JSON u32, JSON, and for an upsert the vectors, float32 row
by row. The JSON of an upsert is [ids, attributes], of a delete [ids].
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from trunkline_retrieval.changes import Attribute, Attributes, Delete, Entry, Upsert

_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<QBBHI")
_UPSERT, _DELETE = 1, 2


class Damaged(Exception):
    """Bytes that were durable are not what was written."""


def pack(entry: Entry) -> bytes:
    """A record."""
    change = entry.change
    if isinstance(change, Upsert):
        text = json.dumps([list(change.ids), [dict(each) for each in change.attributes]])
        vectors = np.ascontiguousarray(change.vectors, dtype="<f4")
        kind, dimension, tail = _UPSERT, vectors.shape[1], vectors.tobytes()
    else:
        text = json.dumps([list(change.ids)])
        kind, dimension, tail = _DELETE, 0, b""
    document = text.encode()
    payload = _HEAD.pack(entry.sequence, kind, 0, dimension, len(document)) + document + tail
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def payloads(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Whole records from the start of the data: the offset after each, and its payload.

    Ends before a record that is cut off or damaged.
    """
    view, offset = memoryview(data), 0
    while offset + _FRAME.size <= len(view):
        length, checksum = _FRAME.unpack_from(view, offset)
        payload = view[offset + _FRAME.size : offset + _FRAME.size + length]
        # Zeros are what a file system leaves of data that never reached the disk.
        if length < _HEAD.size or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        offset += _FRAME.size + length
        yield offset, payload


def sequence_of(payload: memoryview) -> int:
    """The sequence number of a payload."""
    sequence: int = _HEAD.unpack_from(payload)[0]
    return sequence


def unpack(payload: memoryview) -> Entry:
    """The entry of a payload.

    Raises:
        Damaged: it is none, though its checksum was right.
    """
    try:
        sequence, kind, _, dimension, length = _HEAD.unpack_from(payload)
        start = _HEAD.size + length
        document = json.loads(bytes(payload[_HEAD.size : start]))
        ids: list[str] = document[0]
        if kind == _DELETE:
            return Entry(sequence, Delete(ids))
        if kind != _UPSERT:
            raise Damaged(f"entry {sequence} is of an unknown kind, {kind}")
        # A copy: aligned, and free of the buffer that was read.
        vectors = np.frombuffer(payload[start:], "<f4").reshape(len(ids), dimension).astype(np.float32)
        attributes: Sequence[Attributes] = [_attributes(each) for each in document[1]]
        if len(attributes) != len(ids):
            raise Damaged(f"entry {sequence} has {len(ids)} ids and {len(attributes)} sets of attributes")
        return Entry(sequence, Upsert(ids, vectors, attributes))
    except (ValueError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise Damaged("an entry of the log cannot be read") from error


def _attributes(document: dict[str, object]) -> Attributes:
    read: dict[str, Attribute] = {}
    for name, value in document.items():
        if isinstance(value, list):
            read[name] = tuple(value)
        elif isinstance(value, (str, bool, float)):
            read[name] = value
        elif isinstance(value, int):
            read[name] = float(value)
        else:
            raise TypeError(name)
    return read
