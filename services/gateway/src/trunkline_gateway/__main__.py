"""Serve the gateway: python -m trunkline_gateway."""

from __future__ import annotations

from trunkline_gateway.forward import Forward
from trunkline_gateway.routes import routes
from trunkline_gateway.settings import Settings
from trunkline_hop import Server, serve


async def build(server: Server, settings: Settings) -> None:
    """Offers every service that has an address. The gateway itself is ready at once."""
    for name, (service, target) in routes(settings).items():
        forward = Forward(service, server.connect(name, target))
        server.add_proxy(service, forward, forward.healthy)


if __name__ == "__main__":
    serve("gateway", Settings, build)
