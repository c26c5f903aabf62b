"""The service as callers see it: through a gRPC server and the generated stubs."""

from __future__ import annotations

import math

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from trunkline.features.v1 import features_pb2 as pb
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline_features.__main__ import build
from trunkline_features.columns import Status
from trunkline_features.settings import Settings
from trunkline_features.views import FieldType
from trunkline_hop.server import running

F64, STR, VEC = pb.FIELD_TYPE_FLOAT64, pb.FIELD_TYPE_STRING, pb.FIELD_TYPE_FLOAT32_VECTOR
PATH = "/trunkline.features.v1.FeatureService/"


def floats(*values):
    return pb.Values(float64=pb.Float64Values(values=values))


def strings(*values):
    return pb.Values(string=pb.StringValues(values=values))


def vectors(*values):
    return pb.Values(float32_vector=pb.Float32VectorValues(values=values))


def view():
    return pb.FeatureView(
        entity_type="customer",
        fields=[
            pb.Field(name="amount", type=F64, default_value=floats(9.5)),
            pb.Field(name="city", type=STR),
            pb.Field(name="taste", type=VEC, dimension=2, default_value=vectors(0.5, -0.5)),
        ],
    )


def rows(now_us, **changes):
    """A write of two rows; `columns` adds to or replaces the columns by name, None leaves one out."""
    columns = {
        "amount": pb.Column(values=floats(1.0, 2.0)),
        "city": pb.Column(values=strings("Oslo", "Rome")),
        "taste": pb.Column(values=vectors(1, 2, 3, 4)),
    } | changes.pop("columns", {})
    request = {
        "view": "views/v",
        "entity_ids": ["1", "2"],
        "event_times_us": [now_us],
        "columns": [
            pb.Column(feature=name, values=column.values, statuses=column.statuses)
            for name, column in columns.items()
            if column is not None
        ],
    } | changes
    return pb.WriteFeaturesRequest(**request)


def ask(*features, ids=("1", "2"), entity_type="customer"):
    return pb.GetOnlineFeaturesRequest(
        features=features, entities=[pb.EntityIds(entity_type=entity_type, ids=ids)]
    )


@pytest.fixture
async def server(valkey, features):
    settings = Settings(port=0, metrics_port=0, redis_url=valkey.url)
    async with running("features", settings, build, clock=features.clock) as server:
        yield server


@pytest.fixture
async def channel(server):
    async with grpc.aio.insecure_channel(server.target) as channel:
        yield channel


@pytest.fixture
async def stub(channel):
    stub = FeatureServiceStub(channel)
    await stub.CreateFeatureView(pb.CreateFeatureViewRequest(feature_view_id="v", feature_view=view()))
    return stub


