"""The items that a recommender's artefact knows: `items.json` and `items.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from trunkline_modelstore import LocalVersion, refused

NAMES = "items.json"
TENSORS = "items.safetensors"
UNKNOWN = -1
"""Row of an item that the artefact does not know."""
_KEYS = ("id", "title", "attributes")
_FLOATS = (np.dtype(np.float16), np.dtype(np.float32))


@dataclass(frozen=True, slots=True)
class Items:
    """Items by id and by row. The matrices have one row more than there are items, all NaN, for `UNKNOWN`."""

    rows: Mapping[str, int]
    """Row of each id."""
    embeddings: NDArray[np.float32]
    """[items + 1, dimension] what the index holds."""
    features: NDArray[np.float32]
    """[items + 1, I] what the ranker reads."""
    popular: tuple[str, ...]
    """Ids, the most popular first."""
    popularity: Mapping[str, int]
    """Place of each id in `popular`."""

    @property
    def size_bytes(self) -> int:
        """What the matrices take of memory."""
        return self.embeddings.nbytes + self.features.nbytes


def load(version: LocalVersion, dimension: int) -> Items:
    """The items of a version.

    Raises:
        NotAllowed: MODEL_REFUSED: the files are malformed, or do not fit to each other or to the dimension.
    """
    rows, popular = _names(version)
    tensors = _tensors(version)
    embeddings, features = tensors["embeddings"], tensors["features"]
    if embeddings.shape != (len(rows), dimension):
        raise refused(
            version.name,
            f"{TENSORS}: embeddings has shape {list(embeddings.shape)}, expected [{len(rows)}, {dimension}]",
        )
    if features.shape[:1] != (len(rows),) or features.ndim != 2 or not features.shape[1]:
        raise refused(
            version.name, f"{TENSORS}: features has shape {list(features.shape)}, expected [{len(rows)}, I]"
        )
    popularity = {each: place for place, each in enumerate(popular)}
    return Items(rows, _with_unknown(embeddings), _with_unknown(features), popular, popularity)


def _names(version: LocalVersion) -> tuple[dict[str, int], tuple[str, ...]]:
    try:
        document = json.loads(version.files[NAMES].read_bytes())
    except ValueError as error:
        raise refused(version.name, f"{NAMES} is no JSON") from error
    if not isinstance(document, dict) or set(document) != {"items", "popular"}:
        raise refused(version.name, f"{NAMES} does not have exactly the keys items, popular")
    items, popular = document["items"], document["popular"]
    if not isinstance(items, list) or not items or not all(map(_is_item, items)):
        raise refused(
            version.name, f"{NAMES}: items is no list of {', '.join(_KEYS)}, the ids without spaces"
        )
    rows = {item["id"]: row for row, item in enumerate(items)}
    if len(rows) != len(items):
        raise refused(version.name, f"{NAMES} has an item twice")
    if not isinstance(popular, list) or not popular or not all(isinstance(each, str) for each in popular):
        raise refused(version.name, f"{NAMES}: popular is no list of ids")
    if len(set(popular)) != len(popular):
        raise refused(version.name, f"{NAMES}: popular has an id twice")
    if unknown := [each for each in popular if each not in rows]:
        raise refused(version.name, f"{NAMES}: popular names {unknown[0]!r}, which is none of its items")
    return rows, tuple(popular)


def _is_item(item: Any) -> bool:
    if not isinstance(item, dict) or set(item) != set(_KEYS):
        return False
    name = item["id"]
    # A history separates ids by spaces.
    return isinstance(name, str) and name.split() == [name] and isinstance(item["attributes"], dict)


def _tensors(version: LocalVersion) -> dict[str, NDArray[np.float32]]:
    try:
        tensors = load_tensors(version.files[TENSORS].read_bytes())
    except (SafetensorError, KeyError) as error:
        # KeyError: an element type that numpy does not have.
        raise refused(version.name, f"{TENSORS} cannot be read") from error
    if set(tensors) != {"embeddings", "features"}:
        raise refused(version.name, f"{TENSORS} does not have exactly the tensors embeddings, features")
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise refused(version.name, f"{TENSORS}: {name} is {tensor.dtype}, expected float32 or float16")
        if not np.isfinite(tensor).all():
            raise refused(version.name, f"{TENSORS}: {name} has numbers that are not finite")
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def _with_unknown(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.vstack([matrix, np.full((1, matrix.shape[1]), np.nan, np.float32)])
