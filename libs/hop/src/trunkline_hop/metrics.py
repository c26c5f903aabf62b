"""Prometheus metrics of a process: gRPC's by gRFC A66's names, the suite's own as `ml_*`."""

from __future__ import annotations

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

# A series per series, that says when it began, is one more than anybody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

LATENCY_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""From a tenth of a millisecond up, as calls here take."""


class Metrics:
    """The metrics of one process, in a registry of its own so that several servers fit into one test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.server_call_duration = Histogram(
            "grpc_server_call_duration_seconds",
            "Time from the arrival of a call to its status",
            ["grpc_method", "grpc_status"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.inference_latency = Histogram(
            "ml_inference_latency_seconds",
            "Time in the model",
            ["service", "model", "version"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.inference_errors = Counter(
            "ml_inference_errors",
            "Inferences that failed",
            ["service", "model", "error_type"],
            registry=self.registry,
        )
        self.prediction = Histogram(
            "ml_prediction",
            "Distribution of a model's scores",
            ["service", "model", "version"],
            buckets=tuple(i / 20 for i in range(1, 21)),
            registry=self.registry,
        )
        self.degraded = Counter(
            "ml_degraded_answers",
            "Answers that were degraded",
            ["grpc_method", "degradation"],
            registry=self.registry,
        )
        self.in_flight = Gauge("hop_calls_in_flight", "Calls being handled", registry=self.registry)
        self.queued = Gauge("hop_calls_queued", "Calls waiting for a slot", registry=self.registry)
        self.limit = Gauge("hop_concurrency_limit", "Calls handled at once at most", registry=self.registry)
        self.sessions = Gauge("hop_sessions", "Long streams open", registry=self.registry)
        self.shed = Counter(
            "hop_calls_shed", "Calls refused by admission", ["reason"], registry=self.registry
        )
        self._durations: dict[tuple[str, grpc.StatusCode], Histogram] = {}

    def observe_call(self, path: str, code: grpc.StatusCode, seconds: float) -> None:
        """Counts one finished call. Children are bound once, because looking one up costs more than counting."""
        child = self._durations.get((path, code))
        if child is None:
            child = self.server_call_duration.labels(path[1:], code.name)
            self._durations[path, code] = child
        child.observe(seconds)
