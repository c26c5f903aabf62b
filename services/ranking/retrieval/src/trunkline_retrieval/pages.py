"""Pages of lists (AIP-158)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TypeVar

from trunkline_hop.errors import BadRequest

_SIZE = 50
_SIZE_LIMIT = 1000

T = TypeVar("T")


def page(found: Sequence[T], key: Callable[[T], str], size: int, token: str) -> tuple[Sequence[T], str]:
    """A page, and the token of the next one, empty on the last.

    Args:
        found: all, sorted by their keys, up or down.
        key: of one; the token holds that of the last of its page.
        size: how many are wanted; 0 for the default.
        token: of the page before; empty for the first page.

    Raises:
        BadRequest: a token that no page gave.
    """
    start = 0
    if token:
        after = _read(token)
        keys = [key(each) for each in found]
        down = len(keys) > 1 and keys[0] > keys[-1]
        # By its place in the order, not by itself: it may have been deleted since.
        start = sum(1 for each in keys if (each >= after if down else each <= after))
    end = start + min(size or _SIZE, _SIZE_LIMIT)
    return found[start:end], _write(key(found[end - 1])) if end < len(found) else ""


def _write(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _read(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise BadRequest.field("page_token", "expected the token of the page before") from None
