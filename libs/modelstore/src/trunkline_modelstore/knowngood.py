"""The production versions that last ran here, on disk: a server starts from them while no registry answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import structlog

from trunkline_modelstore.version import File, Version

log = structlog.get_logger("trunkline.modelstore")


@dataclass(frozen=True, slots=True)
class KnownGood:
    """A JSON file that is replaced as a whole."""

    path: Path

    def read(self) -> dict[str, Version]:
        """The versions by model. Empty when there is no file, or none that can be read."""
        try:
            stored = json.loads(self.path.read_bytes())
            return {model: _version(fields) for model, fields in stored["production"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # It only saves time: without it the registry says the same.
            log.warning("last known good set cannot be read", path=str(self.path), error=repr(error))
            return {}

    def write(self, production: Mapping[str, Version]) -> None:
        """Replaces the file, durably. Does nothing when it says the same already."""
        if self.read() == production:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{uuid4().hex}")
        try:
            with temporary.open("w") as stream:
                json.dump(
                    {"production": {model: asdict(version) for model, version in production.items()}}, stream
                )
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)


def _version(fields: Mapping[str, object]) -> Version:
    files = fields["files"]
    if not isinstance(files, list):
        raise TypeError("files is no list")
    return Version(
        str(fields["name"]),
        str(fields["digest"]),
        tuple(File(str(file["path"]), str(file["sha256"]), int(file["size_bytes"])) for file in files),
        production=True,
    )
