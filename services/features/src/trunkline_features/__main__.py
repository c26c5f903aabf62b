"""Serve features: python -m trunkline_features."""

from __future__ import annotations

from trunkline_features.catalog import Catalog
from trunkline_features.online import OnlineStore
from trunkline_features.redis_rows import RedisRows
from trunkline_features.redis_views import RedisViews
from trunkline_features.service import FeatureService
from trunkline_features.settings import Settings
from trunkline_hop.serve import serve
from trunkline_hop.server import Server
from trunkline_valkey import Store


async def build(server: Server, settings: Settings) -> None:
    """Wires the service."""
    store = await server.own(
        Store(settings.redis_url, what="feature store", connections=settings.redis_connections)
    )
    catalog = Catalog(RedisViews(store, timeout_s=settings.redis_write_timeout_s), server.clock)
    rows = RedisRows(
        store,
        read_timeout_s=settings.redis_read_timeout_s,
        write_timeout_s=settings.redis_write_timeout_s,
    )
    server.add(FeatureService(catalog, OnlineStore(rows, catalog, server.clock)))
    server.readiness("views", lambda: catalog.loaded)
    server.spawn(catalog.load(), name="views")


if __name__ == "__main__":
    serve("features", Settings, build)
