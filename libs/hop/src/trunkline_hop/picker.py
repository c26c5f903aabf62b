"""The order in which the endpoints of an upstream are offered to a call.

The first one that serves, was not tried yet and whose breaker admits the call gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import Protocol, TypeVar

from trunkline_hop.client_settings import Balancing


class Pickable(Protocol):
    """What a picker sees of an endpoint."""

    address: str
    in_flight: int


E = TypeVar("E", bound=Pickable)


class Picker(Protocol):
    """Orders endpoints for one call."""

    keyed: bool
    """True when the session key matters, so that nobody looks for one in vain."""

    def order(self, endpoints: Sequence[E], key: str) -> Sequence[E]:
        """Every endpoint, the best one first. `key` is the call's session, or empty."""
        ...


class RoundRobin:
    """Each endpoint in turn.

    Args:
        start: where the turn begins. Callers that start together begin at different endpoints.
    """

    keyed = False

    def __init__(self, start: int = 0) -> None:
        self._next = start

    def order(self, endpoints: Sequence[E], key: str) -> Sequence[E]:
        if len(endpoints) < 2:
            return endpoints
        turn = self._next % len(endpoints)
        self._next = turn + 1
        return [*endpoints[turn:], *endpoints[:turn]]


class LeastLoaded:
    """The power of two choices (Mitzenmacher 2001): of two endpoints, the one with fewer calls in flight."""

    keyed = False

    def __init__(self, random: Random) -> None:
        self._random = random

    def order(self, endpoints: Sequence[E], key: str) -> Sequence[E]:
        count = len(endpoints)
        if count < 2:
            return endpoints
        one = self._random.randrange(count)
        other = (one + 1 + self._random.randrange(count - 1)) % count
        if endpoints[other].in_flight < endpoints[one].in_flight:
            one, other = other, one
        rest = [e for i, e in enumerate(endpoints) if i not in (one, other)]
        rest.sort(key=lambda endpoint: endpoint.in_flight)
        return [endpoints[one], endpoints[other], *rest]


class ConsistentHash:
    """Rendezvous hashing (Thaler and Ravishankar 1998): a session stays where it is while its endpoint
    lives, and only the sessions of one that goes away move.
    """

    keyed = True

    def __init__(self, random: Random) -> None:
        self._unkeyed = RoundRobin(random.randrange(1 << 16))

    def order(self, endpoints: Sequence[E], key: str) -> Sequence[E]:
        if not key:
            return self._unkeyed.order(endpoints, key)
        salt = key.encode()
        return sorted(endpoints, key=lambda e: _score(salt, e.address), reverse=True)


def _score(key: bytes, address: str) -> bytes:
    return blake2b(key + b"\0" + address.encode(), digest_size=8).digest()


def picker_of(balancing: Balancing, random: Random) -> Picker:
    """The picker that a setting names."""
    match balancing:
        case Balancing.ROUND_ROBIN:
            return RoundRobin(random.randrange(1 << 16))
        case Balancing.LEAST_LOADED:
            return LeastLoaded(random)
        case Balancing.CONSISTENT_HASH:
            return ConsistentHash(random)
