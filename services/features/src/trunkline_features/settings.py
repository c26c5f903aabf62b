"""What the service can be told."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from trunkline_hop.settings import ServiceSettings
from trunkline_valkey import is_address


class Settings(ServiceSettings):
    """Settings of the feature service, from `TRUNKLINE_*`."""

    port: int = Field(default=50051, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    redis_url: str
    """`redis://`, `rediss://` or `unix://` of Redis or Valkey."""
    redis_read_timeout_s: float = Field(default=0.25, gt=0)
    """Longest wait for rows, after which a read is answered with defaults."""
    redis_write_timeout_s: float = Field(default=1.0, gt=0)
    """Longest wait for a write."""
    redis_connections: int = Field(default=64, ge=1)
    """Most connections to the store."""

    @field_validator("redis_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not is_address(value):
            raise PydanticCustomError("url", "expected redis://, rediss:// or unix:// and an address")
        return value
