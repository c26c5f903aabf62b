"""Contract messages to the domain's terms and back."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from google.protobuf.struct_pb2 import Struct, Value
from numpy.typing import NDArray

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline_hop.errors import BadRequest
from trunkline_retrieval import filter as filters
from trunkline_retrieval.changes import Attribute, Attributes, Delete, Upsert
from trunkline_retrieval.collection import Matches
from trunkline_retrieval.index import Budget, Index, IndexType, Metric
from trunkline_retrieval.indexes import Open
from trunkline_retrieval.replica import Found, Search
from trunkline_retrieval.shelf import Build, State

_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]*")
_TOP_K = 10
_ID_LENGTH = 128
_DEFAULT = Budget()
_NEVER = datetime.fromtimestamp(0, UTC)


def index_of(name: str) -> str:
    """The id in `indexes/{index}` and in what lies below it."""
    return name.split("/")[1]


def snapshot_of(name: str) -> str:
    """The id in `indexes/{index}/snapshots/{snapshot}`."""
    return name.split("/")[3]


def index(request: pb.CreateIndexRequest) -> Index:
    """What a caller may say of an index.

    Raises:
        BadRequest: a budget or label that is none.
    """
    message = request.index
    budget = message.budget
    search_time_s = _DEFAULT.search_time_s
    if budget.HasField("search_time"):
        search_time_s = budget.search_time.seconds + budget.search_time.nanos / 1e9
        if not search_time_s > 0:
            raise BadRequest.field("index.budget.search_time", "expected a positive time")
    for key, value in message.labels.items():
        if not 1 <= len(key) <= 63 or len(value) > 255:
            raise BadRequest.field(
                "index.labels", "expected keys of 1 to 63 characters and values of up to 255"
            )
    return Index(
        id=request.index_id,
        uid="",
        dimension=message.dimension,
        metric=Metric(message.metric),
        type=IndexType(message.type) if message.type else None,
        budget=Budget(
            search_time_s, budget.memory_bytes or _DEFAULT.memory_bytes, budget.recall or _DEFAULT.recall
        ),
        create_time=_NEVER,
        description=message.description,
        labels=dict(message.labels),
    )


def upsert(request: pb.UpsertVectorsRequest, declared: Index) -> Upsert:
    """Vectors to be written.

    Raises:
        BadRequest: an id that is there twice, or a vector or an attribute that is none.
    """
    ids: list[str] = []
    seen: set[str] = set()
    attributes: list[Attributes] = []
    for n, vector in enumerate(request.vectors):
        if vector.id in seen:
            raise BadRequest.field(f"vectors[{n}].id", f"`{vector.id}` is in the request twice")
        seen.add(vector.id)
        ids.append(vector.id)
        attributes.append(_attributes(vector.attributes, n) if vector.HasField("attributes") else {})
    vectors = _matrix(request.vectors, declared, "vectors")
    if declared.metric is Metric.COSINE:
        vectors = (vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)).astype(
            np.float32
        )
    return Upsert(ids, vectors, attributes)


def delete(request: pb.DeleteVectorsRequest) -> Delete:
    """Ids to be removed.

    Raises:
        BadRequest: one that no vector can have.
    """
    for n, each in enumerate(request.ids):
        if not 1 <= len(each) <= _ID_LENGTH:
            raise BadRequest.field(f"ids[{n}]", f"expected 1 to {_ID_LENGTH} characters")
    return Delete(list(dict.fromkeys(request.ids)))


def search(request: pb.SearchRequest, declared: Index) -> Search:
    """What is asked for.

    Raises:
        BadRequest: a query or a filter that is none.
    """
    return Search(
        _matrix(request.queries, declared, "queries"),
        request.top_k or _TOP_K,
        filters.parse(request.filter) if request.filter else None,
        request.include_attributes,
        request.min_sequence,
    )


def found_message(found: Found, declared: Index) -> pb.SearchResponse:
    """What was found."""
    response = pb.SearchResponse(sequence=found.sequence)
    if found.snapshot_id is not None:
        response.snapshot = f"{declared.name}/snapshots/{found.snapshot_id}"
    for matches in found.matches:
        _fill(response.results.add(), matches)
    return response


def index_message(opened: Open) -> pb.Index:
    """An index as callers see it. What one that is loading or damaged holds is not known."""
    replica = opened.replica
    declared = replica.index
    message = pb.Index(
        name=declared.name,
        dimension=declared.dimension,
        metric=pb.Metric.ValueType(declared.metric),
        type=pb.IndexType.ValueType(declared.type or 0),
        budget=pb.Budget(memory_bytes=declared.budget.memory_bytes, recall=declared.budget.recall),
        description=declared.description,
        labels=declared.labels,
        device=replica.device.name,
    )
    message.budget.search_time.FromNanoseconds(round(declared.budget.search_time_s * 1e9))
    message.create_time.FromDatetime(declared.create_time)
    collection = replica.loaded
    if collection is not None:
        message.vector_count = collection.vector_count
        message.sequence = collection.sequence
        message.unmerged_count = collection.unmerged_count
        if collection.snapshot is not None:
            message.active_snapshot = f"{declared.name}/snapshots/{collection.snapshot.manifest.snapshot_id}"
    return message


def snapshot_message(build: Build, declared: Index) -> pb.Snapshot:
    """A snapshot as callers see it."""
    message = pb.Snapshot(
        name=f"{declared.name}/snapshots/{build.snapshot_id}",
        state=pb.SnapshotState.ValueType(build.state),
        progress=1.0 if build.state in (State.READY, State.ACTIVE) else build.progress,
        error=build.error,
        sequence=build.sequence,
        vector_count=build.vector_count,
    )
    message.create_time.FromDatetime(build.create_time)
    if build.end_time is not None:
        message.end_time.FromDatetime(build.end_time)
    if (manifest := build.manifest) is not None:
        message.type = pb.IndexType.ValueType(manifest.type)
        message.parameters.update(manifest.parameters)
        message.recall = manifest.recall
        message.search_time.FromNanoseconds(round(manifest.search_time_s * 1e9))
        message.memory_bytes = manifest.memory_bytes
        message.digest = manifest.digest
    return message


def _matrix(messages: Sequence[Any], declared: Index, path: str) -> NDArray[np.float32]:
    """The values of messages that have `values`, `[messages, dimension]`."""
    matrix = np.empty((len(messages), declared.dimension), np.float32)
    for n, message in enumerate(messages):
        values = message.values
        if len(values) != declared.dimension:
            raise BadRequest.field(
                f"{path}[{n}].values", f"expected {declared.dimension} numbers, got {len(values)}"
            )
        matrix[n] = np.array(values, np.float32)
    if not np.isfinite(matrix).all():
        at = int(np.argmin(np.isfinite(matrix).all(axis=1)))
        raise BadRequest.field(f"{path}[{at}].values", "expected finite numbers")
    if declared.metric is Metric.COSINE and not matrix.any(axis=1).all():
        at = int(np.argmin(matrix.any(axis=1)))
        raise BadRequest.field(f"{path}[{at}].values", "expected a vector other than zero")
    return matrix


def _attributes(message: Struct, at: int) -> Attributes:
    read: dict[str, Attribute] = {}
    for name, value in message.fields.items():
        path = f"vectors[{at}].attributes.{name}"
        if not _ATTRIBUTE.fullmatch(name):
            raise BadRequest.field(path, "expected a name of the form [a-z][a-z0-9_]*")
        read[name] = _attribute(value, path)
    return read


def _attribute(value: Value, path: str) -> Attribute:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "number_value" if math.isfinite(value.number_value):
            return value.number_value
        case "list_value" if all(
            each.WhichOneof("kind") == "string_value" for each in value.list_value.values
        ):
            return tuple(each.string_value for each in value.list_value.values)
    raise BadRequest.field(path, "expected a text, a finite number, a boolean or a list of texts")


def _fill(message: pb.Matches, matches: Matches) -> None:
    message.ids.extend(matches.ids)
    message.scores.extend(matches.scores.tolist())
    for attributes in matches.attributes or ():
        fields = message.attributes.add().fields
        for name, attribute in attributes.items():
            _set(fields[name], attribute)


def _set(value: Value, attribute: Attribute) -> None:
    if isinstance(attribute, bool):
        value.bool_value = attribute
    elif isinstance(attribute, str):
        value.string_value = attribute
    elif isinstance(attribute, tuple):
        value.list_value.SetInParent()
        for text in attribute:
            value.list_value.values.add().string_value = text
    else:
        value.number_value = attribute
