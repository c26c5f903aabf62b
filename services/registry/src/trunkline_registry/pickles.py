"""Keeps out files that run code when they are loaded: pickles, also inside archives (torch, joblib, NumPy)."""

from __future__ import annotations

import gzip
import io
import pickletools
import re
import zipfile
import zlib
from typing import BinaryIO

HEAD_BYTES = 64 * 1024
MEMBER_LIMIT = 10_000
SUFFIXES = (".pkl", ".pickle", ".joblib", ".dill")

_LOOKS_LIKE_PICKLE = 8
"""Opcodes that parse after a protocol mark; bytes at random hardly get that far."""
_NAME = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")
_IMPORTS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
_CALLS = frozenset({"REDUCE", "BUILD", "OBJ", "INST", "NEWOBJ", "NEWOBJ_EX"})


class Refused(Exception):
    """A file that may not be part of a version. The text goes on after its path: `is a pickle`."""


def refuse_pickle(path: str, file: BinaryIO) -> None:
    """Passes when a file is no pickle and holds none.

    Raises:
        Refused: with the reason.
    """
    if path.lower().endswith(SUFFIXES):
        raise Refused("is a pickle by its name")
    file.seek(0)
    head = file.read(HEAD_BYTES)
    _refuse_head(head)
    if head.startswith((b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")):
        _refuse_head(_inflated(head))
    file.seek(0)
    if head.startswith(b"PK\x03\x04") or zipfile.is_zipfile(file):
        _refuse_members(file)


def _refuse_head(head: bytes) -> None:
    if is_pickle(head):
        raise Refused("is a pickle: loading it could run code")
    if head.startswith(b"\x93NUMPY") and b"O'" in head[:4096].partition(b"}")[0]:
        raise Refused("is a NumPy array of objects: loading it could run code")


def is_pickle(head: bytes) -> bool:
    """Whether the bytes begin as a pickle does.

    A pickle of protocol 2 or later begins with its protocol and goes on with opcodes; an older one has no
    mark, so it counts when it imports a name and then calls something, which is where the danger is. A
    program need not be whole to run: what comes before a broken opcode has run by then.
    """
    marked = len(head) > 1 and head[0] == 0x80 and head[1] <= 5
    imported = False
    count = 0
    try:
        for opcode, argument, _ in pickletools.genops(head):
            count += 1
            if opcode.name == "STOP" or (marked and count > _LOOKS_LIKE_PICKLE):
                return marked
            if opcode.name in ("GLOBAL", "INST"):
                imported = imported or _NAME.fullmatch(str(argument)) is not None
            elif opcode.name in _IMPORTS:
                imported = True
            if imported and opcode.name in _CALLS:
                return True
    except Exception:  # genops raises errors of many kinds on bytes that are no opcodes
        return marked and len(head) == HEAD_BYTES and count > 1
    return False


def _inflated(head: bytes) -> bytes:
    try:
        if head.startswith(b"\x1f\x8b"):
            return gzip.GzipFile(fileobj=io.BytesIO(head)).read(HEAD_BYTES // 16)
        return zlib.decompressobj().decompress(head, HEAD_BYTES // 16)
    except (OSError, EOFError, zlib.error):
        return b""


def _refuse_members(file: BinaryIO) -> None:
    """Looks into an archive: torch's own format is a zip around a pickle."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MEMBER_LIMIT:
                raise Refused(f"is an archive of more than {MEMBER_LIMIT} files")
            for member in members:
                if member.filename.lower().endswith(SUFFIXES):
                    raise Refused(f"holds the pickle {member.filename!r}: loading it could run code")
                with archive.open(member) as content:
                    head = content.read(HEAD_BYTES)
                if is_pickle(head) or head.startswith(b"PK\x03\x04"):
                    raise Refused(f"holds {member.filename!r}, a pickle or another archive")
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, zlib.error):
        # RuntimeError: encrypted; NotImplementedError: an unknown compression.
        raise Refused("is an archive that cannot be looked into") from None
