"""Free text and labels: what the store can keep, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping

from trunkline_hop.errors import BadRequest

LABEL_KEY_LIMIT = 63
LABEL_VALUE_LIMIT = 255


def check_text(field: str, text: str) -> str:
    """The text as it is.

    Raises:
        BadRequest: it holds U+0000, which PostgreSQL cannot store.
    """
    if "\0" in text:
        raise BadRequest.field(field, "must not contain the character U+0000")
    return text


def check_labels(field: str, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels as they are.

    Raises:
        BadRequest: a key or a value is too long, a key is empty, or one holds U+0000.
    """
    for key, value in labels.items():
        if not 1 <= len(key) <= LABEL_KEY_LIMIT:
            raise BadRequest.field(field, f"keys have 1 to {LABEL_KEY_LIMIT} characters")
        if len(value) > LABEL_VALUE_LIMIT:
            raise BadRequest.field(f"{field}[{key!r}]", f"values have at most {LABEL_VALUE_LIMIT} characters")
        check_text(field, key + value)
    return dict(labels)
