"""Pages of lists (AIP-158). A token says where the next page begins and for which list; only that list takes it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import TypeVar

from trunkline_hop.errors import BadRequest

DEFAULT_SIZE = 50
MAXIMUM_SIZE = 1000
_DIGEST_BYTES = 12

T = TypeVar("T")


def page(
    found: Sequence[T], key: Callable[[T], str], size: int, token: str, query: Sequence[str]
) -> tuple[Sequence[T], str]:
    """A page of a list that is at hand, and the token of the next one, empty on the last.

    Args:
        found: all, sorted by their keys, up or down.
        key: of one; the token holds that of the last of its page.
        size: how many are wanted; 0 for the default.
        token: of the page before; empty for the first page.
        query: what is listed.

    Raises:
        BadRequest: a token that no page of this list gave.
    """
    start = 0
    if token:
        after = page_cursor(query, token)
        keys = [key(each) for each in found]
        down = len(keys) > 1 and keys[0] > keys[-1]
        # By its place in the order, not by itself: it may have been deleted since.
        start = sum(1 for each in keys if (each >= after if down else each <= after))
    end = start + page_size(size)
    return found[start:end], page_token(query, key(found[end - 1])) if end < len(found) else ""


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
