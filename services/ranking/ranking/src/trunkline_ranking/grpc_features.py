"""The feature store over the wire, as scoring's `Features`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc.aio

from trunkline.features.v1 import features_pb2 as pb
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline_hop.errors import Unavailable
from trunkline_ranking.features import Online

_STORED = frozenset({pb.FEATURE_STATUS_PRESENT, pb.FEATURE_STATUS_STALE, pb.FEATURE_STATUS_DEFAULTED})


class GrpcFeatures:
    """trunkline.features.v1.FeatureService on a channel of hop, which raises Faults."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = FeatureServiceStub(channel)

    async def read(
        self, features: Sequence[str], entities: Mapping[str, str], timeout_s: float
    ) -> Sequence[Online]:
        """See `Features.read`. An answer of another shape than asked is UNAVAILABLE."""
        ids = [pb.EntityIds(entity_type=kind, ids=[entity]) for kind, entity in entities.items()]
        request = pb.GetOnlineFeaturesRequest(features=features, entities=ids)
        reply = await self._stub.GetOnlineFeatures(request, timeout=timeout_s)
        columns = reply.columns
        if len(columns) != len(features):
            raise _unusable(f"{len(columns)} columns for {len(features)} features")
        return [_online(name, column) for name, column in zip(features, columns, strict=True)]


def _online(name: str, column: pb.Column) -> Online:
    kind = column.values.WhichOneof("kind")
    if column.feature != name or kind not in ("float64", "int64", "bool") or len(column.statuses) != 1:
        raise _unusable(f"no single number for {name}")
    values = getattr(column.values, kind).values
    if len(values) != 1:
        raise _unusable(f"{len(values)} values for {name}")
    status = column.statuses[0]
    return Online(float(values[0]) if status in _STORED else None, status == pb.FEATURE_STATUS_PRESENT)


def _unusable(what: str) -> Unavailable:
    return Unavailable("UNREACHABLE", f"the feature store answered with {what}")
