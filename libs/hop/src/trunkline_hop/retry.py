"""When a call may be sent again, and how long to wait first (gRFC A6, AIP-194)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.status import PUSHBACK_KEY

_UNIT = 1_000_000


class RetryBudget:
    """Bounds the extra attempts of one upstream.

    Every call pays in `retry_ratio`, every retry and hedge takes out 1, and no more than `retry_burst` is ever
    held; it starts full. So n calls make at most `retry_burst + retry_ratio * n` extra attempts in any stretch
    of time: a dead upstream sees 10 % more than its callers want, not three times as much.
    """

    __slots__ = ("_balance", "_capacity", "_deposit")

    def __init__(self, settings: ClientSettings) -> None:
        self._deposit = round(settings.retry_ratio * _UNIT)  # whole numbers: sums of 0.1 drift
        self._capacity = settings.retry_burst * _UNIT
        self._balance = self._capacity

    def called(self) -> None:
        """A call was begun."""
        self._balance = min(self._capacity, self._balance + self._deposit)

    def take(self) -> bool:
        """Takes out one extra attempt; False when there is none left."""
        if self._balance < _UNIT:
            return False
        self._balance -= _UNIT
        return True

    def give_back(self) -> None:
        """An extra attempt that was taken was not sent."""
        self._balance = min(self._capacity, self._balance + _UNIT)

    @property
    def left(self) -> float:
        """Extra attempts that could be made now."""
        return self._balance / _UNIT


def backoff_s(tries: int, settings: ClientSettings, random: Random) -> float:
    """Seconds to wait after `tries` attempts: exponential with full jitter (Brooker, AWS 2015)."""
    ceiling = min(settings.backoff_maximum_s, settings.backoff_initial_s * 2 ** (tries - 1))
    return random.uniform(0.0, ceiling)


def pushback_s(trailers: Sequence[tuple[str, str | bytes]] | None) -> float | None:
    """Seconds a server asked to wait (`grpc-retry-pushback-ms`), None when it did not ask.

    One that says never is read with the status (`Fault.final`).
    """
    for key, value in trailers or ():
        if key == PUSHBACK_KEY:
            try:
                return max(0, int(value)) / 1000
            except ValueError:
                return None
    return None
