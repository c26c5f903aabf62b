"""Pages (AIP-158). A token says where the next page begins and for which query; only that query takes it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from trunkline_hop.errors import BadRequest

DEFAULT_SIZE = 50
MAXIMUM_SIZE = 1000
PAGE_BYTES = 4 * 2**20
"""A page ends early rather than outgrow what one message can carry."""
_DIGEST_BYTES = 12

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Rows(Generic[ItemT]):
    """What a store gives for one page."""

    items: Sequence[ItemT]
    more: bool
    """Whether others follow."""


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """One page of a list."""

    items: Sequence[ItemT]
    next_token: str
    """Empty on the last page."""


def page_size(asked: int) -> int:
    """How many items a page holds at most: 0 means the default, too many mean the maximum."""
    return min(asked or DEFAULT_SIZE, MAXIMUM_SIZE)


def page_token(query: Sequence[str], cursor: str) -> str:
    """A token for going on after `cursor` in this query."""
    return base64.urlsafe_b64encode(_digest(query, cursor) + cursor.encode()).decode().rstrip("=")


def page_cursor(query: Sequence[str], token: str) -> str:
    """The cursor in a token that `page_token` made for this query.

    The digest is no secret: it tells a mistake, not a forger, and a forged cursor reads nothing that the
    list itself would not show.

    Raises:
        BadRequest: it is no such token, or was given out for another query.
    """
    wrong = BadRequest.field("page_token", "must be the next_page_token of the same query")
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        cursor = raw[_DIGEST_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise wrong from None
    if not hmac.compare_digest(raw[:_DIGEST_BYTES], _digest(query, cursor)):
        raise wrong
    if page_token(query, cursor) != token:  # base64 has several spellings of the same bytes
        raise wrong
    return cursor


def _digest(query: Sequence[str], cursor: str) -> bytes:
    parts = "".join(f"{len(part)}:{part}" for part in (*query, cursor))
    return hashlib.sha256(parts.encode()).digest()[:_DIGEST_BYTES]
