"""One run of a model, measured."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from trunkline_hop.errors import Internal
from trunkline_hop.metrics import Metrics
from trunkline_hop.telemetry import span
from trunkline_modelstore import Lease
from trunkline_ranking.fraud_model import FraudModel, OutputError


class Inference:
    """Runs leased models and counts what they did.

    It runs on the event loop: one row through the trees takes about 10 us, a hand-over to a thread 50. A
    model that takes over 1 ms a row would belong into a thread.
    """

    def __init__(self, service: str, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics

    def probability(self, lease: Lease[FraudModel], row: list[float]) -> float:
        """Probability of fraud of one row, columns as the model's signature names them.

        Raises:
            Internal: the model failed, or answered with something else.
        """
        model, _, version = lease.version.rpartition("/versions/")
        labels = (self._service, model, version)
        began = perf_counter()
        try:
            with span("compute", model=lease.version):
                probability = float(lease.model.probabilities(np.array([row]))[0])
        except Exception as error:
            kind = "invalid_output" if isinstance(error, OutputError) else "runtime"
            self._metrics.inference_errors.labels(self._service, model, kind).inc()
            raise Internal("INTERNAL", f"{lease.version} failed") from error
        self._metrics.inference_latency.labels(*labels).observe(perf_counter() - began)
        self._metrics.prediction.labels(*labels).observe(probability)
        return probability
