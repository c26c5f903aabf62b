"""Where a server is."""

from __future__ import annotations

from redis.asyncio.connection import parse_url


def is_address(url: str) -> bool:
    """True for `redis://`, `rediss://` or `unix://` and an address."""
    try:
        parse_url(url)
    except ValueError:
        # redis-py's own words may quote the address, and a password with it.
        return False
    return True
