"""What recognisers do, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Gauge

from trunkline_hop.metrics import Metrics
from trunkline_speech.recogniser import Device


class Meters:
    """The metrics of all recognisers of a process.

    Args:
        service: its name in the suite's metrics.
        metrics: the process's.
    """

    def __init__(self, service: str, metrics: Metrics) -> None:
        self.service = service
        self.metrics = metrics
        self.waiting = Gauge(
            "speech_pieces_waiting",
            "Pieces of speech that wait for a pipeline",
            ["recogniser"],
            registry=metrics.registry,
        )
        self.pipelines = Gauge(
            "speech_pipelines",
            "Pipelines open on a device; 0 on one that is not in use",
            ["recogniser", "device"],
            registry=metrics.registry,
        )

    def of(self, name: str) -> Meter:
        """The metrics of one recogniser, `models/{model}/versions/{version}` or `engines/{engine}`."""
        return Meter(self, name)


class Meter:
    """The metrics of one recogniser while it is loaded."""

    def __init__(self, meters: Meters, name: str) -> None:
        model, _, version = name.partition("/versions/")
        self._meters = meters
        self._name = name
        self._names: set[str] = set()
        self._latency = meters.metrics.inference_latency.labels(meters.service, model, version)
        self._labels = (meters.service, model)
        self.waiting(0)

    def ran(self, seconds: float) -> None:
        """Work was done."""
        self._latency.observe(seconds)

    def failed(self, kind: str) -> None:
        """Work was not done."""
        self._meters.metrics.inference_errors.labels(*self._labels, kind).inc()

    def waiting(self, count: int) -> None:
        """So much waits."""
        self._meters.waiting.labels(self._name).set(count)

    def devices(self, devices: Iterable[Device]) -> None:
        """What it runs on."""
        for device in devices:
            self._names.add(device.name)
            self._meters.pipelines.labels(self._name, device.name).set(device.pipelines)

    def close(self) -> None:
        """It is no longer loaded: its gauges go."""
        for device in self._names:
            self._meters.pipelines.remove(self._name, device)
        self._names.clear()
        self._meters.waiting.remove(self._name)
