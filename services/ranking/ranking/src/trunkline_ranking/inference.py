"""One run of a model, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TypeVar

from trunkline_hop.errors import Internal
from trunkline_hop.metrics import Metrics
from trunkline_hop.telemetry import span
from trunkline_ranking.graph import OutputError

T = TypeVar("T")


class Inference:
    """Runs leased models and counts what they did.

    They run on the event loop: one row through the trees takes about 10 us, a hundred of them 120, a hand-over
    to a thread 50. A model that takes milliseconds would belong into a thread.
    """

    def __init__(self, service: str, metrics: Metrics) -> None:
        self.service = service
        self.metrics = metrics

    def begin(self, version: str) -> Run:
        """What one request does with a version (`models/{model}/versions/{version}`)."""
        return Run(self, version)


class Run:
    """The graphs of one version that one request runs, in turn."""

    __slots__ = ("_inference", "_seconds", "_version")

    def __init__(self, inference: Inference, version: str) -> None:
        self._inference = inference
        self._version = version
        self._seconds = 0.0

    def compute(self, name: str, work: Callable[[], T]) -> T:
        """Runs a graph within a span of this name.

        Raises:
            Internal: it failed, or answered with something else than it should.
        """
        began = perf_counter()
        try:
            with span(name, model=self._version):
                return work()
        except Exception as error:
            kind = "invalid_output" if isinstance(error, OutputError) else "runtime"
            model = self._version.rpartition("/versions/")[0]
            self._inference.metrics.inference_errors.labels(self._inference.service, model, kind).inc()
            raise Internal("INTERNAL", f"{self._version} failed") from error
        finally:
            self._seconds += perf_counter() - began

    def finish(self, scores: Iterable[float]) -> None:
        """Counts the time that all graphs took, and the scores that are answered with."""
        model, _, version = self._version.rpartition("/versions/")
        labels = (self._inference.service, model, version)
        self._inference.metrics.inference_latency.labels(*labels).observe(self._seconds)
        observe = self._inference.metrics.prediction.labels(*labels).observe
        for score in scores:
            observe(score)
