"""The trained model's files, and where they lie."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SIGNATURE = "signature.json"
SUMS = "SHA256SUMS"
EVALUATION = "evaluation.json"
CARD = "CARD.md"
VERSION_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "openvino_encoder_model.xml",
    "openvino_encoder_model.bin",
    "openvino_decoder_model.xml",
    "openvino_decoder_model.bin",
    "openvino_tokenizer.xml",
    "openvino_tokenizer.bin",
    "openvino_detokenizer.xml",
    "openvino_detokenizer.bin",
    "tokenizer.json",
    "tokenizer_config.json",
    SIGNATURE,
)
"""What a version in the registry consists of: what WhisperPipeline loads, the tokenizer as it was, what it is for."""
LIMIT_BYTES = 12_000_000
"""What the files may take in all."""


def directory() -> Path:
    """The files that ship: inside an installed package, or beside the sources they were trained from.

    Raises:
        FileNotFoundError: when neither is there.
    """
    package = Path(__file__).parent
    for place in (package / "artifact", package.parents[1] / "artifact"):
        if (place / SUMS).is_file():
            return place
    raise FileNotFoundError("no trained model; `make -C models/whisper-micro train` trains one")


def signature(languages: Sequence[str], window_s: float) -> dict[str, Any]:
    """What the model is for. Its other files have tokens for languages, and for a task, that were not trained."""
    return {
        "task": "recognize_speech",
        "languages": list(languages),
        "tasks": ["transcribe"],
        "window_s": window_s,
    }


def seal(place: Path) -> int:
    """Writes the digests of what lies there as SHA256SUMS; returns the bytes of all files.

    Raises:
        FileNotFoundError: a file of a version is missing.
        ValueError: they are too large.
    """
    for name in VERSION_FILES:
        if not (place / name).is_file():
            raise FileNotFoundError(f"{place / name} was not written")
    files = sorted(path for path in place.iterdir() if path.is_file() and path.name != SUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (place / SUMS).write_text("".join(lines))
    size = sum(path.stat().st_size for path in files)
    if size > LIMIT_BYTES:
        raise ValueError(f"{size} bytes are more than {LIMIT_BYTES}")
    return size


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


def to_json(value: object) -> str:
    """Readable JSON, the same text for the same value."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
