"""trunkline.retrieval.v1.VectorService: decode, one domain call, encode."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline_hop.call import Call
from trunkline_hop.errors import NotFound
from trunkline_retrieval import convert
from trunkline_retrieval.changes import Upsert
from trunkline_retrieval.indexes import Indexes, Open
from trunkline_retrieval.peers import Peers

_INLINE_VALUES = 32_768
"""A request with more numbers is decoded in a thread: on the event loop it would hold searches up by a millisecond
and more."""

ResponseT = TypeVar("ResponseT", bound=Message)


class VectorService:
    """Indexes, their vectors and snapshots.

    Args:
        indexes: as this replica has them.
        peers: the other replicas.
    """

    descriptor = pb.DESCRIPTOR.services_by_name["VectorService"]

    def __init__(self, indexes: Indexes, peers: Peers) -> None:
        self._indexes = indexes
        self._peers = peers

    async def CreateIndex(self, request: pb.CreateIndexRequest, call: Call) -> pb.CreateIndexResponse:
        """Creates an empty index."""
        created = await self._indexes.create(convert.index(request))
        return pb.CreateIndexResponse(index=convert.index_message(created))

    async def GetIndex(self, request: pb.GetIndexRequest, call: Call) -> pb.GetIndexResponse:
        """Returns one index."""
        found = await self._indexes.get(convert.index_of(request.name))
        return pb.GetIndexResponse(index=convert.index_message(found))

    async def ListIndexes(self, request: pb.ListIndexesRequest, call: Call) -> pb.ListIndexesResponse:
        """Lists indexes by name."""
        page, following = await self._indexes.list(request.page_size, request.page_token)
        return pb.ListIndexesResponse(
            indexes=[convert.index_message(each) for each in page], next_page_token=following
        )

    async def DeleteIndex(self, request: pb.DeleteIndexRequest, call: Call) -> pb.DeleteIndexResponse:
        """Deletes an index with its vectors and snapshots."""

        async def here(found: Open) -> pb.DeleteIndexResponse:
            await self._indexes.delete(found)
            return pb.DeleteIndexResponse()

        return await self._on_writer(request.name, request, call, here)

    async def UpsertVectors(self, request: pb.UpsertVectorsRequest, call: Call) -> pb.UpsertVectorsResponse:
        """Adds or replaces vectors."""

        async def here(found: Open) -> pb.UpsertVectorsResponse:
            await found.writer.acquire()
            change = await self._decode(request, found)
            return pb.UpsertVectorsResponse(sequence=await found.writer.write(change))

        return await self._on_writer(request.index, request, call, here)

    async def DeleteVectors(self, request: pb.DeleteVectorsRequest, call: Call) -> pb.DeleteVectorsResponse:
        """Deletes vectors by id."""

        async def here(found: Open) -> pb.DeleteVectorsResponse:
            return pb.DeleteVectorsResponse(sequence=await found.writer.write(convert.delete(request)))

        return await self._on_writer(request.index, request, call, here)

    async def Search(self, request: pb.SearchRequest, call: Call) -> pb.SearchResponse:
        """The nearest vectors of each query."""
        replica = (await self._indexes.get(convert.index_of(request.index))).replica
        found = await replica.search(convert.search(request, replica.index), call.remaining())
        return convert.found_message(found, replica.index)

    async def BuildSnapshot(self, request: pb.BuildSnapshotRequest, call: Call) -> pb.BuildSnapshotResponse:
        """Starts to build a snapshot."""

        async def here(found: Open) -> pb.BuildSnapshotResponse:
            begun = await found.builds.start(request.request_id, hold=request.hold)
            return pb.BuildSnapshotResponse(snapshot=convert.snapshot_message(begun, found.replica.index))

        return await self._on_writer(request.index, request, call, here)

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, call: Call) -> pb.GetSnapshotResponse:
        """Returns one snapshot."""
        found = await self._indexes.get(convert.index_of(request.name))
        build = await found.builds.get(convert.snapshot_of(request.name))
        return pb.GetSnapshotResponse(snapshot=convert.snapshot_message(build, found.replica.index))

    async def ListSnapshots(self, request: pb.ListSnapshotsRequest, call: Call) -> pb.ListSnapshotsResponse:
        """Lists the snapshots of an index, newest first."""
        found = await self._indexes.get(convert.index_of(request.parent))
        page, following = await found.builds.list(request.page_size, request.page_token)
        messages = [convert.snapshot_message(each, found.replica.index) for each in page]
        return pb.ListSnapshotsResponse(snapshots=messages, next_page_token=following)

    async def ActivateSnapshot(
        self, request: pb.ActivateSnapshotRequest, call: Call
    ) -> pb.ActivateSnapshotResponse:
        """Moves searches over to a snapshot."""

        async def here(found: Open) -> pb.ActivateSnapshotResponse:
            build = await found.builds.activate(convert.snapshot_of(request.name))
            return pb.ActivateSnapshotResponse(snapshot=convert.snapshot_message(build, found.replica.index))

        return await self._on_writer(request.name, request, call, here)

    async def _on_writer(
        self, name: str, request: Message, call: Call, here: Callable[[Open], Awaitable[ResponseT]]
    ) -> ResponseT:
        """Does it on the replica that holds the lease of the index, which may be this one."""
        index_id = convert.index_of(name)

        async def on_index() -> ResponseT:
            found = await self._indexes.get(index_id)
            try:
                return await here(found)
            except NotFound:
                # Deleted, and perhaps created again, by another replica since we looked.
                now = await self._indexes.look(index_id)
                if now is found:
                    raise
            return await here(now)

        return await self._peers.on_writer(name, request, call, on_index)

    async def _decode(self, request: pb.UpsertVectorsRequest, found: Open) -> Upsert:
        declared = found.replica.index
        if len(request.vectors) * declared.dimension <= _INLINE_VALUES:
            return convert.upsert(request, declared)
        return await asyncio.to_thread(convert.upsert, request, declared)
