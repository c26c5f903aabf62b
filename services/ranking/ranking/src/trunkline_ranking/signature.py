"""`signature.json`: what the columns of a fraud model mean."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trunkline_ranking.transaction import ENTITY_TYPES, REQUEST_FEATURES

_KEYS = {"inputs", "thresholds", "defaults"}


class SignatureError(ValueError):
    """A signature that does not say what it must; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What the columns of a fraud model mean, and what its scores call for."""

    inputs: tuple[str, ...]
    """Name of every input column, in order: `request:*` or `view:field`."""
    defaults: Mapping[str, float]
    """The value that stands in for each `view:field` while it cannot be read."""
    review: float
    """Probability from which somebody should look at it."""
    decline: float
    """Probability from which it is declined."""

    features: tuple[str, ...]
    """The columns that come from the feature store, in order."""
    entity_types: tuple[str, ...]
    """What those are about, see `ENTITY_TYPES`."""


def parse(document: bytes) -> Signature:
    """Reads a `signature.json`.

    Raises:
        SignatureError: it is malformed, or names a feature that nobody can give.
    """
    try:
        fields = json.loads(document)
    except ValueError as error:
        raise SignatureError("signature.json is no JSON") from error
    if not isinstance(fields, dict) or set(fields) != _KEYS:
        raise SignatureError(f"signature.json has other keys than {', '.join(sorted(_KEYS))}")
    inputs = _inputs(fields["inputs"])
    wanted = {name for name in inputs if name not in REQUEST_FEATURES}
    defaults = _numbers("defaults", fields["defaults"], wanted)
    thresholds = _numbers("thresholds", fields["thresholds"], {"review", "decline"})
    review, decline = thresholds["review"], thresholds["decline"]
    if not 0 <= review <= decline <= 1:
        raise SignatureError("thresholds are not 0 <= review <= decline <= 1")
    features = tuple(name for name in inputs if name in defaults)
    kinds = tuple(kind for kind in ENTITY_TYPES if any(name.startswith(f"{kind}_") for name in features))
    return Signature(inputs, defaults, review, decline, features, kinds)


def _inputs(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise SignatureError("inputs is no list of names")
    if len(set(value)) != len(value):
        raise SignatureError("inputs names a column twice")
    for name in value:
        view, colon, field = name.partition(":")
        if not (view and colon and field) or (view == "request" and name not in REQUEST_FEATURES):
            raise SignatureError(f"inputs names {name}, which is no feature")
        if view != "request" and not view.startswith(tuple(f"{kind}_" for kind in ENTITY_TYPES)):
            raise SignatureError(
                f"inputs names {name}, whose view is about none of {', '.join(ENTITY_TYPES)}"
            )
    return tuple(value)


def _numbers(key: str, value: Any, names: set[str]) -> dict[str, float]:
    if not isinstance(value, dict) or set(value) != names:
        raise SignatureError(f"{key} does not name exactly {', '.join(sorted(names)) or 'nothing'}")
    for name, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise SignatureError(f"{key}.{name} is no finite number")
    return {name: float(number) for name, number in value.items()}
