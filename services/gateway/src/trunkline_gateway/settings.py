"""What the gateway can be told."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from trunkline_hop.resolver import Target
from trunkline_hop.settings import PREFIX, ServiceSettings

ADDRESSES = ("features", "ranking", "registry", "retrieval", "speech", "translate")
"""The settings that hold an address."""


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
    retrieval: str = ""
    """Address of the vector index."""
    speech: str = ""
    """Address of speech recognition."""
    translate: str = ""
    """Address of translation."""

    @field_validator(*ADDRESSES)
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            if value:
                Target.parse(value)
        except ValueError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None
        return value

    @model_validator(mode="after")
    def _some_address(self) -> Self:
        if not any(getattr(self, name) for name in ADDRESSES):
            names = ", ".join(PREFIX + name.upper() for name in ADDRESSES)
            raise PydanticCustomError(
                "address", "no service to offer: set at least one of {names}", {"names": names}
            )
        return self
