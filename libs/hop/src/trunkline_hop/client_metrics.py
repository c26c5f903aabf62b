"""Prometheus metrics of a process's client calls, by gRFC A66's names."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from trunkline_hop.metrics import LATENCY_BUCKETS_S

BREAKER_STATES = {"closed": 0, "half-open": 1, "open": 2}
"""What the gauge of a breaker shows."""


class ClientMetrics:
    """The client's collectors of one registry, shared by its channels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempt_duration = Histogram(
            "grpc_client_attempt_duration_seconds",
            "Time from the start of an attempt to its status",
            ["grpc_target", "grpc_method", "grpc_status"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.retries = Counter(
            "grpc_client_retries",
            "Attempts after a call's first",
            ["grpc_target", "grpc_method", "kind"],
            registry=registry,
        )
        self.breaker = Gauge(
            "grpc_client_breaker_state",
            "0 closed, 1 half-open, 2 open",
            ["grpc_target", "endpoint"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "grpc_client_attempts_in_flight",
            "Attempts without a status yet",
            ["grpc_target", "endpoint"],
            registry=registry,
        )

    @classmethod
    def of(cls, registry: CollectorRegistry) -> ClientMetrics:
        """The metrics of a registry, made once."""
        metrics = _by_registry.get(registry)
        if metrics is None:
            metrics = _by_registry[registry] = cls(registry)
        return metrics

    def watch(
        self, upstream: str, endpoint: str, in_flight: Callable[[], float], breaker: Callable[[], str]
    ) -> None:
        """Reads an endpoint's state whenever metrics are collected, so that calls pay nothing for it."""
        self.in_flight.labels(upstream, endpoint).set_function(in_flight)
        self.breaker.labels(upstream, endpoint).set_function(lambda: BREAKER_STATES[breaker()])

    def forget(self, upstream: str, endpoint: str) -> None:
        """An endpoint is gone."""
        self.in_flight.remove(upstream, endpoint)
        self.breaker.remove(upstream, endpoint)


_by_registry: WeakKeyDictionary[CollectorRegistry, ClientMetrics] = WeakKeyDictionary()


class MethodMetrics:
    """One method's children, bound once: looking one up costs more than counting."""

    __slots__ = ("_durations", "_labels", "_metrics")

    def __init__(self, metrics: ClientMetrics, upstream: str, path: str) -> None:
        self._metrics = metrics
        self._labels = (upstream, path[1:])
        self._durations: dict[str, Histogram] = {}

    def attempted(self, status: str, seconds: float) -> None:
        """An attempt ended."""
        child = self._durations.get(status)
        if child is None:
            child = self._durations[status] = self._metrics.attempt_duration.labels(*self._labels, status)
        child.observe(seconds)

    def repeated(self, kind: str) -> None:
        """A `retry` or a `hedge` was sent."""
        self._metrics.retries.labels(*self._labels, kind).inc()
