"""What the service can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from trunkline_hop.resolver import Target
from trunkline_hop.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the vector index, from `TRUNKLINE_*`."""

    port: int = Field(default=50052, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    blob_dir: Path = Path(".trunkline/indexes")
    """Directory of the indexes. Replicas share it."""
    advertise: str = ""
    """`host:port` at which other replicas call this one; empty: host and port as it listens."""
    poll_s: float = Field(default=0.1, gt=0, le=1)
    """How often a replica looks for what others wrote."""
    snapshot_after: int = Field(default=20_000, ge=1)
    """Changes since the last snapshot after which another is built; on a large index, a tenth of it."""
    snapshots_kept: int = Field(default=3, ge=1)
    """How many of the newest snapshots are kept."""

    @field_validator("advertise")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            if value:
                Target.parse(value)
        except ValueError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None
        return value
