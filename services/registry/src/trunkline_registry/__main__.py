"""Serve the registry: python -m trunkline_registry."""

from trunkline_hop.serve import serve
from trunkline_hop.server import Server
from trunkline_registry.artifacts import Artifacts
from trunkline_registry.blobs import DirectoryBlobs
from trunkline_registry.models import Models
from trunkline_registry.postgres.database import Database
from trunkline_registry.postgres.feed import Feed
from trunkline_registry.postgres.sweep import Sweep
from trunkline_registry.service import RegistryService
from trunkline_registry.settings import Settings
from trunkline_registry.versions import Versions
from trunkline_registry.watch import Watch


async def build(server: Server, settings: Settings) -> None:
    """Wires the registry: PostgreSQL for what is said of models, a directory for their files."""
    artifacts = Artifacts(DirectoryBlobs.open(settings.blob_dir), settings.artifact_limit_bytes)
    database = await server.own(Database.open(settings.postgres_dsn, pool_size=settings.postgres_pool_size))
    feed = Feed(database)
    server.spawn(feed.run(server.refresh), name="feed")
    server.spawn(Sweep(database, server.clock).run(), name="sweep")
    server.readiness("postgres", lambda: feed.connected)
    versions = Versions(database, artifacts, server.clock)
    server.add(RegistryService(Models(database, server.clock), versions, artifacts, Watch(feed, feed.recent)))


if __name__ == "__main__":
    serve("registry", Settings, build)
