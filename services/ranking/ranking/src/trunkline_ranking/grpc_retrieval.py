"""The vector index over the wire, as ranking's `Retrieval`."""

from __future__ import annotations

import grpc.aio
import numpy as np

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline.retrieval.v1.retrieval_pb2_grpc import VectorServiceStub
from trunkline_hop.errors import Unavailable
from trunkline_ranking.retrieval import Found, Search


class GrpcRetrieval:
    """trunkline.retrieval.v1.VectorService on a channel of hop, which raises Faults."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = VectorServiceStub(channel)

    async def search(self, search: Search, timeout_s: float) -> Found:
        """See `Retrieval.search`. An answer of another shape than asked is UNAVAILABLE."""
        query = pb.Query(values=search.vector.tolist())
        request = pb.SearchRequest(
            index=search.index, queries=[query], top_k=search.top_k, filter=search.filter
        )
        reply = await self._stub.Search(request, timeout=timeout_s)
        if len(reply.results) != 1:
            raise _unusable(f"{len(reply.results)} results for one query")
        ids = list(reply.results[0].ids)
        scores = np.array(reply.results[0].scores, np.float32)
        if len(ids) != len(scores) or not np.isfinite(scores).all():
            raise _unusable(f"{len(ids)} ids without a finite score each")
        if len(set(ids)) != len(ids):
            raise _unusable("an id twice")
        return Found(ids, scores, reply.snapshot, reply.sequence)


def _unusable(what: str) -> Unavailable:
    return Unavailable("UNREACHABLE", f"retrieval answered with {what}")
