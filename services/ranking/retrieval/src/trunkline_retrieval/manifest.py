"""What a snapshot is: its place in the history, what was measured, and the SHA-256 of its files."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from trunkline_retrieval.index import IndexType

FORMAT = 1
"""Version of the manifest and of the files it names. A reader refuses another."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[a-z][a-z0-9_.]*")


class ManifestError(ValueError):
    """It is not a manifest that this version understands."""


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One file as it was written."""

    sha256: str
    """Lower-case hexadecimal."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The vectors of an index at one moment, as they lie on disk."""

    snapshot_id: str
    index_uid: str
    sequence: int
    """The changes up to this one are in it."""
    vector_count: int
    type: IndexType
    parameters: Mapping[str, int]
    """Of the type, such as `ef_search`."""
    recall: float
    """Share of the exact nearest 100 that it finds; 1 where the search is exact."""
    search_time_s: float
    """Median time of one query on one core."""
    memory_bytes: int
    """What it takes in memory, without the pages of files that the kernel may drop."""
    files: Mapping[str, FileDigest]
    """By name in its directory, this manifest excepted."""
    create_time: datetime
    """When the build began, UTC."""
    end_time: datetime
    """When the build ended, UTC."""

    @property
    def digest(self) -> str:
        """SHA-256 over `{sha256}  {name}` of its files, a line each by name: that of `sha256sum` over them."""
        lines = (f"{self.files[name].sha256}  {name}\n" for name in sorted(self.files))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def to_json(self) -> str:
        """One document, the same for equal manifests."""
        document = {
            "format": FORMAT,
            "snapshot_id": self.snapshot_id,
            "index_uid": self.index_uid,
            "sequence": self.sequence,
            "vector_count": self.vector_count,
            "type": self.type.name,
            "parameters": dict(self.parameters),
            "recall": self.recall,
            "search_time_s": self.search_time_s,
            "memory_bytes": self.memory_bytes,
            "files": {
                name: {"sha256": file.sha256, "size_bytes": file.size_bytes}
                for name, file in self.files.items()
            },
            "create_time": self.create_time.isoformat(),
            "end_time": self.end_time.isoformat(),
        }
        return json.dumps(document, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """The manifest that `to_json` wrote.

        Raises:
            ManifestError: a field is missing, unknown or out of its range, or the format is another version.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ManifestError("a manifest is a JSON document") from error
        fields = _Fields.of(document, "manifest")
        if (version := fields.integer("format")) != FORMAT:
            raise ManifestError(f"format is {version}; this version reads {FORMAT}")
        manifest = cls(
            snapshot_id=fields.text("snapshot_id"),
            index_uid=fields.text("index_uid"),
            sequence=fields.integer("sequence"),
            vector_count=fields.integer("vector_count"),
            type=fields.type("type"),
            parameters=fields.integers("parameters"),
            recall=fields.number("recall", most=1.0),
            search_time_s=fields.number("search_time_s"),
            memory_bytes=fields.integer("memory_bytes"),
            files=fields.files("files"),
            create_time=fields.time("create_time"),
            end_time=fields.time("end_time"),
        )
        fields.end()
        return manifest


@dataclass(slots=True)
class _Fields:
    """An object of the document, taken apart field by field until nothing is left."""

    where: str
    rest: dict[str, object]

    @classmethod
    def of(cls, value: object, where: str) -> _Fields:
        if not isinstance(value, dict):
            raise ManifestError(f"{where} is no object")
        return cls(where, dict(value))

    def take(self, name: str) -> object:
        if name not in self.rest:
            raise ManifestError(f"{self.where} has no {name}")
        return self.rest.pop(name)

    def end(self) -> None:
        if self.rest:
            raise ManifestError(f"{self.where} has unknown fields: {', '.join(sorted(self.rest))}")

    def text(self, name: str) -> str:
        value = self.take(name)
        if not isinstance(value, str) or not value:
            raise ManifestError(f"{name} is no text")
        return value

    def integer(self, name: str) -> int:
        value = self.take(name)
        if type(value) is not int or value < 0:
            raise ManifestError(f"{name} is no whole number of 0 or more")
        return value

    def number(self, name: str, most: float = math.inf) -> float:
        value = self.take(name)
        if type(value) not in (int, float) or not 0 <= (number := float(str(value))) <= most:
            raise ManifestError(f"{name} is no number from 0 to {most}")
        return number

    def type(self, name: str) -> IndexType:
        value = self.text(name)
        if value not in IndexType.__members__:
            raise ManifestError(f"{name} is none of {', '.join(IndexType.__members__)}")
        return IndexType[value]

    def time(self, name: str) -> datetime:
        value = self.text(name)
        try:
            time = datetime.fromisoformat(value)
        except ValueError as error:
            raise ManifestError(f"{name} is no time") from error
        if time.utcoffset() != timedelta(0):
            raise ManifestError(f"{name} is not in UTC")
        return time

    def integers(self, name: str) -> Mapping[str, int]:
        fields = _Fields.of(self.take(name), name)
        return MappingProxyType({key: fields.integer(key) for key in list(fields.rest)})

    def files(self, name: str) -> Mapping[str, FileDigest]:
        fields = _Fields.of(self.take(name), name)
        return MappingProxyType({key: _file(key, fields.take(key)) for key in list(fields.rest)})


def _file(name: str, value: object) -> FileDigest:
    # A name is joined to a path: it must not lead out of the snapshot's directory.
    if not _FILE.fullmatch(name) or ".." in name:
        raise ManifestError(f"{name!r} is no file name")
    fields = _Fields.of(value, name)
    digest = FileDigest(sha256=fields.text("sha256"), size_bytes=fields.integer("size_bytes"))
    fields.end()
    if not _SHA256.fullmatch(digest.sha256):
        raise ManifestError(f"sha256 of {name} is no SHA-256")
    return digest
