"""One way to call every method of the suite, and to tell that its answer is whole."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from deployables import DEPLOYABLES, Deployable, name_of
from furniture import (
    HALF,
    INDEX,
    WHOLE_FILE,
    Ask,
    activate_snapshot,
    build_snapshot,
    create_index,
    create_model,
    create_version,
    create_view,
    delete_index,
    delete_view,
    get_snapshot,
    get_version,
    given,
    header,
    new_file,
    parts,
    recording,
    resuming,
    score_version,
    speaking,
    talking,
    talking_on,
    text,
    texts,
    transition,
    update_model,
    update_view,
    upsert,
    write,
)
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from stage import CUSTOMER, READER, TERMINAL, Stage
from suite_parts import DEGRADED_KEY, RECOMMENDER, score, shipped

from trunkline.features.v1 import features_pb2 as fv
from trunkline.ranking.v1 import ranking_pb2 as rk
from trunkline.registry.v1 import registry_pb2 as rg
from trunkline.retrieval.v1 import retrieval_pb2 as rv
from trunkline.speech.v1 import speech_pb2 as sp
from trunkline.translate.v1 import translate_pb2 as tr

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
    return await call.multicallable(parts(call.request), timeout=call.within_s)


async def _upload_midway(call: Call) -> Any:
    sent = call.multicallable()
    try:
        await sent.write(header(call.request))
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


async def _speak(call: Call) -> list[Any]:
    call.strike()
    return await _heard(call, call.multicallable(iter(call.request), timeout=call.within_s), [])


async def _speak_midway(call: Call) -> list[Any]:
    """From the first event on."""
    struck = asyncio.Event()

    async def requests() -> AsyncIterator[Any]:
        yield call.request[0]
        await struck.wait()
        for request in call.request[1:]:
            yield request

    sent = call.multicallable(requests())
    try:
        events = [await sent.read()]
        call.strike()
        struck.set()
        async with patience(call.within_s):
            return await _heard(call, sent, events)
    finally:
        sent.cancel()


async def _heard(call: Call, sent: Any, events: list[Any]) -> list[Any]:
    """All events of a session; what they lack goes where an answer's trailers go."""
    while (event := await sent.read()) is not grpc.aio.EOF:
        events.append(event)
    lacking = dict.fromkeys(name for event in events for name in event.provenance.degradations)
    call.trailers.extend((DEGRADED_KEY, name) for name in lacking)
    return events


async def _stream(call: Call) -> list[Any]:
    """All of an answer that comes in pieces."""
    call.strike()
    sent = call.multicallable(call.request, timeout=call.within_s)
    events = [event async for event in sent]
    call.trailers.extend(await sent.trailing_metadata())
    return events


async def _converse(call: Call) -> list[Any]:
    call.strike()
    return await _answered(call, call.multicallable(iter(call.request), timeout=call.within_s), [])


async def _converse_midway(call: Call) -> list[Any]:
    """From the first event on."""
    struck = asyncio.Event()

    async def requests() -> AsyncIterator[Any]:
        yield call.request[0]
        await struck.wait()
        for request in call.request[1:]:
            yield request

    sent = call.multicallable(requests())
    try:
        events = [await sent.read()]
        call.strike()
        struck.set()
        async with patience(call.within_s):
            return await _answered(call, sent, events)
    finally:
        sent.cancel()


async def _answered(call: Call, sent: Any, events: list[Any]) -> list[Any]:
    """All events of a conversation; what its sentences lack goes where an answer's trailers go."""
    while (event := await sent.read()) is not grpc.aio.EOF:
        events.append(event)
    lacking = dict.fromkeys(name for event in events for name in event.sentence.provenance.degradations)
    call.trailers.extend((DEGRADED_KEY, name) for name in lacking)
    return events


class patience(asyncio.Timeout):
    """A caller's deadline that begins now, in the middle of a stream. Raises TimeoutError."""

    def __init__(self, seconds: float) -> None:
        super().__init__(asyncio.get_running_loop().time() + seconds)


_READ = fv.GetOnlineFeaturesRequest(
    features=["customer_activity:count_1d"],
    entities=[fv.EntityIds(entity_type="customer", ids=[CUSTOMER])],
)
_DOWNLOAD = given(rg.DownloadArtifactRequest(sha256=hashlib.sha256(WHOLE_FILE).hexdigest()))
_WATCH = given(rg.WatchModelsRequest(models=["models/scratch"]))


_RANK = rk.RankRequest(
    user_id=READER,
    item_ids=json.loads((shipped(RECOMMENDER)[0].artifact / "items.json").read_bytes())["popular"][3:6],
)
_SEARCH = rv.SearchRequest(index=INDEX, queries=[rv.Query(values=[1.0, 0.0])])


def _personal(answer: Any) -> bool:
    return answer.source == rk.SOURCE_PERSONAL and not answer.defaulted_features


def _ranked(answer: Any) -> bool:
    return len(answer.items) == 3 and not answer.defaulted_features


def _changed(answer: Any) -> bool:
    return answer.sequence > 0


def _present(answer: Any) -> bool:
    return list(answer.columns[0].statuses) == [fv.FEATURE_STATUS_PRESENT]


def _scored(answer: Any) -> bool:
    return not answer.defaulted_features


def _understood(answer: Any) -> bool:
    return bool(answer.text) and answer.provenance.engine == "openvino"


