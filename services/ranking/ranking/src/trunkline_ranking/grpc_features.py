"""The feature store over the wire, as ranking's `Features`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from trunkline.features.v1 import features_pb2 as pb
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline_hop.call import DEGRADED_KEY
from trunkline_hop.errors import Unavailable
from trunkline_ranking.features import FeatureQuery, FeatureRow, Online

V = TypeVar("V")

_STORED = frozenset({pb.FEATURE_STATUS_PRESENT, pb.FEATURE_STATUS_STALE, pb.FEATURE_STATUS_DEFAULTED})
_UNREACHABLE = "feature_store_unreachable"


class GrpcFeatures:
    """trunkline.features.v1.FeatureService on a channel of hop, which raises Faults."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = FeatureServiceStub(channel)

    async def read(self, query: FeatureQuery, entities: Mapping[str, str], timeout_s: float) -> FeatureRow:
        """See `Features.read`. An answer of another shape than asked is UNAVAILABLE."""
        names = query.names
        ids = [pb.EntityIds(entity_type=kind, ids=[entity]) for kind, entity in entities.items()]
        call = self._stub.GetOnlineFeatures(
            pb.GetOnlineFeaturesRequest(features=names, entities=ids), timeout=timeout_s
        )
        reply = await call
        if _UNREACHABLE in (await call.trailing_metadata()).get_all(DEGRADED_KEY):
            # Every value is its default then, and an entity that has rows looks like one that has none.
            raise Unavailable("STORE_UNREACHABLE", "the feature store cannot reach its rows")
        columns = reply.columns
        if len(columns) != len(names):
            raise _unusable(f"{len(columns)} columns for {len(names)} features")
        pairs = iter(zip(names, columns, strict=True))
        return FeatureRow(
            _take(pairs, len(query.numbers), _number),
            _take(pairs, len(query.texts), _text),
            _take(pairs, len(query.vectors), _vector),
        )


def _take(
    pairs: Iterable[tuple[str, pb.Column]], count: int, value_of: Callable[[pb.Values], V | None]
) -> Sequence[Online[V]]:
    return [_online(name, column, value_of) for _, (name, column) in zip(range(count), pairs, strict=False)]


def _online(name: str, column: pb.Column, value_of: Callable[[pb.Values], V | None]) -> Online[V]:
    value = value_of(column.values)
    if column.feature != name or value is None or len(column.statuses) != 1:
        raise _unusable(f"no single value of its kind for {name}")
    status = column.statuses[0]
    return Online(value if status in _STORED else None, status == pb.FEATURE_STATUS_PRESENT)


def _number(values: pb.Values) -> float | None:
    kind = values.WhichOneof("kind")
    single = _single(getattr(values, kind)) if kind in ("float64", "int64", "bool") else None
    return None if single is None else float(single)


def _text(values: pb.Values) -> str | None:
    return _single(values.string) if values.HasField("string") else None


def _vector(values: pb.Values) -> NDArray[np.float32] | None:
    return np.array(values.float32_vector.values, np.float32) if values.HasField("float32_vector") else None


def _single(array: Any) -> Any:
    return array.values[0] if len(array.values) == 1 else None


def _unusable(what: str) -> Unavailable:
    return Unavailable("UNREACHABLE", f"the feature store answered with {what}")
