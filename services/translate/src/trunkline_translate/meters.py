"""What engines do, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from trunkline_hop.client_metrics import BREAKER_STATES
from trunkline_hop.metrics import LATENCY_BUCKETS_S, Metrics
from trunkline_translate.engine import Done, Identity


class Meters:
    """The metrics of all engines of a process.

    Args:
        service: its name in the suite's metrics.
        metrics: the process's.
    """

    def __init__(self, service: str, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics
        registry = metrics.registry
        self._first = Histogram(
            "translate_first_token_seconds",
            "Time from asking an engine to the first piece of its answer",
            ["engine"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._tokens = Counter(
            "translate_tokens", "Tokens that engines read and wrote", ["engine", "kind"], registry=registry
        )
        self._fallbacks = Counter(
            "translate_fallbacks",
            "Sentences that one engine left to the next",
            ["from", "to", "why"],
            registry=registry,
        )
        self._checks = Counter(
            "translate_check_failures",
            "Answers of an engine that a check found wrong",
            ["engine", "check"],
            registry=registry,
        )
        self._up = Gauge(
            "translate_engine_up",
            "1 while an engine is asked for translations",
            ["engine"],
            registry=registry,
        )
        self._breaker = Gauge(
            "translate_engine_breaker_state", "0 closed, 1 half-open, 2 open", ["engine"], registry=registry
        )

        self._sentences = Gauge(
            "translate_sentences",
            "Sentences that an engine of this process translates now, or that wait for it",
            ["engine", "state"],
            registry=registry,
        )

    def watch(self, engine: str, up: Callable[[], bool], breaker: Callable[[], str]) -> None:
        """Reads an engine's state whenever metrics are collected."""
        self._up.labels(engine).set_function(lambda: float(up()))
        self._breaker.labels(engine).set_function(lambda: BREAKER_STATES[breaker()])

    def count(self, engine: str, live: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Reads how much an engine has to do whenever metrics are collected."""
        self._sentences.labels(engine, "live").set_function(live)
        self._sentences.labels(engine, "waiting").set_function(waiting)

    def began(self, engine: str, seconds: float) -> None:
        """The first piece of an answer is there."""
        self._first.labels(engine).observe(seconds)

    def answered(self, identity: Identity, seconds: float, done: Done) -> None:
        """An answer is complete."""
        model, _, version = identity.model_version.partition("/versions/")
        self._metrics.inference_latency.labels(self._service, model, version).observe(seconds)
        self._tokens.labels(identity.engine, "prompt").inc(done.prompt_tokens)
        self._tokens.labels(identity.engine, "completion").inc(done.completion_tokens)

    def failed(self, identity: Identity, kind: str) -> None:
        """An answer broke off, or never began."""
        model = identity.model_version.partition("/versions/")[0]
        self._metrics.inference_errors.labels(self._service, model, kind).inc()

    def fell_back(self, left: str, to: str, why: str) -> None:
        """A sentence goes from one engine to the next."""
        self._fallbacks.labels(left, to, why).inc()

    def check_failed(self, engine: str, check: str) -> None:
        """A check found an answer wrong."""
        self._checks.labels(engine, check).inc()
