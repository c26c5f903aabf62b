"""A trained model's files, their digests, and where they lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

SUMS = "SHA256SUMS"
SIGNATURE = "signature.json"
VIEWS = "views.json"
EVALUATION = "evaluation.json"
CARD = "CARD.md"


def locate(package: Path) -> Path:
    """The files that ship: inside an installed package, or beside the sources they were trained from.

    Args:
        package: directory of the recipe's package.

    Raises:
        FileNotFoundError: when neither is there.
    """
    for place in (package / "artifact", package.parents[1] / "artifact"):
        if (place / SUMS).is_file():
            return place
    raise FileNotFoundError(f"no trained model; `python -m {package.name}.train` trains one")


def write(place: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files, and their digests as SHA256SUMS (check them with `sha256sum -c`)."""
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
    (place / SUMS).write_text("".join(lines))


def verify(place: Path) -> dict[str, str]:
    """The SHA-256 of each file, by name, once it was found to be what SHA256SUMS says.

    Raises:
        ValueError: when a file differs.
        OSError: when one cannot be read.
    """
    digests = {}
    for line in (place / SUMS).read_text().splitlines():
        expected, name = line.split("  ", 1)
        digests[name] = hashlib.sha256((place / name).read_bytes()).hexdigest()
        if digests[name] != expected:
            raise ValueError(f"{name} is not the file that {SUMS} describes")
    return digests


def to_json(value: object) -> bytes:
    """Readable JSON, the same bytes for the same value."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
