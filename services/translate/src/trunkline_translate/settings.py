"""What the service can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, FilePath, Json, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from trunkline_hop.resolver import Target
from trunkline_hop.settings import ServiceSettings
from trunkline_translate.language import Direction
from trunkline_translate.prompts import Style
from trunkline_valkey import is_address

_LANGUAGES: Final = r"^([a-z]{2}( *, *[a-z]{2})+)?$"
_PROMPT: Final = f"^({'|'.join(style.value for style in Style)})$"


class Settings(ServiceSettings):
    """Settings of the translation service, from `TRUNKLINE_*`.

    The chain is Triton, vLLM, OpenVINO, Apertium, in this order; an engine is in it when it has an address, a
    directory, a model or modes.
    """

    port: int = Field(default=50055, ge=0, le=65535)
    """Port of the gRPC server; 0 takes a free one."""
    registry: str = "127.0.0.1:50056"
    """Target of the model registry."""
    redis_url: str = ""
    """`redis://`, `rediss://` or `unix://` of Redis or Valkey; empty: conversations cannot be resumed."""
    redis_timeout_s: float = Field(default=0.25, gt=0)
    """Longest wait for the store of conversations, after which one goes on without."""
    conversation_ttl_s: float = Field(default=600.0, gt=0)
    """How long a conversation can be resumed after its stream broke off."""
    max_conversations: int = Field(default=256, ge=1)
    """Live conversations at once."""

    languages: str = Field(default="en,es,de,fr", pattern=r"^[a-z]{2}( *, *[a-z]{2})+$")
    """Languages that are told apart where a text does not say its own."""
    triton: str = ""
    """`host:port` of a Triton server's gRPC endpoint; empty: none."""
    triton_ca: FilePath | None = None
    """CA of its certificate, PEM; unset: plain text."""
    triton_model: str = "translator"
    """The model there, with the tensors of the vLLM backend."""
    triton_tokenizer: Path | None = None
    """Directory with the model's tokenizer files: its chat template makes the prompt. Needed with `triton`."""
    triton_prompt: str = Field(default=Style.INSTRUCT.value, pattern=_PROMPT)
    """What the model is asked: `instruct`, in words, or `codes`, as models/phrase-translator was trained."""
    triton_languages: str = Field(default="", pattern=_LANGUAGES)
    """Languages it translates between, every one into every other; empty: `languages`."""

    vllm: str = ""
    """Base URL of an OpenAI-compatible server, such as `http://127.0.0.1:8000/v1`; empty: none."""
    vllm_ca: FilePath | None = None
    """CA of its certificate, PEM; unset: those that everybody knows."""
    vllm_model: str = ""
    """The model there; empty: the only one it serves."""
    vllm_api_key: SecretStr = SecretStr("")
    """Sent as a bearer token."""
    vllm_model_dir: Path | None = None
    """Directory of a model that vLLM runs in this process, which needs the extra `vllm`; instead of `vllm`."""
    vllm_arguments: Json[dict[str, Any]] | None = None
    """Of vLLM's engine in this process (`AsyncEngineArgs`), as a JSON object: `{"tensor_parallel_size": 2}`."""
    vllm_prompt: str = Field(default=Style.INSTRUCT.value, pattern=_PROMPT)
    """As `triton_prompt`."""
    vllm_languages: str = Field(default="", pattern=_LANGUAGES)
    """As `triton_languages`."""

    models: str = Field(
        default="models/phrase-translator",
        pattern=r"^(models/[a-z][a-z0-9-]*( *, *models/[a-z][a-z0-9-]*)*)?$",
    )
    """Models of the registry to serve with OpenVINO, separated by commas, the preferred first; empty: none."""
    model_cache_dir: Path = Path(".trunkline/models")
    """Model files by digest, and the last known good set. Replicas may share it."""
    model_budget_bytes: int = Field(default=2 * 1024**3, ge=1)
    """What all loaded versions together may take of memory."""
    model_versions: int = Field(default=3, ge=2)
    """Most versions loaded at once; a successor loads beside the one in force."""
    devices: str = Field(default="NPU,GPU,CPU", pattern=r"^[A-Za-z]+(\.[0-9]+)?( *, *[A-Za-z]+(\.[0-9]+)?)*$")
    """Devices to try for each model, in this order."""
    device_threads: int = Field(default=0, ge=0)
    """Cores of a model on a CPU; 0 leaves it to OpenVINO."""
    sequences: int = Field(default=16, ge=1, le=256)
    """Sentences that one model translates at once."""
    queue: int = Field(default=64, ge=0)
    """Sentences that may wait for a model."""

    apertium_modes: Path = Path("/usr/share/apertium/modes")
    """Directory of Apertium's mode files: the pairs that are installed. None where it does not exist."""

    first_token_s: float = Field(default=2.0, gt=0)
    """Longest wait for an engine's first token, after which the next engine translates the sentence."""
    stall_s: float = Field(default=2.0, gt=0)
    """Longest wait for every further token."""
    probe_s: float = Field(default=5.0, gt=0)
    """Seconds between two health checks of an engine."""

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
    def _redis(cls, value: str) -> str:
        if value and not is_address(value):
            raise PydanticCustomError("url", "expected redis://, rediss:// or unix:// and an address")
        return value

    @field_validator("triton")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and "/" not in value and port.isascii() and port.isdigit()):
            raise PydanticCustomError("address", "expected host:port, of the gRPC endpoint")
        return value

    @field_validator("vllm")
    @classmethod
    def _url(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            known = not value or (parts.scheme in ("http", "https") and bool(parts.hostname))
        except ValueError:
            known = False
        if not known:
            raise PydanticCustomError("url", "expected http:// or https:// and an address, up to /v1")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.triton and self.triton_tokenizer is None:
            raise PydanticCustomError(
                "tokenizer", "TRUNKLINE_TRITON needs TRUNKLINE_TRITON_TOKENIZER, the model's tokenizer files"
            )
        if self.vllm_arguments and self.vllm_model_dir is None:
            raise PydanticCustomError(
                "engine",
                "TRUNKLINE_VLLM_ARGUMENTS are of a model in this process: set TRUNKLINE_VLLM_MODEL_DIR",
            )
        if self.vllm and self.vllm_model_dir is not None:
            raise PydanticCustomError(
                "engine", "TRUNKLINE_VLLM is a server, TRUNKLINE_VLLM_MODEL_DIR runs in this process: set one"
            )
        return self

    @property
    def model_names(self) -> tuple[str, ...]:
        """The registry's models, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.models.split(",") if name))

    @property
    def device_names(self) -> tuple[str, ...]:
        """The devices, each once."""
        return tuple(dict.fromkeys(name.strip().upper() for name in self.devices.split(",")))

    @property
    def language_codes(self) -> tuple[str, ...]:
        """The languages, each once."""
        return _codes(self.languages)

    @property
    def triton_directions(self) -> tuple[Direction, ...]:
        """What Triton's model translates."""
        return _directions(self.triton_languages or self.languages)

    @property
    def vllm_directions(self) -> tuple[Direction, ...]:
        """What vLLM's model translates."""
        return _directions(self.vllm_languages or self.languages)


def _codes(languages: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(code.strip() for code in languages.split(",")))


def _directions(languages: str) -> tuple[Direction, ...]:
    """Every one of these languages into every other."""
    codes = _codes(languages)
    return tuple(Direction(source, target) for source in codes for target in codes if source != target)