def _said(events: Any) -> bool:
    return any(event.HasField("segment_final") for event in events)


def _said_on(events: Any) -> bool:
    return bool(events[0].started.resumed) and _said(events)


def _translated(answer: Any) -> bool:
    return bool(answer.translations[0].translated.text)


def _told(events: Any) -> bool:
    return any(event.HasField("sentence") for event in events)


def _told_on(events: Any) -> bool:
    return bool(events[0].started.resumed) and _told(events)


def _file(content: bytes) -> bool:
    return content == WHOLE_FILE


CASES: dict[str, Case] = {
    "FeatureService/CreateFeatureView": Case(create_view),
    "FeatureService/GetFeatureView": Case(given(fv.GetFeatureViewRequest(name="views/customer_activity"))),
    "FeatureService/ListFeatureViews": Case(given(fv.ListFeatureViewsRequest(page_size=3))),
    "FeatureService/UpdateFeatureView": Case(update_view),
    "FeatureService/DeleteFeatureView": Case(delete_view),
    "FeatureService/WriteFeatures": Case(write, lambda answer: answer.written_count == 1),
    "FeatureService/GetOnlineFeatures": Case(given(_READ), _present),
    "RankingService/ScoreTransaction": Case(given(score(CUSTOMER, TERMINAL)), _scored),
    "RankingService/ScoreTransaction (by a version that is not loaded)": Case(
        score_version, _scored, at=("ranking",)
    ),
    "RankingService/Recommend": Case(given(rk.RecommendRequest(user_id=READER)), _personal),
    "RankingService/Recommend (with a filter)": Case(
        given(rk.RecommendRequest(user_id=READER, filter='genre = "crime"')), _personal, at=("ranking",)
    ),
    "RankingService/Rank": Case(given(_RANK), _ranked),
    "RegistryService/CreateModel": Case(create_model),
    "RegistryService/GetModel": Case(given(rg.GetModelRequest(name="models/scratch"))),
    "RegistryService/ListModels": Case(given(rg.ListModelsRequest(page_size=3))),
    "RegistryService/UpdateModel": Case(update_model),
    "RegistryService/UploadArtifact": Case(new_file, lambda answer: answer.created, _upload),
    "RegistryService/UploadArtifact (mid-stream)": Case(
        new_file, lambda answer: answer.created, _upload_midway
    ),
    "RegistryService/DownloadArtifact": Case(_DOWNLOAD, _file, _download),
    "RegistryService/DownloadArtifact (mid-stream)": Case(_DOWNLOAD, _file, _download_midway),
    "RegistryService/CreateModelVersion": Case(create_version),
    "RegistryService/GetModelVersion": Case(get_version),
    "RegistryService/ListModelVersions": Case(
        given(rg.ListModelVersionsRequest(parent="models/scratch", page_size=3))
    ),
    "RegistryService/TransitionModelVersionStage": Case(transition),
    "RegistryService/WatchModels": Case(_WATCH, bool, _watch),
    "RegistryService/WatchModels (mid-stream)": Case(_WATCH, bool, _watch_midway),
    "SpeechService/Recognize": Case(recording, _understood),
    "SpeechService/StreamingRecognize": Case(speaking, _said, _speak),
    "SpeechService/StreamingRecognize (mid-stream)": Case(speaking, _said, _speak_midway),
    "SpeechService/StreamingRecognize (resumed)": Case(resuming, _said_on, _speak, at=("speech",)),
    "SpeechService/ListModels": Case(
        given(sp.ListModelsRequest()), lambda answer: {each.engine for each in answer.models} >= {"openvino"}
    ),
    "TranslateService/Translate": Case(texts, _translated),
    "TranslateService/StreamTranslate": Case(text, _told, _stream),
    "TranslateService/Converse": Case(talking, _told, _converse),
    "TranslateService/Converse (mid-stream)": Case(talking, _told, _converse_midway),
    "TranslateService/Converse (resumed)": Case(talking_on, _told_on, _converse, at=("translate",)),
    "TranslateService/DetectLanguage": Case(
        given(tr.DetectLanguageRequest(texts=["Where is the station?"])),
        lambda answer: answer.detections[0].languages[0].language_code == "en",
    ),
    "TranslateService/ListLanguages": Case(
        given(tr.ListLanguagesRequest()),
        lambda answer: (
            {each.engine for pair in answer.pairs for each in pair.engines} == {"vllm", "openvino"}
        ),
    ),
    "VectorService/CreateIndex": Case(create_index),
    "VectorService/GetIndex": Case(given(rv.GetIndexRequest(name=INDEX))),
    "VectorService/ListIndexes": Case(given(rv.ListIndexesRequest(page_size=3))),
    "VectorService/DeleteIndex": Case(delete_index),
    "VectorService/UpsertVectors": Case(given(upsert(INDEX)), _changed),
    "VectorService/DeleteVectors": Case(given(rv.DeleteVectorsRequest(index=INDEX, ids=["v2"])), _changed),
    "VectorService/Search": Case(given(_SEARCH), lambda answer: list(answer.results[0].ids) == ["v1"]),
    "VectorService/BuildSnapshot": Case(build_snapshot),
    "VectorService/GetSnapshot": Case(get_snapshot),
    "VectorService/ListSnapshots": Case(given(rv.ListSnapshotsRequest(parent=INDEX, page_size=3))),
    "VectorService/ActivateSnapshot": Case(activate_snapshot),
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
