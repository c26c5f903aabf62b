"""Puts the models of this checkout into a running suite, through the suite's own APIs, as often as one likes.

A directory `models/NAME/artifact` holds the version's files, of which `signature.json` says by its `task` which
there are; beside those `views.json` (the feature views it reads) and, if it has one, `CARD.md`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from trunkline.features.v1 import features_pb2 as features
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline.registry.v1 import registry_pb2 as registry
from trunkline.registry.v1.registry_pb2_grpc import RegistryServiceStub

SIGNATURE = "signature.json"
VERSION_FILES = {
    "score_transaction": ("model.onnx",),
    "recommend": ("user_tower.onnx", "item_tower.onnx", "ranker.onnx", "items.safetensors", "items.json"),
    "recognize_speech": (
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "openvino_encoder_model.xml",
        "openvino_encoder_model.bin",
        "openvino_decoder_model.xml",
        "openvino_decoder_model.bin",
        "openvino_tokenizer.xml",
        "openvino_tokenizer.bin",
        "openvino_detokenizer.xml",
        "openvino_detokenizer.bin",
        "tokenizer.json",
        "tokenizer_config.json",
    ),
    "translate": (
        "config.json",
        "generation_config.json",
        "openvino_model.xml",
        "openvino_model.bin",
        "openvino_tokenizer.xml",
        "openvino_tokenizer.bin",
        "openvino_detokenizer.xml",
        "openvino_detokenizer.bin",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ),
}
"""By task, beside the signature."""
FORMATS = {"recognize_speech": registry.FORMAT_OPENVINO_IR, "translate": registry.FORMAT_OPENVINO_IR}
"""By task; ONNX unless it is said here."""
VIEWS = "views.json"
CARD = "CARD.md"
CHUNK_BYTES = 1024 * 1024
TIMEOUT_S = 20.0
BUNDLED = {"trunkline.dev/source": "bundled"}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model that ships with the checkout."""

    model_id: str
    artifact: Path

    @property
    def name(self) -> str:
        """`models/{model}`."""
        return f"models/{self.model_id}"

    @property
    def task(self) -> str:
        """What it does.

        Raises:
            OSError: there is no signature.
            ValueError: it names no task that is known.
        """
        task = self.signature().get("task")
        if task not in VERSION_FILES:
            raise ValueError(
                f"{self.artifact / SIGNATURE} must have a task, one of {', '.join(VERSION_FILES)}"
            )
        return str(task)

    def files(self) -> dict[str, bytes]:
        """Content by name of the version's files.

        Raises:
            OSError: one is not there.
            ValueError: the signature names no task that is known.
        """
        names = (SIGNATURE, *VERSION_FILES[self.task])
        return {name: (self.artifact / name).read_bytes() for name in names}

    def signature(self) -> dict[str, Any]:
        """What its `signature.json` says."""
        return dict(json.loads((self.artifact / SIGNATURE).read_bytes()))

    def views(self) -> list[Any]:
        """The feature views that it reads."""
        file = self.artifact / VIEWS
        return list(json.loads(file.read_text())["views"]) if file.exists() else []

    def card(self) -> str:
        """Its model card, Markdown."""
        file = self.artifact / CARD
        return file.read_text() if file.exists() else ""


def bundles(models_dir: Path | None = None) -> list[Bundle]:
    """The models in `models_dir`, by default the one of the checkout that this package runs from."""
    root = models_dir or Path(__file__).resolve().parents[4] / "models"
    # An empty one is that of a model which was not trained yet.
    return [Bundle(path.parent.name, path) for path in sorted(root.glob("*/artifact")) if any(path.iterdir())]


