"""Recommend through the gateway at 100 requests/s, open loop, beside bare hops of the same shape.

python -m bench.recommend [--seconds 5] [--rounds 4] [--rate 100] [--all-cores]
"""

from __future__ import annotations

import json
from collections.abc import Awaitable
from pathlib import Path

import grpc.aio
import uvloop

from bench.chain import GATEWAY, Load, arguments, compare, per_hop, suite_beside
from trunkline.ranking.v1 import ranking_pb2
from trunkline.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from trunkline_local.acts.recommend import Readers

SHAPE = {0: [1], 1: [2, 3], 2: [], 3: []}
"""gateway -> ranking -> features, then retrieval."""
SPANS = 12


async def measure(data_dir: Path, load: Load) -> dict[str, object]:
    async with grpc.aio.insecure_channel(GATEWAY) as door:
        readers = Readers.shipped()
        await readers.write(door)
        requests = [ranking_pb2.RecommendRequest(user_id=reader) for reader in readers.ids]
        recommend = RankingServiceStub(door).Recommend
        degraded = 0

        async def suite(number: int) -> None:
            nonlocal degraded
            call = recommend(requests[number % len(requests)], timeout=2)
            answer = await call
            degraded += answer.source != ranking_pb2.SOURCE_PERSONAL

        def traced(number: int, traceparent: str) -> Awaitable[object]:
            return recommend(
                requests[number % len(requests)], timeout=2, metadata=(("traceparent", traceparent),)
            )

        figures = await compare(suite, [request.SerializeToString() for request in requests], load)
        figures["not_personal"] = degraded
        figures["self_ms_per_hop_p50"] = await per_hop(data_dir, traced, SPANS)
        return figures


def main() -> None:
    load = arguments(__doc__, __name__)
    with suite_beside(SHAPE, load) as data_dir:
        print(json.dumps(uvloop.run(measure(data_dir, load)), indent=2))


if __name__ == "__main__":
    main()
