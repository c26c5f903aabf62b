"""What the service can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from trunkline_hop.resolver import Target
from trunkline_hop.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the ranking service, from `TRUNKLINE_*`."""

    port: int = Field(default=50053, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    features: str = "127.0.0.1:50051"
    """Target of the feature store."""
    registry: str = "127.0.0.1:50056"
    """Target of the model registry."""
    retrieval: str = "127.0.0.1:50052"
    """Target of the vector index."""
    models: str = Field(
        default="models/fraud,models/recommender",
        pattern=r"^models/[a-z][a-z0-9-]*( *, *models/[a-z][a-z0-9-]*)*$",
    )
    """Models to serve, separated by commas; ready when all of them are loaded."""
    model_cache_dir: Path = Path(".trunkline/models")
    """Model files by digest, and the last known good set. Replicas may share it."""
    model_budget_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    """What all loaded versions together may take of memory."""
    features_timeout_s: float = Field(default=0.1, gt=0)
    """Longest wait for features, after which their defaults count."""
    retrieval_timeout_s: float = Field(default=0.1, gt=0)
    """Longest wait for retrieval, after which the popular items are recommended."""
    inference_margin_s: float = Field(default=0.01, ge=0)
    """Time of a request that each of these waits leaves to inference and answer."""
    exploration_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of recommended places given to a random candidate, where a request does not say."""

    @field_validator("features", "registry", "retrieval")
    @classmethod
    def _target(cls, value: str) -> str:
        try:
            Target.parse(value)
        except ValueError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None
        return value

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.models.split(",")))
