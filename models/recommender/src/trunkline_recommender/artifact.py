"""The trained model's files, and where they lie."""

import json
from collections.abc import Mapping
from pathlib import Path

from trunkline_artifact import CARD, EVALUATION, SIGNATURE, VIEWS, locate

USER_TOWER = "user_tower.onnx"
ITEM_TOWER = "item_tower.onnx"
RANKER = "ranker.onnx"
ITEMS = "items.json"
TENSORS = "items.safetensors"
PREVIEW = "preview.json"
VERSION_FILES = (SIGNATURE, USER_TOWER, ITEM_TOWER, RANKER, TENSORS, ITEMS)
"""What a version in the registry consists of."""
FILES = (*VERSION_FILES, VIEWS, PREVIEW, EVALUATION, CARD)


def directory() -> Path:
    """The files that ship. Raises FileNotFoundError when there are none."""
    return locate(Path(__file__).parent)


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
