"""How long a method usually takes, to know when a second attempt is worth sending (Dean and Barroso 2013)."""

from __future__ import annotations

_SAMPLES = 512
_REFRESH = 32


class Latencies:
    """A quantile of the last answers of one method.

    Args:
        quantile: which, between 0 and 1.
        samples: answers to have seen before there is one.
    """

    __slots__ = ("_least", "_quantile", "_samples", "_seen", "_value")

    def __init__(self, quantile: float, samples: int) -> None:
        self._quantile = quantile
        self._least = samples
        self._samples: list[float] = []
        self._seen = 0
        self._value: float | None = None

    def add(self, seconds: float) -> None:
        """An answer took this long."""
        if len(self._samples) < _SAMPLES:
            self._samples.append(seconds)
        else:
            self._samples[self._seen % _SAMPLES] = seconds
        self._seen += 1
        if self._seen >= self._least and (self._value is None or self._seen % _REFRESH == 0):
            ordered = sorted(self._samples)
            self._value = ordered[min(len(ordered) - 1, int(self._quantile * len(ordered)))]

    @property
    def quantile_s(self) -> float | None:
        """The quantile in seconds; None before enough answers were seen."""
        return self._value
