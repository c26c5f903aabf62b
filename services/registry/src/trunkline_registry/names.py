"""Resource names (AIP-122): `models/{model}` and `models/{model}/versions/{version}`."""

from __future__ import annotations

import re

from trunkline_hop.errors import NotFound

_MODEL_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def model_name(model_id: str) -> str:
    """`models/{model}`."""
    return f"models/{model_id}"


def version_name(model_id: str, version: int) -> str:
    """`models/{model}/versions/{version}`."""
    return f"models/{model_id}/versions/{version}"


def model_of(name: str) -> str:
    """The id in a model's name.

    Raises:
        NotFound: no model can have this name.
    """
    collection, _, model_id = name.partition("/")
    if collection != "models" or not _MODEL_ID.fullmatch(model_id):
        raise unknown_model(name)
    return model_id


def version_of(name: str) -> tuple[str, int]:
    """The model's id and the number in a version's name.

    Raises:
        NotFound: no version can have this name.
    """
    model, _, rest = name.partition("/versions/")
    model_id = model_of(model)
    if not _VERSION.fullmatch(rest):
        raise unknown_version(name)
    return model_id, int(rest)


def unknown_model(name: str) -> NotFound:
    """There is no such model."""
    return NotFound("MODEL_UNKNOWN", "There is no such model.", resource_type="model", resource_name=name)


def unknown_version(name: str) -> NotFound:
    """There is no such version."""
    return NotFound(
        "VERSION_UNKNOWN",
        "The model has no such version.",
        resource_type="model_version",
        resource_name=name,
    )