async def refused(call):
    """Code, reason and first named field of the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        assert isinstance(detail, AnyMessage)
        detail.Unpack(info)
        detail.Unpack(bad)
    field = bad.field_violations[0].field if bad.field_violations else info.metadata.get("field", "")
    return error.code().name, info.reason, field


def test_types_and_statuses_have_the_contracts_numbers():
    assert {each.name: each.value for each in FieldType} == {
        name.removeprefix("FIELD_TYPE_"): number for name, number in pb.FieldType.items() if number
    }
    assert {each.name: each.value for each in Status} == {
        name.removeprefix("FEATURE_STATUS_"): number for name, number in pb.FeatureStatus.items() if number
    }


async def test_what_was_written_is_read(stub, features):
    now_us = features.clock.us()
    nulls = pb.Column(values=strings("Oslo", ""), statuses=[1, 2])
    answer = await stub.WriteFeatures(rows(now_us, columns={"city": nulls}))
    assert (answer.written_count, answer.superseded_count) == (2, 0)
    older = await stub.WriteFeatures(rows(now_us - 1))
    assert (older.written_count, older.superseded_count) == (0, 2)

    features.clock.advance(seconds=2)
    reply = await stub.GetOnlineFeatures(ask("v:taste", "v:amount", "v:city", ids=["2", "3", "1"]))
    assert list(reply.columns) == [
        pb.Column(feature="v:taste", values=vectors(3, 4, 0.5, -0.5, 1, 2), statuses=[1, 5, 1]),
        pb.Column(feature="v:amount", values=floats(2.0, 9.5, 1.0), statuses=[1, 5, 1]),
        pb.Column(feature="v:city", values=strings("", "", "Oslo"), statuses=[2, 3, 1]),
    ]
    assert list(reply.row_ages) == [pb.RowAges(view="views/v", ages_ms=[2000, -1, 2000])]


NAN = pb.Column(values=floats(1.0, math.nan))
INFINITE = pb.Column(values=vectors(1, 2, math.inf, 4))
TWICE = pb.Column(feature="amount", values=floats(1.0, 2.0))


@pytest.mark.parametrize(
    ("changes", "code", "reason", "field"),
    [
        ({"view": "views/nope"}, "NOT_FOUND", "VIEW_UNKNOWN", ""),
        ({"view": "nope"}, "INVALID_ARGUMENT", "FIELD_INVALID", "view"),
        ({"view": ""}, "INVALID_ARGUMENT", "FIELD_INVALID", "view"),
        ({"entity_ids": []}, "INVALID_ARGUMENT", "FIELD_INVALID", "entity_ids"),
        ({"entity_ids": ["1", "1"]}, "INVALID_ARGUMENT", "FIELD_INVALID", "entity_ids[1]"),
        ({"entity_ids": ["1", ""]}, "INVALID_ARGUMENT", "FIELD_INVALID", "entity_ids[1]"),
        ({"entity_ids": ["1", "x" * 513]}, "INVALID_ARGUMENT", "FIELD_INVALID", "entity_ids[1]"),
        ({"event_times_us": []}, "INVALID_ARGUMENT", "FIELD_INVALID", "event_times_us"),
        ({"event_times_us": [1, 2, 3]}, "INVALID_ARGUMENT", "FIELD_INVALID", "event_times_us"),
        ({"event_times_us": [1, -1]}, "INVALID_ARGUMENT", "FIELD_INVALID", "event_times_us[1]"),
        ({"event_times_us": [1, 2**62]}, "INVALID_ARGUMENT", "FIELD_INVALID", "event_times_us[1]"),
        (
            {"columns": {"amount": NAN}},
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
            "columns[0].values.float64.values[1]",
        ),
        (
            {"columns": {"taste": INFINITE}},
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
            "columns[2].values.float32_vector.values[2]",
        ),
        (
            {"columns": {"amount": pb.Column(values=strings("1", "2"))}},
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
            "columns[0].values",
        ),
        ({"columns": {"amount": pb.Column()}}, "INVALID_ARGUMENT", "FIELD_INVALID", "columns[0].values"),
        (
            {"columns": {"amount": pb.Column(values=pb.Values())}},
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
            "columns[0].values",
        ),
        (
            {"columns": {"amount": pb.Column(values=floats(1.0))}},
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
            "columns[0].values.float64",
        ),
        (
            {"columns": {"taste": pb.Column(values=vectors(1, 2, 3))}},
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
            "columns[2].values.float32_vector",
        ),
        (
            {"columns": {"amount": pb.Column(values=floats(1.0, 2.0), statuses=[1])}},
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
            "columns[0].statuses",
        ),
        (
            {"columns": {"amount": pb.Column(values=floats(1.0, 2.0), statuses=[1, 4])}},
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
            "columns[0].statuses[1]",
        ),
        ({"columns": {"city": None}}, "INVALID_ARGUMENT", "FIELD_INVALID", "columns"),
        (
            {"columns": {"nope": pb.Column(values=floats(1, 2))}},
            "NOT_FOUND",
            "FEATURE_UNKNOWN",
            "columns[3].feature",
        ),
        ({"columns": [TWICE, TWICE]}, "INVALID_ARGUMENT", "FIELD_INVALID", "columns[1].feature"),
    ],
)
async def test_a_wrong_write_names_the_field_and_writes_nothing(stub, features, changes, code, reason, field):
    if isinstance(changes.get("columns"), list):
        request = rows(features.clock.us())
        request.ClearField("columns")
        request.columns.extend(changes["columns"])
    else:
        request = rows(features.clock.us(), **changes)
    assert await refused(stub.WriteFeatures(request)) == (code, reason, field)
    reply = await stub.GetOnlineFeatures(ask("v:amount"))
    assert list(reply.columns[0].statuses) == [pb.FEATURE_STATUS_DEFAULTED] * 2


async def test_an_event_from_the_future_is_refused_beyond_five_minutes(stub, features):
    await stub.WriteFeatures(rows(features.clock.us(minutes=-4.9)))
    reply = await stub.GetOnlineFeatures(ask("v:amount"))
    assert list(reply.row_ages[0].ages_ms) == [0, 0]
    late = rows(features.clock.us(minutes=-5.1))
    assert (await refused(stub.WriteFeatures(late)))[2] == "event_times_us[0]"


@pytest.mark.parametrize(
    ("request_", "code", "reason", "field"),
    [
        (pb.GetOnlineFeaturesRequest(), "INVALID_ARGUMENT", "FIELD_INVALID", "features"),
        (pb.GetOnlineFeaturesRequest(features=["v:city"]), "INVALID_ARGUMENT", "FIELD_INVALID", "entities"),
        (ask("nope:city"), "NOT_FOUND", "VIEW_UNKNOWN", ""),
        (ask("v:nope"), "NOT_FOUND", "FEATURE_UNKNOWN", ""),
        (ask("v:city", entity_type="ship"), "NOT_FOUND", "ENTITY_TYPE_UNKNOWN", "entities[0].entity_type"),
        (ask("city"), "INVALID_ARGUMENT", "FIELD_INVALID", "features[0]"),
        (ask("v:city", "v:city"), "INVALID_ARGUMENT", "FIELD_INVALID", "features[1]"),
        (ask("v:city", ids=[]), "INVALID_ARGUMENT", "FIELD_INVALID", "entities[0].ids"),
        (ask("v:city", ids=["1", ""]), "INVALID_ARGUMENT", "FIELD_INVALID", "entities[0].ids[1]"),
    ],
)
async def test_a_wrong_read_names_the_field(stub, request_, code, reason, field):
    assert await refused(stub.GetOnlineFeatures(request_)) == (code, reason, field)


async def test_malformed_bytes_are_refused_and_the_connection_survives(stub, channel):
    garbled = channel.unary_unary(PATH + "WriteFeatures")
    assert (await refused(garbled(b"\xff\xff\xff")))[:2] == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert (await stub.GetOnlineFeatures(ask("v:city"))).columns


async def test_views_are_declared_listed_changed_and_deleted(stub):
    got = (await stub.GetFeatureView(pb.GetFeatureViewRequest(name="views/v"))).feature_view
    assert (got.name, got.entity_type, list(got.fields)) == ("views/v", "customer", list(view().fields))
    assert got.etag
    assert got.create_time == got.update_time
    assert not got.HasField("ttl")

    got.ttl.FromSeconds(60)
    got.owner = "risk"
    request = pb.UpdateFeatureViewRequest(feature_view=got, request_id="u1")
    request.update_mask.paths.extend(["ttl", "owner"])
    updated = await stub.UpdateFeatureView(request)
    assert (updated.feature_view.ttl.seconds, updated.feature_view.owner) == (60, "risk")
    assert await stub.UpdateFeatureView(request) == updated
    request.request_id = "u2"
    assert (await refused(stub.UpdateFeatureView(request)))[:2] == ("ABORTED", "ETAG_MISMATCH")
    request.request_id, request.feature_view.owner = "u1", "fraud"
    assert (await refused(stub.UpdateFeatureView(request)))[:2] == ("ABORTED", "REQUEST_ID_REUSED")

    listed = await stub.ListFeatureViews(pb.ListFeatureViewsRequest(page_size=1))
    assert (list(listed.feature_views), listed.next_page_token) == ([updated.feature_view], "")
    await stub.DeleteFeatureView(pb.DeleteFeatureViewRequest(name="views/v"))
    gone = pb.GetFeatureViewRequest(name="views/v")
    assert (await refused(stub.GetFeatureView(gone)))[:2] == ("NOT_FOUND", "VIEW_UNKNOWN")


def declared(**field):
    return pb.FeatureView(entity_type="customer", fields=[pb.Field(**field)])


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (pb.FeatureView(entity_type="customer"), "feature_view.fields"),
        (declared(name="A", type=F64), "feature_view.fields[0].name"),
        (declared(name="a"), "feature_view.fields[0].type"),
        (declared(name="a", type=99), "feature_view.fields[0].type"),
        (declared(name="a", type=VEC), "feature_view.fields[0].dimension"),
        (declared(name="a", type=F64, default_value=strings("1")), "feature_view.fields[0].default_value"),
        (
            declared(name="a", type=F64, default_value=floats(1, 2)),
            "feature_view.fields[0].default_value.float64",
        ),
        (
            declared(name="a", type=VEC, dimension=3, default_value=vectors(1, 2)),
            "feature_view.fields[0].default_value.float32_vector",
        ),
        (
            declared(name="a", type=F64, default_value=floats(math.inf)),
            "feature_view.fields[0].default_value.float64.values[0]",
        ),
    ],
)
async def test_a_wrong_view_names_the_field(stub, wanted, field):
    request = pb.CreateFeatureViewRequest(feature_view_id="w", feature_view=wanted)
    assert await refused(stub.CreateFeatureView(request)) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)


async def test_a_taken_name_is_refused(stub):
    request = pb.CreateFeatureViewRequest(feature_view_id="v", feature_view=view())
    assert (await refused(stub.CreateFeatureView(request)))[:2] == ("ALREADY_EXISTS", "RESOURCE_EXISTS")
