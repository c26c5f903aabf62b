"""`signature.json`: what a version is for, and what its numbers mean. What the tasks have in common."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from typing import Any

Fields = dict[str, Any]

TASK = "task"
_NAME = r"[a-z][a-z0-9_]*"
_ENTITY_TYPE = re.compile(_NAME)
_FEATURE = re.compile(f"({_NAME}):{_NAME}")


class SignatureError(ValueError):
    """A signature that does not say what it must; the text says what is wrong."""


def read(document: bytes) -> Fields:
    """The fields of a `signature.json`, `task` among them.

    Raises:
        SignatureError: it is no JSON object, or names no task.
    """
    try:
        fields = json.loads(document)
    except ValueError as error:
        raise SignatureError("signature.json is no JSON") from error
    if not isinstance(fields, dict) or not isinstance(fields.get(TASK), str):
        raise SignatureError("signature.json names no task")
    return fields


def check_keys(where: str, value: Any, keys: Collection[str]) -> Fields:
    """The object, when it has these keys and no others."""
    if not isinstance(value, dict) or set(value) != set(keys):
        raise SignatureError(f"{where} does not name exactly {', '.join(sorted(keys)) or 'nothing'}")
    return value


def names(where: str, value: Any) -> tuple[str, ...]:
    """A list of texts, each once, at least one."""
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise SignatureError(f"{where} is no list of names")
    if len(set(value)) != len(value):
        raise SignatureError(f"{where} has a name twice")
    return tuple(value)


def view_of(where: str, name: Any) -> str:
    """The view of a `view:field`."""
    match = _FEATURE.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise SignatureError(f"{where} names {name}, which is no feature")
    return match[1]


def entity_type(where: str, value: Any) -> str:
    """A name that the feature store takes for an entity type."""
    if not isinstance(value, str) or not _ENTITY_TYPE.fullmatch(value):
        raise SignatureError(f"{where} is no entity type")
    return value


def numbers(where: str, value: Any, keys: Collection[str]) -> dict[str, float]:
    """A finite number for each of the keys."""
    return {name: number(f"{where}.{name}", each) for name, each in check_keys(where, value, keys).items()}


def number(where: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SignatureError(f"{where} is no finite number")
    return float(value)


def whole(where: str, value: Any, largest: int) -> int:
    """A whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise SignatureError(f"{where} is no whole number from 1 to {largest}")
    return value
