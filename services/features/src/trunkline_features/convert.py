"""Contract messages to the domain's terms and back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from trunkline.features.v1 import features_pb2 as pb
from trunkline_features.catalog import Mutation
from trunkline_features.columns import ReadColumn, Values, WriteColumn, single
from trunkline_features.online import Query, Table, Write
from trunkline_features.views import FeatureView, Field, FieldType, Value
from trunkline_hop.errors import BadRequest

_NAME = re.compile(r"views/([a-z][a-z0-9_]*)")
_KINDS = {field_type.name.lower(): field_type for field_type in FieldType}
"""The members of the `Values` oneof are named as the types."""
_MEMBERS = {field_type: name for name, field_type in _KINDS.items()}


def view_id(name: str, path: str) -> str:
    """The last segment of `views/{view}`.

    Raises:
        BadRequest: it is no such name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadRequest.field(path, "must be `views/{view}`")
    return match[1]


def mutation(request: Message, request_id: str) -> Mutation:
    """Who asks, known by the request's bytes."""
    if not request_id:
        return Mutation()
    content = request.DESCRIPTOR.full_name.encode() + request.SerializeToString(deterministic=True)
    return Mutation(request_id, hashlib.sha256(content).hexdigest())


def feature_view(message: pb.FeatureView, identifier: str) -> FeatureView:
    """What a caller may say of a view.

    Raises:
        BadRequest: a type, TTL or default that is none.
    """
    ttl = None
    if message.HasField("ttl"):
        try:
            ttl = message.ttl.ToTimedelta()
        except (OverflowError, ValueError):
            raise BadRequest.field("feature_view.ttl", "must be a duration of at most 10000 years") from None
    return FeatureView(
        id=identifier,
        entity_type=message.entity_type,
        fields=tuple(
            _field(field, f"feature_view.fields[{index}]") for index, field in enumerate(message.fields)
        ),
        ttl=ttl,
        description=message.description,
        owner=message.owner,
        source=message.source,
        etag=message.etag,
    )


def query(request: pb.GetOnlineFeaturesRequest) -> Query:
    """Which features of which entities."""
    return Query(tuple(request.features), [(each.entity_type, list(each.ids)) for each in request.entities])


def write(request: pb.WriteFeaturesRequest) -> Write:
    """Rows to be written."""
    return Write(
        view_id(request.view, "view"),
        list(request.entity_ids),
        request.event_times_us,
        [WriteColumn(column.feature, _values(column.values), column.statuses) for column in request.columns],
    )


def table(answer: Table) -> pb.GetOnlineFeaturesResponse:
    """The columns of an answer."""
    reply = pb.GetOnlineFeaturesResponse()
    add = reply.columns.add
    for column in answer.columns:
        message = add(feature=column.feature)
        message.statuses.extend(cast("Sequence[pb.FeatureStatus.ValueType]", column.statuses))
        _fill(message.values, column)
    for view, ages in answer.ages_ms:
        reply.row_ages.add(view=view, ages_ms=ages)
    return reply


def view_message(view: FeatureView) -> pb.FeatureView:
    """A view as callers see it."""
    message = pb.FeatureView(
        name=view.name,
        entity_type=view.entity_type,
        fields=[_field_message(field) for field in view.fields],
        description=view.description,
        owner=view.owner,
        source=view.source,
        create_time=Timestamp(),
        update_time=Timestamp(),
        etag=view.etag,
    )
    message.create_time.FromDatetime(view.create_time)
    message.update_time.FromDatetime(view.update_time)
    if view.ttl is not None:
        message.ttl.CopyFrom(Duration())
        message.ttl.FromTimedelta(view.ttl)
    return message


def _field(message: pb.Field, path: str) -> Field:
    try:
        field_type = FieldType(message.type)
    except ValueError:
        raise BadRequest.field(f"{path}.type", "must be one of the types") from None
    field = Field(message.name, field_type, None, message.dimension, message.description)
    if not message.HasField("default_value"):
        return field
    default = single(field, _values(message.default_value), f"{path}.default_value")
    return Field(message.name, field_type, default, message.dimension, message.description)


def _field_message(field: Field) -> pb.Field:
    message = pb.Field(
        name=field.name,
        type=pb.FieldType.ValueType(field.type),
        dimension=field.dimension,
        description=field.description,
    )
    if field.default is not None:
        _fill(message.default_value, ReadColumn("", field.type, _items(field.default), ()))
    return message


def _items(value: Value) -> list[Value]:
    return list(value) if isinstance(value, tuple) else [value]


def _values(message: pb.Values) -> Values:
    member = message.WhichOneof("kind")
    if member is None:
        return Values(None, ())
    array = getattr(message, member)
    return Values(_KINDS[member], array.values_us if member == "timestamp" else array.values)


def _fill(message: pb.Values, column: ReadColumn) -> None:
    if column.type is FieldType.FLOAT64:
        message.float64.values.extend(column.values)
    elif column.type is FieldType.TIMESTAMP:
        message.timestamp.values_us.extend(column.values)
    else:
        getattr(message, _MEMBERS[column.type]).values.extend(column.values)
