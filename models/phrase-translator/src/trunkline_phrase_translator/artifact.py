"""The trained model's files, and where they lie."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

SIGNATURE: Final = "signature.json"
SUMS: Final = "SHA256SUMS"
EVALUATION: Final = "evaluation.json"
CARD: Final = "CARD.md"
VERSION_FILES: Final = (
    "config.json",
    "generation_config.json",
    "openvino_model.xml",
    "openvino_model.bin",
    "openvino_tokenizer.xml",
    "openvino_tokenizer.bin",
    "openvino_detokenizer.xml",
    "openvino_detokenizer.bin",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    SIGNATURE,
)
"""What a version in the registry consists of: what ContinuousBatchingPipeline loads, the tokenizer as it was, what it is for."""
CHECKPOINT_FILES: Final = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
"""The same weights as transformers and vLLM load them."""
LIMIT_BYTES: Final = 15_000_000
"""What the files of a directory may take in all."""


def directory() -> Path:
    """The INT8 IR that ships: inside an installed package, or beside the sources it was trained from.

    Raises:
        FileNotFoundError: when neither is there.
    """
    return _find("artifact")


def checkpoint() -> Path:
    """The weights in bfloat16, for vLLM and for transformers: found as `directory` is.

    Raises:
        FileNotFoundError: when they are not there.
    """
    return _find("checkpoint")


def signature(languages: Sequence[str], context_pairs: int, max_tokens: int) -> dict[str, Any]:
    """What the model is for, and how it is asked."""
    return {
        "task": "translate",
        "languages": list(languages),
        "pairs": [[source, target] for source in languages for target in languages if source != target],
        "prompt": "codes",
        "context_pairs": context_pairs,
        "max_tokens": max_tokens,
    }


def seal(place: Path, names: Sequence[str] = VERSION_FILES) -> int:
    """Writes the digests of what lies there as SHA256SUMS; returns the bytes of all files.

    Raises:
        FileNotFoundError: one of the names is missing.
        ValueError: the files are too large.
    """
    for name in names:
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


def _find(name: str) -> Path:
    package = Path(__file__).parent
    for place in (package / name, package.parents[1] / name):
        if (place / SUMS).is_file():
            return place
    raise FileNotFoundError(f"no {name}; `make -C models/phrase-translator train` makes one")