async def declare_views(target: str, models: Sequence[Bundle]) -> None:
    """Declares the views that do not exist yet. An existing one is left as it is.

    Raises:
        grpc.aio.AioRpcError: the feature service refused one, or is gone.
    """
    async with grpc.aio.insecure_channel(target) as channel:
        stub = FeatureServiceStub(channel)
        for view in (view for model in models for view in model.views()):
            request = features.CreateFeatureViewRequest(
                feature_view_id=view["name"],
                feature_view=features.FeatureView(
                    entity_type=view["entity_type"],
                    ttl=_duration(view["ttl_s"]),
                    description=view["description"],
                    owner=view["owner"],
                    source=view["source"],
                    fields=[_field(field) for field in view["fields"]],
                ),
            )
            try:
                await stub.CreateFeatureView(request, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                    raise


def _field(field: Any) -> features.Field:
    name, default = field["name"], field["default"]
    given = [] if default is None else [default]
    match field["type"]:
        case "FLOAT64":
            values = features.Values(float64=features.Float64Values(values=given))
        case "STRING":
            values = features.Values(string=features.StringValues(values=given))
        case "FLOAT32_VECTOR":
            vector = features.Float32VectorValues(values=default or ())
            values = features.Values(float32_vector=vector)
        case other:
            raise ValueError(
                f"{name}: views.json may declare FLOAT64, STRING and FLOAT32_VECTOR, not {other}"
            )
    return features.Field(
        name=name,
        type=features.FieldType.Value(f"FIELD_TYPE_{field['type']}"),
        dimension=field.get("dimension", 0),
        default_value=values if given else None,
        description=field["description"],
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


async def register(target: str, models: Sequence[Bundle]) -> None:
    """Registers each model's files as a version, once a digest, and puts it into production.

    A version that exists already keeps its stage while another one is in production, because somebody
    decided that.

    Raises:
        grpc.aio.AioRpcError: the registry refused something, or is gone.
    """
    async with grpc.aio.insecure_channel(target) as channel:
        stub = RegistryServiceStub(channel)
        for model in models:
            await _register(stub, model)


async def _register(stub: Any, model: Bundle) -> None:
    files = model.files()
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    digest = version_digest(sums)
    await _create_model(stub, model)
    versions = await _versions(stub, model)
    version = next((version for version in versions if version.digest == digest), None)
    created = version is None
    if version is None:
        for name, content in files.items():
            await stub.UploadArtifact(_parts(sums[name], content), timeout=TIMEOUT_S)
        request = registry.CreateModelVersionRequest(
            parent=model.name,
            model_version=registry.ModelVersion(
                format=FORMATS.get(model.task, registry.FORMAT_ONNX),
                files=[registry.ModelFile(path=name, sha256=sums[name]) for name in files],
                card=model.card(),
                labels=BUNDLED,
            ),
            request_id=f"bundled-{digest[:48]}",
        )
        version = (await stub.CreateModelVersion(request, timeout=TIMEOUT_S)).model_version
    others = any(other.stage == registry.STAGE_PRODUCTION and other.digest != digest for other in versions)
    if created or not others:
        await _promote(stub, version)


async def _create_model(stub: Any, model: Bundle) -> None:
    request = registry.CreateModelRequest(
        model_id=model.model_id, model=registry.Model(display_name=model.model_id, labels=BUNDLED)
    )
    try:
        await stub.CreateModel(request, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


async def _versions(stub: Any, model: Bundle) -> list[registry.ModelVersion]:
    found: list[registry.ModelVersion] = []
    request = registry.ListModelVersionsRequest(parent=model.name, page_size=1000)
    while True:
        page = await stub.ListModelVersions(request, timeout=TIMEOUT_S)
        found += page.model_versions
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def _promote(stub: Any, version: registry.ModelVersion) -> None:
    """To production by way of staging, as far as it is not there."""
    for stage in (registry.STAGE_STAGING, registry.STAGE_PRODUCTION):
        if version.stage == registry.STAGE_PRODUCTION or version.stage == stage:
            continue
        request = registry.TransitionModelVersionStageRequest(
            name=version.name, stage=stage, etag=version.etag
        )
        version = (await stub.TransitionModelVersionStage(request, timeout=TIMEOUT_S)).model_version


async def _parts(sha256: str, content: bytes) -> AsyncIterator[registry.UploadArtifactRequest]:
    yield registry.UploadArtifactRequest(
        header=registry.ArtifactHeader(sha256=sha256, size_bytes=len(content))
    )
    for start in range(0, len(content), CHUNK_BYTES):
        yield registry.UploadArtifactRequest(chunk=content[start : start + CHUNK_BYTES])


def version_digest(sums: dict[str, str]) -> str:
    """The digest of a version, as the registry's contract defines it, from the SHA-256 of its files by path."""
    text = "".join(sorted(f"{sha256}  {path}\n" for path, sha256 in sums.items()))
    return hashlib.sha256(text.encode()).hexdigest()


async def in_production(target: str, models: Sequence[str]) -> list[str]:
    """The versions in production of these models (`models/{model}`), by name.

    Raises:
        grpc.aio.AioRpcError: the registry is gone.
    """
    names: list[str] = []
    async with grpc.aio.insecure_channel(target) as channel:
        stub = RegistryServiceStub(channel)
        for model in models:
            request = registry.ListModelVersionsRequest(parent=model, stage=registry.STAGE_PRODUCTION)
            page = await stub.ListModelVersions(request, timeout=TIMEOUT_S)
            names += [version.name for version in page.model_versions]
    return names
