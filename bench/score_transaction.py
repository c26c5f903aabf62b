"""ScoreTransaction through the gateway at 100 requests/s, open loop, beside a bare chain of three hops.

python -m bench.score_transaction [--seconds 5] [--rounds 4] [--rate 100] [--all-cores]
"""

from __future__ import annotations

import json
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path

import grpc
import grpc.aio
import uvloop

from bench.chain import GATEWAY, Load, arguments, compare, per_hop, suite_beside
from trunkline.features.v1 import features_pb2
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline.ranking.v1 import ranking_pb2
from trunkline.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from trunkline_fraud.stream import Replay, Step

SHAPE = {0: [1], 1: [2], 2: []}
"""gateway -> ranking -> features."""
SPANS = 6


def request_of(step: Step) -> ranking_pb2.ScoreTransactionRequest:
    request = ranking_pb2.ScoreTransactionRequest(
        transaction=ranking_pb2.Transaction(
            customer_id=step.customer_id, terminal_id=step.terminal_id, amount=step.amount
        )
    )
    request.transaction.time.FromMicroseconds(step.time_us)
    return request


async def warm_features(channel: grpc.aio.Channel, replay: Replay) -> None:
    stub = FeatureServiceStub(channel)
    for table in replay.tables():
        columns = [
            features_pb2.Column(
                feature=name, values=features_pb2.Values(float64=features_pb2.Float64Values(values=values))
            )
            for name, values in zip(table.fields, table.columns, strict=True)
        ]
        await stub.WriteFeatures(
            features_pb2.WriteFeaturesRequest(
                view=f"views/{table.view}",
                entity_ids=table.entity_ids,
                event_times_us=table.event_times_us,
                columns=columns,
            )
        )


async def measure(data_dir: Path, load: Load) -> dict[str, object]:
    async with grpc.aio.insecure_channel(GATEWAY) as door:
        replay = Replay.simulate(datetime.now(UTC))
        await warm_features(door, replay)
        requests = [request_of(step) for step in replay.steps()]
        score = RankingServiceStub(door).ScoreTransaction

        def suite(number: int) -> Awaitable[object]:
            return score(requests[number % len(requests)], timeout=2)

        def traced(number: int, traceparent: str) -> Awaitable[object]:
            return score(requests[number], timeout=2, metadata=(("traceparent", traceparent),))

        figures = await compare(suite, [request.SerializeToString() for request in requests], load)
        figures["self_ms_per_hop_p50"] = await per_hop(data_dir, traced, SPANS)
        return figures


def main() -> None:
    load = arguments(__doc__, __name__)
    with suite_beside(SHAPE, load) as data_dir:
        print(json.dumps(uvloop.run(measure(data_dir, load)), indent=2))


if __name__ == "__main__":
    main()
