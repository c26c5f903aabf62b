"""Serve vector indexes: python -m trunkline_retrieval."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from contextlib import aclosing

from trunkline_hop.channel import Channel, connect
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.serve import serve
from trunkline_hop.server import Server
from trunkline_hop.settings import CannotStart
from trunkline_retrieval.device import Device
from trunkline_retrieval.indexes import Indexes
from trunkline_retrieval.metrics import IndexMetrics, search_times
from trunkline_retrieval.peers import Peers
from trunkline_retrieval.service import VectorService
from trunkline_retrieval.settings import Settings
from trunkline_retrieval.storage import DirectoryStorage


async def build(server: Server, settings: Settings) -> None:
    """Wires the service."""
    try:
        storage = await asyncio.to_thread(DirectoryStorage.open, settings.blob_dir)
    except OSError as error:
        raise CannotStart(f"TRUNKLINE_BLOB_DIR: {error.filename}: {error.strerror}") from error

    def address() -> str:
        host = socket.gethostname() if settings.host in ("0.0.0.0", "::") else settings.host
        return settings.advertise or f"{host}:{server.port}"

    # One attempt, no health check, a short breaker: what follows a failure is a look at who holds the lease now.
    peer = dataclasses.replace(
        ClientSettings.of(settings), attempts=1, health_check=False, breaker_open_s=0.5
    )

    def to_peer(target: str) -> Channel:
        return connect("retrieval", target, peer, clock=server.clock, tracing=server.tracing)

    indexes = Indexes(
        storage=storage,
        device=Device.detect(),
        clock=server.clock,
        address=address,
        poll_s=settings.poll_s,
        snapshot_after=settings.snapshot_after,
        snapshots_kept=settings.snapshots_kept,
        observe=search_times(server.metrics.registry),
    )
    await server.own(aclosing(indexes))
    server.metrics.registry.register(IndexMetrics(indexes, server.clock))
    server.add(VectorService(indexes, await server.own(Peers(to_peer))))
    server.readiness("indexes", lambda: indexes.loaded)
    server.spawn(indexes.follow(), name="indexes")
    server.spawn(indexes.leave(server.draining), name="leases")


if __name__ == "__main__":
    serve("retrieval", Settings, build)
