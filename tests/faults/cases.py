"""One way to call every method of the suite, and to tell that its answer is whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from deployables import DEPLOYABLES, Deployable, name_of
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from stage import CUSTOMER, TERMINAL, Stage
from suite_parts import MODEL, rows, score, shipped

from trunkline.features.v1 import features_pb2 as fv
from trunkline.registry.v1 import registry_pb2 as rg
from trunkline_local import catalog

WHOLE_FILE = bytes(range(256)) * 48 * 1024
"""12 MiB: more than all buffers on its way hold, so that a download is still under way after its first chunk."""
HALF = 200_000

Ask = Callable[[Stage], Awaitable[Any]]
"""Makes a request that was never sent before, and whatever it needs to be answered in full."""
Perform = Callable[["Call"], Awaitable[Any]]


@dataclass(frozen=True)
class Call:
    """A call about to be made."""

    multicallable: Any
    request: Any
    within_s: float
    strike: Callable[[], None]
    """Makes the fault happen; to be called once, at its moment."""
    stage: Stage
    trailers: list[tuple[str, str | bytes]]
    """What came with the answer."""


@dataclass(frozen=True)
class Case:
    """A method, and the moment at which the fault comes."""

    ask: Ask
    whole: Callable[[Any], bool] = lambda answer: answer is not None
    """Whether nothing is missing from the answer."""
    perform: Perform = None  # type: ignore[assignment] # `_unary`, which is defined below
    at: tuple[str, ...] = tuple(one.name for one in DEPLOYABLES)
    """Deployables to which this moment means anything."""


async def _unary(call: Call) -> Any:
    call.strike()
    sent = call.multicallable(call.request, timeout=call.within_s)
    answer = await sent
    call.trailers.extend(await sent.trailing_metadata())
    return answer


async def _download(call: Call) -> bytes:
    call.strike()
    return b"".join([part.chunk async for part in call.multicallable(call.request, timeout=call.within_s)])


async def _download_midway(call: Call) -> bytes:
    sent = call.multicallable(call.request)
    try:
        came = (await sent.read()).chunk
        call.strike()
        async with patience(call.within_s):
            while (part := await sent.read()) is not grpc.aio.EOF:
                came += part.chunk
        return bytes(came)
    finally:
        sent.cancel()


async def _upload(call: Call) -> Any:
    call.strike()
    return await call.multicallable(_parts(call.request), timeout=call.within_s)


async def _parts(content: bytes) -> AsyncIterator[rg.UploadArtifactRequest]:
    yield _header(content)
    for start in range(0, len(content), HALF):
        yield rg.UploadArtifactRequest(chunk=content[start : start + HALF])


def _header(content: bytes) -> rg.UploadArtifactRequest:
    digest = hashlib.sha256(content).hexdigest()
    return rg.UploadArtifactRequest(header=rg.ArtifactHeader(sha256=digest, size_bytes=len(content)))


async def _upload_midway(call: Call) -> Any:
    sent = call.multicallable()
    try:
        await sent.write(_header(call.request))
        await sent.write(rg.UploadArtifactRequest(chunk=call.request[:HALF]))
        call.strike()
        async with patience(call.within_s):
            try:
                await sent.write(rg.UploadArtifactRequest(chunk=call.request[HALF:]))
                await sent.done_writing()
            except asyncio.InvalidStateError:
                return await sent  # it is over: the status says why
            return await sent
    finally:
        sent.cancel()


async def _watch(call: Call) -> list[Any]:
    """Up to the state."""
    call.strike()
    return await _until_synced(call.multicallable(call.request, timeout=call.within_s))


async def _until_synced(sent: Any) -> list[Any]:
    events = []
    while (event := await sent.read()) is not grpc.aio.EOF:
        events.append(event)
        if event.HasField("synced"):
            return events
    return []


async def _watch_midway(call: Call) -> list[Any]:
    """Up to a change after the state."""
    sent = call.multicallable(call.request)
    try:
        await _until_synced(sent)
        call.strike()
        await _toggle(call.stage, call.within_s)
        async with patience(call.within_s):
            return [await sent.read()]
    finally:
        sent.cancel()


async def _toggle(stage: Stage, within_s: float) -> None:
    """Takes a version out of production, or puts it there: as far as the registry can."""
    registry = stage.direct["registry"].registry
    request = rg.GetModelVersionRequest(name=stage.version)
    try:
        async with asyncio.timeout(within_s):
            known = (await registry.GetModelVersion(request)).model_version.stage
            to = rg.STAGE_ARCHIVED if known == rg.STAGE_PRODUCTION else rg.STAGE_PRODUCTION
            await registry.TransitionModelVersionStage(
                rg.TransitionModelVersionStageRequest(name=stage.version, stage=to)
            )
    except (TimeoutError, grpc.aio.AioRpcError):
        return  # its database is what fails here


class patience(asyncio.Timeout):
    """A caller's deadline that begins now, in the middle of a stream. Raises TimeoutError."""

    def __init__(self, seconds: float) -> None:
        super().__init__(asyncio.get_running_loop().time() + seconds)


