"""What the gateway can be told."""

from __future__ import annotations

from pydantic import Field

from trunkline_hop.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the gateway, from `TRUNKLINE_*`. A service without an address is not offered.

    An address is `host:port[,host:port...]`, `dns:///host:port` or `unix:path`.
    """

    port: int = Field(default=50050, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    features: str = ""
    """Address of the feature store."""
    ranking: str = ""
    """Address of ranking."""
    registry: str = ""
    """Address of the model registry."""
