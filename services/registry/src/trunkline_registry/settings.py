"""Settings of the registry, beyond those of every service."""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from trunkline_hop.settings import ServiceSettings


class Settings(ServiceSettings):
    """`TRUNKLINE_*` of this process."""

    port: int = Field(default=50056, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    postgres_dsn: str
    """Where the metadata is, as libpq takes it: `postgresql://user:password@host/database`."""
    blob_dir: Path
    """Directory of the artifacts, on a file system with hard links; replicas share it."""
    postgres_pool_size: int = Field(default=8, ge=1)
    """Connections to PostgreSQL at most, besides the one that listens."""
    artifact_limit_bytes: int = Field(default=32 * 2**30, ge=1)
    """Largest artifact that is taken."""

    @field_validator("postgres_dsn")
    @classmethod
    def _dsn(cls, value: str) -> str:
        try:
            conninfo_to_dict(value)
        except psycopg.ProgrammingError:
            # libpq's own words quote the value, and a password with it.
            raise PydanticCustomError(
                "dsn", "expected what libpq takes, such as postgresql://user:password@host/database"
            ) from None
        return value
