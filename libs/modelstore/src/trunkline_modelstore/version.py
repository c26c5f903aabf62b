"""A version of a model: what the registry says of it, and what of it lies on this machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trunkline_hop.errors import NotAllowed

_MODEL = re.compile(r"models/[a-z][a-z0-9-]*")
_VERSION = re.compile(rf"({_MODEL.pattern})/versions/[1-9][0-9]*")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def model_of(name: str) -> str | None:
    """`models/fraud` of `models/fraud/versions/3`; None when `name` is no version's name."""
    match = _VERSION.fullmatch(name)
    return match and match[1]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a version."""

    path: str
    """Relative, with forward slashes."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Version:
    """What the registry says of a version. It never changes, except for its stage."""

    name: str
    """`models/fraud/versions/3`."""
    digest: str
    """SHA-256 over the sorted lines `{sha256}  {path}\\n` of its files."""
    files: tuple[File, ...]
    production: bool = False
    """True when it is the version in force, False when it is a candidate."""

    @property
    def key(self) -> Key:
        """What makes it this version: a registry set up anew may use a name again for other files."""
        return (self.name, self.digest)

    @property
    def size_bytes(self) -> int:
        """Sum of its files' sizes."""
        return sum(file.size_bytes for file in self.files)

    def check(self) -> None:
        """Refuses a manifest that contradicts itself or reaches out of its directory.

        Raises:
            NotAllowed: MODEL_REFUSED or CHECKSUM_MISMATCH.
        """
        if model_of(self.name) is None:
            raise refused(self.name, "its name is not models/{model}/versions/{version}")
        if not self.files or len({file.path for file in self.files}) != len(self.files):
            raise refused(self.name, "it has no files, or two under one path")
        for file in self.files:
            if not _PATH.fullmatch(file.path) or not _SHA256.fullmatch(file.sha256) or file.size_bytes < 0:
                raise refused(self.name, "a file's path, digest or size is malformed")
        if self.digest != digest_of(self.files):
            raise NotAllowed(
                "CHECKSUM_MISMATCH",
                f"{self.name} does not have the digest it states",
                subject=self.name,
                metadata={"version": self.name, "digest": self.digest},
            )


Key = tuple[str, str]
"""Name and digest of a version."""


@dataclass(frozen=True, slots=True)
class LocalVersion:
    """A version whose files are on this machine, their digests verified."""

    name: str
    digest: str
    directory: Path
    """Holds every file under its path."""
    files: Mapping[str, Path]
    """The files by their paths in the version."""
    size_bytes: int


def digest_of(files: Iterable[File]) -> str:
    """The digest of a version with these files."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def refused(name: str, why: str) -> NotAllowed:
    """A version that will never load: trying again changes nothing."""
    return NotAllowed(
        "MODEL_REFUSED", f"{name} is refused: {why}", subject=name, metadata={"version": name, "why": why}
    )