def _given(request: Message) -> Ask:
    async def ask(stage: Stage) -> Message:
        return request

    return ask


def _view(stage: Stage) -> fv.CreateFeatureViewRequest:
    return fv.CreateFeatureViewRequest(
        feature_view_id=f"scratch_{stage.fresh()}",
        feature_view=fv.FeatureView(
            entity_type="customer", fields=[fv.Field(name="spent", type=fv.FIELD_TYPE_FLOAT64)]
        ),
    )


async def _create_view(stage: Stage) -> Message:
    return _view(stage)


async def _viewed(stage: Stage) -> fv.FeatureView:
    view: fv.FeatureView = (
        await stage.direct["features"].features.CreateFeatureView(_view(stage))
    ).feature_view
    return view


async def _update_view(stage: Stage) -> Message:
    view = await _viewed(stage)
    view.description = "changed"
    request = fv.UpdateFeatureViewRequest(feature_view=view)
    request.update_mask.paths.append("description")
    return request


async def _delete_view(stage: Stage) -> Message:
    return fv.DeleteFeatureViewRequest(name=(await _viewed(stage)).name)


async def _write(stage: Stage) -> Message:
    return rows("customer_activity", [CUSTOMER])


def _model(stage: Stage) -> rg.CreateModelRequest:
    return rg.CreateModelRequest(model_id=f"scratch-{stage.fresh()}")


async def _create_model(stage: Stage) -> Message:
    return _model(stage)


async def _update_model(stage: Stage) -> Message:
    made = (await stage.direct["registry"].registry.CreateModel(_model(stage))).model
    made.description = "changed"
    request = rg.UpdateModelRequest(model=made)
    request.update_mask.paths.append("description")
    return request


def _version_of(model: str, files: dict[str, str]) -> rg.CreateModelVersionRequest:
    return rg.CreateModelVersionRequest(
        parent=model,
        model_version=rg.ModelVersion(
            format=rg.FORMAT_ONNX,
            files=[rg.ModelFile(path=path, sha256=sha256) for path, sha256 in files.items()],
        ),
    )


async def _files(stage: Stage) -> dict[str, str]:
    """Digests by path of files that are no version yet: the fraud model's, a byte longer each time."""
    files = shipped()[0].files()
    files[catalog.SIGNATURE] += b" " * (1 + stage.fresh())
    for content in files.values():
        await stage.direct["registry"].registry.UploadArtifact(_parts(content))
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


async def _create_version(stage: Stage) -> Message:
    return _version_of("models/scratch", await _files(stage))


async def _versioned(stage: Stage, model: str) -> str:
    request = _version_of(model, await _files(stage))
    made = await stage.direct["registry"].registry.CreateModelVersion(request)
    return str(made.model_version.name)


async def _get_version(stage: Stage) -> Message:
    return rg.GetModelVersionRequest(name=stage.version)


async def _transition(stage: Stage) -> Message:
    name = await _versioned(stage, "models/scratch")
    return rg.TransitionModelVersionStageRequest(name=name, stage=rg.STAGE_STAGING)


async def _score_version(stage: Stage) -> Message:
    return score(CUSTOMER, TERMINAL, model=await _versioned(stage, MODEL))


