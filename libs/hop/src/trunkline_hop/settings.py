"""Settings that every service has, read from `TRUNKLINE_*` environment variables."""

from __future__ import annotations

import difflib
import os
import sys
from typing import Literal, TypeVar

from pydantic import Field, FilePath, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "TRUNKLINE_"


class ServiceSettings(BaseSettings):
    """What every process can be told. A service adds its own fields.

    An environment variable with the prefix that no field knows stops the start, so that a misspelt
    setting is never silently ignored.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 in a container."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of /metrics and /healthz; the gRPC port + 1000 when unset, a free one when 0."""

    drain_delay_s: float = Field(default=0.0, ge=0)
    """How long a stopping process still accepts calls after it said NOT_SERVING, for balancers to notice."""
    drain_grace_s: float = Field(default=20.0, ge=0)
    """How long accepted calls may take to finish after that."""

    concurrency_limit: int = Field(default=64, ge=1)
    """Calls handled at once; more wait in the queue."""
    queue_limit: int = Field(default=256, ge=0)
    """Calls that wait at most; more are shed."""
    queue_ttl_s: float = Field(default=1.0, gt=0)
    """Longest wait in the queue."""
    session_limit: int = Field(default=1000, ge=1)
    """Long streams open at once."""
    session_age_s: float = Field(default=3600.0, gt=0)
    """Age at which a long stream is asked to move on, with a resume token."""

    otlp_endpoint: str = ""
    """`host:port` of an OTLP gRPC receiver for spans; empty records none."""
    trace_sample_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of traces that start here which are recorded; others follow their parent."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe record that is written."""
    channelz: bool = False
    """Serve grpc.channelz.v1."""

    tls_cert: FilePath | None = None
    """Certificate chain of this server, PEM; read again when it changes."""
    tls_key: FilePath | None = None
    """Its private key, PEM."""
    tls_client_ca: FilePath | None = None
    """CA that clients must have a certificate from (mutual TLS)."""
    tls_ca: FilePath | None = None
    """CA of the servers this process calls; unset: plain text."""
    tls_client_cert: FilePath | None = None
    """Certificate chain this process shows to servers."""
    tls_client_key: FilePath | None = None
    """Its private key, PEM."""

    @model_validator(mode="after")
    def _tls_in_pairs(self) -> ServiceSettings:
        for one, other in (("tls_cert", "tls_key"), ("tls_client_cert", "tls_client_key")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{PREFIX}{one.upper()} and {PREFIX}{other.upper()} go together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError(f"{PREFIX}TLS_CLIENT_CA needs {PREFIX}TLS_CERT and {PREFIX}TLS_KEY")
        if self.tls_client_cert is not None and self.tls_ca is None:
            raise ValueError(f"{PREFIX}TLS_CLIENT_CERT needs {PREFIX}TLS_CA")
        return self


class CannotStart(Exception):
    """What the settings ask for is not to be had on this machine. The message names the variable."""


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def load(kind: type[SettingsT]) -> SettingsT:
    """The settings in the environment. Ends the process with exit status 2 and the reason when they are wrong."""
    known = {PREFIX + name.upper() for name in kind.model_fields}
    problems = [
        f"{key}: unknown setting{_nearest(key, known)}"
        for key in sorted(os.environ)
        if key.startswith(PREFIX) and key not in known
    ]
    try:
        settings = kind()
    except ValidationError as invalid:
        for error in invalid.errors():
            name = (
                PREFIX + "_".join(str(part) for part in error["loc"]).upper() if error["loc"] else "settings"
            )
            problems.append(f"{name}: {error['msg']}")
    if problems:
        sys.stderr.write("\n".join(problems) + "\n")
        sys.exit(2)
    return settings


def _nearest(key: str, known: set[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
