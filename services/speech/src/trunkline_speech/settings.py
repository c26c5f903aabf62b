"""What the service can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from trunkline_hop.resolver import Target
from trunkline_hop.settings import ServiceSettings
from trunkline_valkey import is_address


class Settings(ServiceSettings):
    """Settings of the speech service, from `TRUNKLINE_*`."""

    port: int = Field(default=50054, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    registry: str = "127.0.0.1:50056"
    """Target of the model registry."""
    redis_url: str = ""
    """`redis://`, `rediss://` or `unix://` of Redis or Valkey; empty: sessions cannot be resumed."""
    redis_timeout_s: float = Field(default=0.25, gt=0)
    """Longest wait for the session store, after which a session goes on without."""
    models: str = Field(
        default="models/whisper-micro",
        pattern=r"^models/[a-z][a-z0-9-]*( *, *models/[a-z][a-z0-9-]*)*$",
    )
    """Models to serve, separated by commas, the preferred first; ready when all of them are loaded."""
    speaker_model: str = Field(default="", pattern=r"^(models/[a-z][a-z0-9-]*)?$")
    """Model that tells speakers apart (task `embed_speaker`); empty for signal processing without a model."""
    model_cache_dir: Path = Path(".trunkline/models")
    """Model files by digest, and the last known good set. Replicas may share it."""
    model_budget_bytes: int = Field(default=2 * 1024**3, ge=1)
    """What all loaded versions together may take of memory."""
    model_versions: int = Field(default=3, ge=2)
    """Most versions loaded at once; a successor loads beside the one in force."""
    devices: str = Field(default="NPU,GPU,CPU", pattern=r"^[A-Za-z]+(\.[0-9]+)?( *, *[A-Za-z]+(\.[0-9]+)?)*$")
    """Devices to try for each model, in this order."""
    pipelines: int = Field(default=2, ge=1, le=64)
    """Pieces of speech that one model hears at once."""
    pipeline_threads: int = Field(default=1, ge=0)
    """Cores of one pipeline on a CPU; 0 leaves it to OpenVINO."""
    queue: int = Field(default=10, ge=0)
    """Pieces of speech that may wait for a pipeline."""
    max_sessions: int = Field(default=64, ge=1)
    """Live sessions at once; fewer are admitted when the machine cannot follow."""
    recognize_max_audio_s: float = Field(default=1800.0, gt=0)
    """Longest recording that Recognize takes."""

    @field_validator("registry")
    @classmethod
    def _target(cls, value: str) -> str:
        try:
            Target.parse(value)
        except ValueError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None
        return value

    @field_validator("redis_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not is_address(value):
            raise PydanticCustomError("url", "expected redis://, rediss:// or unix:// and an address")
        return value

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.models.split(",")))

    @property
    def device_names(self) -> tuple[str, ...]:
        """The devices, each once."""
        return tuple(dict.fromkeys(name.strip().upper() for name in self.devices.split(",")))