async def _new_file(stage: Stage) -> bytes:
    return f"{stage.fresh():016d}".encode() * (2 * HALF // 16)


async def furnish(stage: Stage) -> None:
    """What the cases below find there: a model with a version in production, and a large file."""
    registry = stage.direct["registry"].registry
    await registry.CreateModel(rg.CreateModelRequest(model_id="scratch"))
    stage.version = await _versioned(stage, "models/scratch")
    for to in (rg.STAGE_STAGING, rg.STAGE_PRODUCTION):
        await registry.TransitionModelVersionStage(
            rg.TransitionModelVersionStageRequest(name=stage.version, stage=to)
        )
    await registry.UploadArtifact(_parts(WHOLE_FILE))


_READ = fv.GetOnlineFeaturesRequest(
    features=["customer_activity:count_1d"],
    entities=[fv.EntityIds(entity_type="customer", ids=[CUSTOMER])],
)
_DOWNLOAD = _given(rg.DownloadArtifactRequest(sha256=hashlib.sha256(WHOLE_FILE).hexdigest()))
_WATCH = _given(rg.WatchModelsRequest(models=["models/scratch"]))


def _present(answer: Any) -> bool:
    return list(answer.columns[0].statuses) == [fv.FEATURE_STATUS_PRESENT]


def _scored(answer: Any) -> bool:
    return not answer.defaulted_features


def _file(content: bytes) -> bool:
    return content == WHOLE_FILE


CASES: dict[str, Case] = {
    "FeatureService/CreateFeatureView": Case(_create_view),
    "FeatureService/GetFeatureView": Case(_given(fv.GetFeatureViewRequest(name="views/customer_activity"))),
    "FeatureService/ListFeatureViews": Case(_given(fv.ListFeatureViewsRequest(page_size=3))),
    "FeatureService/UpdateFeatureView": Case(_update_view),
    "FeatureService/DeleteFeatureView": Case(_delete_view),
    "FeatureService/WriteFeatures": Case(_write, lambda answer: answer.written_count == 1),
    "FeatureService/GetOnlineFeatures": Case(_given(_READ), _present),
    "RankingService/ScoreTransaction": Case(_given(score(CUSTOMER, TERMINAL)), _scored),
    "RankingService/ScoreTransaction (by a version that is not loaded)": Case(
        _score_version, _scored, at=("ranking",)
    ),
    "RegistryService/CreateModel": Case(_create_model),
    "RegistryService/GetModel": Case(_given(rg.GetModelRequest(name="models/scratch"))),
    "RegistryService/ListModels": Case(_given(rg.ListModelsRequest(page_size=3))),
    "RegistryService/UpdateModel": Case(_update_model),
    "RegistryService/UploadArtifact": Case(_new_file, lambda answer: answer.created, _upload),
    "RegistryService/UploadArtifact (mid-stream)": Case(
        _new_file, lambda answer: answer.created, _upload_midway
    ),
    "RegistryService/DownloadArtifact": Case(_DOWNLOAD, _file, _download),
    "RegistryService/DownloadArtifact (mid-stream)": Case(_DOWNLOAD, _file, _download_midway),
    "RegistryService/CreateModelVersion": Case(_create_version),
    "RegistryService/GetModelVersion": Case(_get_version),
    "RegistryService/ListModelVersions": Case(
        _given(rg.ListModelVersionsRequest(parent="models/scratch", page_size=3))
    ),
    "RegistryService/TransitionModelVersionStage": Case(_transition),
    "RegistryService/WatchModels": Case(_WATCH, bool, _watch),
    "RegistryService/WatchModels (mid-stream)": Case(_WATCH, bool, _watch_midway),
}
"""By `Service/Method`, with the moment where there is more than one."""


def multicallable(channel: grpc.aio.Channel, method: MethodDescriptor) -> Any:
    """The method on a channel, as the generated stub has it."""
    many = ("unary", "stream")
    kind = f"{many[method.client_streaming]}_{many[method.server_streaming]}"
    return getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )


def method_named(one: Deployable, name: str) -> MethodDescriptor:
    """A method that a deployable serves, by `Service/Method`."""
    (found,) = [m for service in one.services for m in service.methods if name_of(m) == name]
    return found


def perform(case: Case) -> Perform:
    """How a case is called."""
    return case.perform or _unary
