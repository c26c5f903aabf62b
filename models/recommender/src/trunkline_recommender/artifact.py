"""The trained model's files, and where they lie."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

SUMS = "SHA256SUMS"
SIGNATURE = "signature.json"
USER_TOWER = "user_tower.onnx"
ITEM_TOWER = "item_tower.onnx"
RANKER = "ranker.onnx"
ITEMS = "items.json"
TENSORS = "items.safetensors"
VIEWS = "views.json"
PREVIEW = "preview.json"
EVALUATION = "evaluation.json"
CARD = "CARD.md"
VERSION_FILES = (SIGNATURE, USER_TOWER, ITEM_TOWER, RANKER, TENSORS, ITEMS)
"""What a version in the registry consists of."""
FILES = (*VERSION_FILES, VIEWS, PREVIEW, EVALUATION, CARD)


def directory() -> Path:
    """The files that ship: inside an installed package, or beside the sources they were trained from.

    Raises:
        FileNotFoundError: when neither is there.
    """
    package = Path(__file__).parent
    for place in (package / "artifact", package.parents[1] / "artifact"):
        if (place / SUMS).is_file():
            return place
    raise FileNotFoundError(
        "no trained recommender; `python -m trunkline_recommender.train --out DIR` trains one"
    )


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
            raise ValueError(f"{name} is not the file that SHA256SUMS describes")
    return digests


def to_json(value: object) -> bytes:
    """Readable JSON, the same bytes for the same value."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def to_lines(value: Mapping[str, object]) -> bytes:
    """JSON with one line for each entry of each list, the same bytes for the same value."""
    parts = []
    for name, entry in value.items():
        if isinstance(entry, list):
            lines = ",\n".join(f"    {json.dumps(one, ensure_ascii=False)}" for one in entry)
            parts.append(f"  {json.dumps(name)}: [\n{lines}\n  ]")
        else:
            parts.append(f"  {json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()
