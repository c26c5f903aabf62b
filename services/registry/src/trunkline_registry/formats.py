"""What a version's files may be: formats that only hold data, each known by its own marks.

The checks read no more than headers. They tell a wrong or half file from a right one and keep out what runs
code when it is loaded; whether a model computes the right thing is for its evaluations.
"""

from __future__ import annotations

import json
import os
from enum import IntEnum
from typing import BinaryIO

from trunkline_registry.pickles import Refused, refuse_pickle

SAFETENSORS_HEADER_LIMIT = 100 * 2**20
"""As in the format's own reader."""
_ONNX_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
"""Fields of onnx.ModelProto."""


class Format(IntEnum):
    """What the files are. The numbers are those of trunkline.registry.v1.Format."""

    ONNX = 1
    OPENVINO_IR = 2
    SAFETENSORS = 3
    LIGHTGBM_TEXT = 4


SUFFIXES: dict[Format, tuple[str, ...]] = {
    Format.ONNX: (".onnx",),
    Format.OPENVINO_IR: (".xml", ".bin"),
    Format.SAFETENSORS: (".safetensors",),
    Format.LIGHTGBM_TEXT: (".txt",),
}
"""A version has at least one file with each suffix of its format."""


def check_file(path: str, file: BinaryIO) -> None:
    """Passes when a file is data, and what its suffix says.

    A `.txt` or `.xml` beside a model may be anything, so those are checked by `check_model_file` only.

    Raises:
        Refused: with the reason.
    """
    refuse_pickle(path, file)
    if path.endswith(".onnx"):
        _check_onnx(file)
    elif path.endswith(".safetensors"):
        _check_safetensors(file)


def is_model_file(kind: Format, path: str, file: BinaryIO) -> bool:
    """Whether a file that passed `check_file` is one that a version of this format cannot do without."""
    if not path.endswith(SUFFIXES[kind]):
        return False
    if kind is Format.LIGHTGBM_TEXT:
        head = _head(file, 4096)
        return head.startswith((b"tree\n", b"tree\r\n")) and b"\nversion=" in head
    if kind is Format.OPENVINO_IR and path.endswith(".xml"):
        return b"<net" in _head(file, 4096)
    return True


def _head(file: BinaryIO, size: int) -> bytes:
    file.seek(0)
    return file.read(size)


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _check_onnx(file: BinaryIO) -> None:
    """Walks over the fields of the outermost message: a cut file ends inside one."""
    size, seen = _size(file), set()
    file.seek(0)
    while file.tell() < size:
        tag = _varint(file)
        field, wire_type = tag >> 3, tag & 7
        if field not in _ONNX_FIELDS or wire_type not in (0, 2):
            raise Refused("is no ONNX model")
        value = _varint(file)
        if wire_type == 2 and file.seek(value, os.SEEK_CUR) > size:
            raise Refused("is an ONNX model cut short")
        seen.add(field)
    if not {1, 7} <= seen:
        raise Refused("is no ONNX model: it has no IR version or no graph")


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise Refused("is an ONNX model cut short")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise Refused("is no ONNX model")


def _check_safetensors(file: BinaryIO) -> None:
    """Reads the header: an eight-byte length, then JSON whose offsets cover the rest of the file."""
    size = _size(file)
    length = int.from_bytes(_head(file, 8), "little")
    if size < 8 or not 2 <= length <= min(SAFETENSORS_HEADER_LIMIT, size - 8):
        raise Refused("is no safetensors file: its header does not fit in it")
    try:
        header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        end = max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise Refused("is no safetensors file: its header cannot be read") from None
    if end != size - 8 - length:
        raise Refused("is a safetensors file cut short or with something behind its tensors")
