"""What the indexes of this replica hold, as Prometheus metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from trunkline_hop.clock import Clock
from trunkline_hop.metrics import LATENCY_BUCKETS_S
from trunkline_retrieval.indexes import Indexes
from trunkline_retrieval.replica import Replica

_GAUGES = {
    "vectors": "Live vectors",
    "unmerged_changes": "Vectors upserted and ids deleted since the snapshot",
    "sequence": "Sequence number of the last change that this replica has",
    "snapshot_age_seconds": "Time since the snapshot in use was built",
    "follower_lag_seconds": "Time since this replica had all that was written; 0 on the one that writes",
    "writer": "1 on the replica that holds the lease",
    "damaged": "1 while the index cannot be served",
    "refused_snapshots": "Snapshots whose files are not what was written",
}


def search_times(registry: CollectorRegistry) -> Callable[[str], Callable[[float], None]]:
    """By index, what is to be told how many seconds a search took in FAISS and in the changes since."""
    histogram = Histogram(
        "retrieval_search_seconds",
        "Time of a search, all its queries together",
        ["index"],
        buckets=LATENCY_BUCKETS_S,
        registry=registry,
    )
    return lambda index: histogram.labels(index).observe


@dataclass(frozen=True, slots=True)
class IndexMetrics(Collector):
    """Gauges of every index, read when they are asked for."""

    indexes: Indexes
    clock: Clock

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family a gauge."""
        rows = {each.replica.index.id: self._row(each.replica) for each in self.indexes.open}
        for name, text in _GAUGES.items():
            family = GaugeMetricFamily(f"retrieval_{name}", text, labels=["index"])
            for index, row in rows.items():
                if name in row:
                    family.add_metric([index], row[name])
            yield family

    def _row(self, replica: Replica) -> dict[str, float]:
        row = {
            "writer": float(replica.writing),
            "damaged": float(bool(replica.damage)),
            "refused_snapshots": float(len(replica.refused)),
        }
        collection = replica.loaded
        if collection is None:
            return row
        row["vectors"] = collection.vector_count
        row["unmerged_changes"] = collection.unmerged_count
        row["sequence"] = collection.sequence
        row["follower_lag_seconds"] = 0.0 if replica.writing else time.monotonic() - replica.followed_at
        if collection.snapshot is not None:
            age = self.clock.now() - collection.snapshot.manifest.end_time
            row["snapshot_age_seconds"] = age.total_seconds()
        return row
