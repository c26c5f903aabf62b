"""What a caller hears that sends nonsense to any method of the suite, and that nothing else comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from conditions import Details, failure
from suite_parts import MODEL, Client, Suite, rows, score

from trunkline.features.v1 import features_pb2 as fv
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline.ranking.v1 import ranking_pb2 as rk
from trunkline.registry.v1 import registry_pb2 as rg

INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
LIMIT_BYTES = 16 * 1024 * 1024
NAN = math.nan
MALFORMED = b"\x0a\xff\xff\xff\xff\x0f"
"""A field that is longer than the message."""


@dataclass(frozen=True)
class Wrong:
    """One wrong request and what has to be said about it."""

    what: str
    call: Callable[[Client], Any]
    code: grpc.StatusCode
    reason: str
    field: str = ""
    """In the violations; or, for what is not found, the name in the resource."""
    expected: str = ""
    """Part of what the violation says."""


def _write(**changes: Any) -> Callable[[Client], Any]:
    request = rows("customer_activity", ["victim"])
    for name, value in changes.items():
        request.ClearField(name)  # type: ignore[arg-type]
        if isinstance(value, list):
            getattr(request, name).extend(value)
        elif value is not None:
            setattr(request, name, value)
    return lambda client: client.features.WriteFeatures(request)


def _column(feature: str, **values: Any) -> Callable[[Client], Any]:
    """A write whose first column is this one."""
    request = rows("customer_activity", ["victim"])
    request.columns[0].CopyFrom(fv.Column(feature=feature, values=fv.Values(**values)))
    return lambda client: client.features.WriteFeatures(request)


def _read(
    features: list[str], kind: str = "customer", ids: list[str] | None = None
) -> Callable[[Client], Any]:
    entities = [fv.EntityIds(entity_type=kind, ids=["victim"] if ids is None else ids)]
    request = fv.GetOnlineFeaturesRequest(features=features, entities=entities)
    return lambda client: client.features.GetOnlineFeatures(request)


def _score(**changes: Any) -> Callable[[Client], Any]:
    request = score()
    for name, value in changes.items():
        setattr(request.transaction, name, value)
    return lambda client: client.ranking.ScoreTransaction(request)


def _floats(*values: float) -> fv.Float64Values:
    return fv.Float64Values(values=values)


def _view(**changes: Any) -> Callable[[Client], Any]:
    view = fv.FeatureView(entity_type="customer", fields=[fv.Field(name="spent", type=fv.FIELD_TYPE_FLOAT64)])
    request = fv.CreateFeatureViewRequest(feature_view_id="sneaked", feature_view=view)
    for name, value in changes.items():
        if name == "feature_view_id":
            request.feature_view_id = value
        elif name == "fields":
            del request.feature_view.fields[:]
            request.feature_view.fields.extend(value)
        else:
            setattr(request.feature_view, name, value)
    return lambda client: client.features.CreateFeatureView(request)


CASES = [
    Wrong("no view", _write(view=None), INVALID, "FIELD_INVALID", "view", "must be set"),
    Wrong("no view name", _write(view="customer_activity"), INVALID, "FIELD_INVALID", "view", "views/{view}"),
    Wrong("unknown view", _write(view="views/none"), MISSING, "VIEW_UNKNOWN", "views/none"),
    Wrong("no entities", _write(entity_ids=[]), INVALID, "FIELD_INVALID", "entity_ids", "at least 1"),
    Wrong("an empty entity", _write(entity_ids=[""]), INVALID, "FIELD_INVALID", "entity_ids[0]"),
    Wrong("times that do not fit", _write(event_times_us=[1, 2]), INVALID, "FIELD_INVALID", "event_times_us"),
    Wrong("a time before 1970", _write(event_times_us=[-1]), INVALID, "FIELD_INVALID", "event_times_us[0]"),
    Wrong("no columns", _write(columns=[]), INVALID, "FIELD_INVALID", "columns", "at least 1"),
    Wrong(
        "NaN to write", _column("count_1d", float64=_floats(NAN)), INVALID, "FIELD_INVALID",
        "columns[0].values.float64.values[0]", "expected a finite number, got nan",
    ),
    Wrong(
        "infinity to write", _column("count_1d", float64=_floats(math.inf)), INVALID, "FIELD_INVALID",
        "columns[0].values.float64.values[0]", "finite",
    ),
    Wrong(
        "text for a number", _column("count_1d", string=fv.StringValues(values=["1"])), INVALID,
        "FIELD_INVALID", "columns[0].values", "float64",
    ),
    Wrong(
        "no values", _column("count_1d"), INVALID, "FIELD_INVALID", "columns[0].values",
    ),
    Wrong(
        "more values than entities", _column("count_1d", float64=_floats(1, 2)), INVALID, "FIELD_INVALID",
        "columns[0].values.float64",
    ),
    Wrong("unknown field", _column("none", float64=_floats(1)), MISSING, "FEATURE_UNKNOWN", "customer_activity:none"),
    Wrong("an empty read", lambda c: c.features.GetOnlineFeatures(fv.GetOnlineFeaturesRequest()), INVALID, "FIELD_INVALID", "features", "at least 1"),
    Wrong("a read of nobody", _read(["customer_activity:count_1d"], ids=[]), INVALID, "FIELD_INVALID", "entities[0].ids", "at least 1"),
    Wrong("a name that is no feature", _read(["count_1d"]), INVALID, "FIELD_INVALID", "features[0]", "view:field"),
    Wrong("unknown view to read", _read(["none:count_1d"]), MISSING, "VIEW_UNKNOWN", "views/none"),
    Wrong("unknown field to read", _read(["customer_activity:none"]), MISSING, "FEATURE_UNKNOWN", "customer_activity:none"),
    Wrong("unknown entity type", _read(["customer_activity:count_1d"], kind="ship"), MISSING, "ENTITY_TYPE_UNKNOWN", "ship"),
    Wrong("a view without a name", _view(feature_view_id=""), INVALID, "FIELD_INVALID", "feature_view_id", "must be set"),
    Wrong("a view with an odd name", _view(feature_view_id="No Name"), INVALID, "FIELD_INVALID", "feature_view_id", "[a-z]"),
    Wrong("a view of nothing", _view(fields=[]), INVALID, "FIELD_INVALID", "feature_view.fields", "at least 1"),
    Wrong("a field of no type", _view(fields=[fv.Field(name="spent")]), INVALID, "FIELD_INVALID", "feature_view.fields[0].type", "must be set"),
    Wrong("a field of an unheard type", _view(fields=[fv.Field(name="spent", type=99)]), INVALID, "FIELD_INVALID", "feature_view.fields[0].type", "FIELD_TYPE_FLOAT64"),  # type: ignore[arg-type]
    Wrong(
        "a default of another type",
        _view(fields=[fv.Field(name="spent", type=fv.FIELD_TYPE_FLOAT64, default_value=fv.Values(int64=fv.Int64Values(values=[1])))]),
        INVALID, "FIELD_INVALID", "feature_view.fields[0].default_value", "float64",
    ),
    Wrong("a missing view", lambda c: c.features.GetFeatureView(fv.GetFeatureViewRequest(name="views/none")), MISSING, "VIEW_UNKNOWN", "views/none"),
    Wrong("a nonsensical page", lambda c: c.features.ListFeatureViews(fv.ListFeatureViewsRequest(page_token="?")), INVALID, "FIELD_INVALID", "page_token"),
    Wrong("an empty score", lambda c: c.ranking.ScoreTransaction(rk.ScoreTransactionRequest()), INVALID, "FIELD_INVALID", "transaction", "must be set"),
    Wrong("NaN to score", _score(amount=NAN), INVALID, "FIELD_INVALID", "transaction.amount", "finite number, got nan"),
    Wrong("less than nothing", _score(amount=-1), INVALID, "FIELD_INVALID", "transaction.amount", "at least 0"),
    Wrong("nobody's money", _score(customer_id=""), INVALID, "FIELD_INVALID", "transaction.customer_id", "must be set"),
    Wrong("a model that is no name", lambda c: c.ranking.ScoreTransaction(score(model="fraud")), INVALID, "FIELD_INVALID", "model", "models/{model}"),
    Wrong("an unknown model", lambda c: c.ranking.ScoreTransaction(score(model="models/none")), MISSING, "MODEL_UNKNOWN", "models/none"),
    Wrong("an empty model", lambda c: c.registry.CreateModel(rg.CreateModelRequest()), INVALID, "FIELD_INVALID", "model_id", "must be set"),
    Wrong("a model with an odd name", lambda c: c.registry.CreateModel(rg.CreateModelRequest(model_id="No Name")), INVALID, "FIELD_INVALID", "model_id", "[a-z]"),
    Wrong("a missing model", lambda c: c.registry.GetModel(rg.GetModelRequest(name="models/none")), MISSING, "MODEL_UNKNOWN", "models/none"),
    Wrong("a missing version", lambda c: c.registry.GetModelVersion(rg.GetModelVersionRequest(name=f"{MODEL}/versions/99")), MISSING, "VERSION_UNKNOWN", f"{MODEL}/versions/99"),
    Wrong(
        "a version of nothing",
        lambda c: c.registry.CreateModelVersion(rg.CreateModelVersionRequest(parent=MODEL, model_version=rg.ModelVersion(format=rg.FORMAT_ONNX))),
        INVALID, "FIELD_INVALID", "model_version.files", "at least 1",
    ),
    Wrong(
        "a version with a path out of it",
        lambda c: c.registry.CreateModelVersion(rg.CreateModelVersionRequest(parent=MODEL, model_version=rg.ModelVersion(format=rg.FORMAT_ONNX, files=[rg.ModelFile(path="../../etc/passwd", sha256="0" * 64)]))),
        INVALID, "FIELD_INVALID", "model_version.files[0].path",
    ),
    Wrong("a missing artifact", lambda c: c.registry.DownloadArtifact(rg.DownloadArtifactRequest(sha256="0" * 64)), MISSING, "ARTIFACT_UNKNOWN", "0" * 64),
    Wrong("an empty upload", lambda c: c.registry.UploadArtifact([]), INVALID, "FIELD_INVALID", "header"),
    Wrong("an upload of nothing", lambda c: c.registry.UploadArtifact([rg.UploadArtifactRequest()]), INVALID, "FIELD_INVALID", "part", "header or chunk"),
    Wrong(
        "no stage",
        lambda c: c.registry.TransitionModelVersionStage(rg.TransitionModelVersionStageRequest(name=f"{MODEL}/versions/1")),
        INVALID, "FIELD_INVALID", "stage", "must be set",
    ),
    Wrong("a watch of a nonsensical name", lambda c: c.registry.WatchModels(rg.WatchModelsRequest(models=["x"])), INVALID, "FIELD_INVALID", "models[0]", "models/{model}"),
]  # fmt: skip


async def _state(suite: Suite, client: Client) -> list[Any]:
    """Everything that a caller could have changed."""
    everything = [feature for view in ("customer_activity", "terminal_activity") for feature in _fields(view)]
    read = fv.GetOnlineFeaturesRequest(
        features=everything,
        entities=[fv.EntityIds(entity_type=kind, ids=["victim"]) for kind in ("customer", "terminal")],
    )
    values = await client.features.GetOnlineFeatures(read)
    values.ClearField("row_ages")
    return [
        values,
        await client.features.ListFeatureViews(fv.ListFeatureViewsRequest()),
        await client.registry.ListModels(rg.ListModelsRequest()),
        await client.registry.ListModelVersions(rg.ListModelVersionsRequest(parent=MODEL)),
        sorted(path.name for path in (suite.directory / "blobs").rglob("*") if path.is_file()),
    ]


def _fields(view: str) -> list[str]:
    request = rows(view, ["victim"])
    return [f"{view}:{column.feature}" for column in request.columns]


async def _judge(wrong: Wrong, client: Client) -> list[str]:
    """What is not as it should be about the answer."""
    error = await failure(wrong.call(client))
    details = Details(error)
    if (error.code(), details.reason) != (wrong.code, wrong.reason):
        return [f"{wrong.what}: {error.code().name} {details.reason}: {error.details()}"]
    if wrong.code is MISSING:
        named = details.ResourceInfo.resource_name if details.ResourceInfo is not None else None
        return [] if named == wrong.field else [f"{wrong.what}: {named!r} is named, not {wrong.field!r}"]
    said = details.violations
    if wrong.field not in said:
        return [f"{wrong.what}: {said} does not name {wrong.field}"]
    if wrong.expected not in said[wrong.field] or not said[wrong.field]:
        return [f"{wrong.what}: {said[wrong.field]!r} does not say {wrong.expected!r}"]
    return []


async def test_every_wrong_request_is_refused_by_name_and_changes_nothing(
    suite: Suite, client: Client
) -> None:
    await client.features.WriteFeatures(rows("customer_activity", ["victim"], 3.0))
    before = await _state(suite, client)
    problems = [problem for wrong in CASES for problem in await _judge(wrong, client)]
    assert not problems, "\n" + "\n".join(problems)
    assert await _state(suite, client) == before


def _methods() -> list[Any]:
    files = (fv.DESCRIPTOR, rk.DESCRIPTOR, rg.DESCRIPTOR)
    return [
        method for file in files for service in file.services_by_name.values() for method in service.methods
    ]


async def test_malformed_bytes_are_refused_by_every_method_on_one_connection(
    suite: Suite, client: Client
) -> None:
    before = await _state(suite, client)
    for method in _methods():
        many = ("unary", "stream")
        kind = f"{many[method.client_streaming]}_{many[method.server_streaming]}"
        call = getattr(client.channel, kind)(f"/{method.containing_service.full_name}/{method.name}")
        error = await failure(call([MALFORMED] if method.client_streaming else MALFORMED))
        details = Details(error)
        assert (error.code(), details.reason) == (INVALID, "MALFORMED_REQUEST"), method.full_name
        assert method.input_type.full_name in (error.details() or "")
    assert await _state(suite, client) == before


async def test_an_empty_request_to_every_method_is_answered_from_the_catalogue(
    suite: Suite, client: Client
) -> None:
    before = await _state(suite, client)
    for method in _methods():
        if method.name in ("ListFeatureViews", "ListModels", "WatchModels"):
            continue  # nothing is required of these
        many = ("unary", "stream")
        kind = f"{many[method.client_streaming]}_{many[method.server_streaming]}"
        call = getattr(client.channel, kind)(f"/{method.containing_service.full_name}/{method.name}")
        error = await failure(call([b""] if method.client_streaming else b""))
        assert error.code() is INVALID, method.full_name
        assert Details(error).violations, method.full_name
    assert await _state(suite, client) == before


async def test_one_byte_over_16_mib_is_refused_and_the_connection_lives(suite: Suite, client: Client) -> None:
    before = await _state(suite, client)
    too_large = rows("customer_activity", ["victim"], 9.0)
    too_large.entity_ids.append("x" * (LIMIT_BYTES - too_large.ByteSize() - 5))
    too_large.entity_ids[1] += "x" * (LIMIT_BYTES + 1 - too_large.ByteSize())
    assert too_large.ByteSize() == LIMIT_BYTES + 1
    error = await failure(client.features.WriteFeatures(too_large, timeout=20))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    async with grpc.aio.insecure_channel(suite.servers["features"].target) as channel:
        direct: Any = FeatureServiceStub(channel)
        error = await failure(direct.WriteFeatures(too_large, timeout=20))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (
            await direct.GetFeatureView(fv.GetFeatureViewRequest(name="views/customer_activity"))
        ).feature_view
    assert await _state(suite, client) == before
