"""The readers that the recommender's recipe held out, as rows of the feature store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import grpc.aio

from trunkline.features.v1 import features_pb2 as pb
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline_artifact import SIGNATURE
from trunkline_recommender import artifact
from trunkline_recommender.history import Row, Shelf, rows
from trunkline_recommender.preview import Preview

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Readers:
    """Readers with their logs, and what they went on to like."""

    preview: Preview
    shelf: Shelf
    length: int
    """How many of a reader's last books the feature store knows."""

    @classmethod
    def shipped(cls) -> Self:
        """Those that come with the model."""
        place = artifact.directory()
        signature = json.loads((place / SIGNATURE).read_bytes())
        items = json.loads((place / artifact.ITEMS).read_bytes())["items"]
        preview = Preview.open(place, datetime.now(UTC))
        return cls(preview, Shelf.of(items), signature["history"]["length"])

    @property
    def ids(self) -> list[str]:
        """Who they are."""
        return [reader.id for reader in self.preview.readers]

    def earlier(self, reader_id: str) -> list[str]:
        """The books that a reader read before those that the feature store knows; none for an unknown reader."""
        logs = (reader.log for reader in self.preview.readers if reader.id == reader_id)
        return [event.book_id for log in logs for event in log[: -self.length]]

    async def write(self, channel: grpc.aio.Channel) -> None:
        """Writes their logs as feature rows."""
        stub = FeatureServiceStub(channel)
        by_view: dict[str, list[Row]] = {}
        for reader in self.preview.readers:
            for row in rows(reader.id, reader.log, self.shelf, self.length):
                by_view.setdefault(row.view, []).append(row)
        for view, written in by_view.items():
            columns = [
                _column(name, [row.values[place] for row in written])
                for place, name in enumerate(written[0].fields)
            ]
            request = pb.WriteFeaturesRequest(
                view=f"views/{view}",
                entity_ids=[row.entity_id for row in written],
                event_times_us=[row.event_time_us for row in written],
                columns=columns,
            )
            await stub.WriteFeatures(request, timeout=TIMEOUT_S)


def _column(name: str, values: Sequence[Any]) -> pb.Column:
    """The values of one field; NaN is a null."""
    if isinstance(values[0], str):
        return pb.Column(feature=name, values=pb.Values(string=pb.StringValues(values=values)))
    if isinstance(values[0], list):
        vectors = pb.Float32VectorValues(values=[number for vector in values for number in vector])
        return pb.Column(feature=name, values=pb.Values(float32_vector=vectors))
    nulls = [value != value for value in values]
    present, null = pb.FEATURE_STATUS_PRESENT, pb.FEATURE_STATUS_NULL
    numbers = pb.Float64Values(
        values=[0.0 if missing else value for value, missing in zip(values, nulls, strict=True)]
    )
    statuses = [null if missing else present for missing in nulls]
    return pb.Column(feature=name, values=pb.Values(float64=numbers), statuses=statuses)
