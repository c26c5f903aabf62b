"""Read plans: everything about a query that does not depend on its entities, worked out once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline_features import rows
from trunkline_features.columns import ReadColumn, Status, repeated, zero
from trunkline_features.views import FeatureView, FieldType, Views
from trunkline_hop.errors import BadRequest, NotFound

_PLANS_KEPT = 512


@dataclass(frozen=True, slots=True)
class _Block:
    """The features asked for that lie in one block of the row."""

    name: str
    features: NDArray[np.int64]
    """Their place among the features asked of the view."""
    columns: NDArray[np.int64]
    """Their column in the block."""
    defaults: NDArray[Any]


class ViewPlan:
    """What is read of one view.

    Args:
        view: the view.
        row_format: of its rows.
        asked: place in the answer and index of the field, for each feature.
    """

    def __init__(
        self, view: FeatureView, row_format: rows.RowFormat, asked: Sequence[tuple[int, int]]
    ) -> None:
        self.view = view
        self.places = tuple(place for place, _ in asked)
        self.fields = tuple(view.fields[index] for _, index in asked)
        self._names = [f"{view.id}:{field.name}" for field in self.fields]
        self._indices = np.array([index for _, index in asked])
        self._defaults = [zero(field) if field.default is None else field.default for field in self.fields]
        self._missing = np.array(
            [Status.NOT_FOUND if field.default is None else Status.DEFAULTED for field in self.fields],
            np.uint8,
        )[:, None]
        self._format = row_format
        columns = self._format.layout(len(view.fields)).columns
        self._slices = [columns[index] for _, index in asked]
        self._blocks = [
            self._block(name) for name in (rows.FLOATS, rows.INTEGERS, rows.FLAGS) if self._in_block(name)
        ]
        self._vectors, self._spans = self._in_block(rows.SINGLES), self._in_block(rows.SPANS)

    def _in_block(self, name: str) -> list[int]:
        return [feature for feature, field in enumerate(self.fields) if rows.BLOCK_OF[field.type] == name]

    def _block(self, name: str) -> _Block:
        features = self._in_block(name)
        dtype = {rows.FLOATS: np.float64, rows.INTEGERS: np.int64, rows.FLAGS: np.bool_}[name]
        return _Block(
            name,
            np.array(features),
            np.array([self._slices[feature].start for feature in features]),
            np.array([self._defaults[feature] for feature in features], dtype),
        )

    def missing(self, count: int) -> tuple[list[ReadColumn], list[int]]:
        """The answer for so many entities when nothing is stored of any: columns and ages."""
        columns = []
        for feature, field in enumerate(self.fields):
            values = list(repeated(self._defaults[feature], count))
            columns.append(
                ReadColumn(self._names[feature], field.type, values, [int(self._missing[feature, 0])] * count)
            )
        return columns, [-1] * count

    def decode(self, stored: Sequence[bytes | None], now_us: int) -> tuple[list[ReadColumn], list[int], int]:
        """Columns in the order of `places`, the age of every row in ms, and how many were unreadable."""
        groups, unreadable = self._format.unpack(stored)
        if not groups:
            return *self.missing(len(stored)), unreadable
        if len(groups) == 1 and len(groups[0].at) == len(stored) and groups[0].count == len(self.view.fields):
            return *self._decode_whole(groups[0], stored, now_us), unreadable
        return *self._decode_parts(groups, stored, now_us), unreadable

    def _decode_whole(
        self, group: rows.Unpacked, stored: Sequence[bytes | None], now_us: int
    ) -> tuple[list[ReadColumn], list[int]]:
        """Every row is there and holds every field: no defaults to mix in."""
        blocks = group.blocks
        values: list[Any] = [None] * len(self.fields)
        for block in self._blocks:
            matrix = blocks[block.name].T[block.columns].tolist()
            for feature, column in zip(block.features.tolist(), matrix, strict=True):
                values[feature] = column
        for feature in self._vectors:
            values[feature] = blocks[rows.SINGLES][:, self._slices[feature]].ravel().tolist()
        for feature in self._spans:
            values[feature] = self._texts(feature, blocks, stored, group.at)
        statuses, ages = self._judge(group, self._indices, now_us)
        columns = [
            ReadColumn(name, field.type, column, codes)
            for name, field, column, codes in zip(
                self._names, self.fields, values, statuses.tolist(), strict=True
            )
        ]
        return columns, ages.tolist()

    def _decode_parts(
        self, groups: Sequence[rows.Unpacked], stored: Sequence[bytes | None], now_us: int
    ) -> tuple[list[ReadColumn], list[int]]:
        """Rows are missing, or older than a field: start from the defaults and lay what is stored over them."""
        count = len(stored)
        statuses = np.repeat(self._missing, count, axis=1)
        ages = np.full(count, -1, np.int64)
        matrices = [np.repeat(block.defaults[:, None], count, axis=1) for block in self._blocks]
        vectors = {
            feature: np.tile(np.array(self._defaults[feature], np.float32), (count, 1))
            for feature in self._vectors
        }
        texts: dict[int, list[Any]] = {feature: [self._defaults[feature]] * count for feature in self._spans}
        for group in groups:
            at = np.array(group.at)
            held = np.flatnonzero(self._indices < group.count)
            codes, ages[at] = self._judge(group, self._indices[held], now_us)
            statuses[np.ix_(held, at)] = codes
            for block, matrix in zip(self._blocks, matrices, strict=True):
                inside = np.flatnonzero(self._indices[block.features] < group.count)
                matrix[np.ix_(inside, at)] = group.blocks[block.name].T[block.columns[inside]]
            holds = set(held.tolist())
            for feature in holds.intersection(vectors):
                vectors[feature][at] = group.blocks[rows.SINGLES][:, self._slices[feature]]
            for feature in holds.intersection(texts):
                found = self._texts(feature, group.blocks, stored, group.at)
                for index, text in zip(group.at, found, strict=True):
                    texts[feature][index] = text
        values: dict[int, list[Any]] = {
            feature: vector.ravel().tolist() for feature, vector in vectors.items()
        }
        values |= texts
        for block, matrix in zip(self._blocks, matrices, strict=True):
            values |= zip(block.features.tolist(), matrix.tolist(), strict=True)
        columns = [
            ReadColumn(self._names[feature], field.type, values[feature], codes)
            for feature, (field, codes) in enumerate(zip(self.fields, statuses.tolist(), strict=True))
        ]
        return columns, ages.tolist()

    def _judge(
        self, group: rows.Unpacked, indices: NDArray[np.int64], now_us: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Status of each of the fields in each row `[fields, rows]`, and the age of each row in ms."""
        ages_us = np.maximum(now_us - group.blocks["event_time_us"], 0)
        ttl_us = self.view.ttl_us
        fresh = (
            np.full(len(ages_us), Status.PRESENT, np.uint8)
            if ttl_us is None
            else np.where(ages_us < ttl_us, np.uint8(Status.PRESENT), np.uint8(Status.STALE))
        )
        statuses = np.repeat(fresh[None, :], len(indices), axis=0)
        if group.blocks["nulls"].any():
            bits = np.unpackbits(group.blocks["nulls"], axis=1, bitorder="little")
            statuses[bits.T[indices].astype(np.bool_)] = Status.NULL
        return statuses, ages_us // 1000

    def _texts(
        self, feature: int, blocks: NDArray[np.void], stored: Sequence[bytes | None], at: Sequence[int]
    ) -> list[str] | list[bytes]:
        spans = blocks[rows.SPANS][:, self._slices[feature].start].tolist()
        found = [
            (stored[index] or b"")[offset : offset + length]
            for index, (offset, length) in zip(at, spans, strict=True)
        ]
        if self.fields[feature].type is FieldType.BYTES:
            return found
        return [text.decode("utf-8", "replace") for text in found]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one list of features reads."""

    views: tuple[ViewPlan, ...]
    features: int
    """How many columns the answer has."""
    entity_types: frozenset[str]
    width: int
    """Values one entity has in the answer; a vector counts its dimension."""


class Plans:
    """The plans of one revision of the views, the recently used ones kept."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self._kept: OrderedDict[tuple[str, ...], Plan] = OrderedDict()
        self._formats: dict[str, rows.RowFormat] = {}

    def rows(self, view: FeatureView) -> rows.RowFormat:
        """The format of a view's rows."""
        known = self._formats.get(view.id)
        if known is None:
            known = self._formats[view.id] = rows.RowFormat(view.fields)
        return known

    def plan(self, features: tuple[str, ...]) -> Plan:
        """The plan for these features, each `view:field`.

        Raises:
            BadRequest: a name that is not `view:field`, or one that is there twice.
            NotFound: VIEW_UNKNOWN or FEATURE_UNKNOWN.
        """
        plan = self._kept.get(features)
        if plan is None:
            plan = self._kept[features] = self._compile(features)
            if len(self._kept) > _PLANS_KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(features)
        return plan

    def _compile(self, features: tuple[str, ...]) -> Plan:
        asked: dict[str, list[tuple[int, int]]] = {}
        seen: set[str] = set()
        for place, feature in enumerate(features):
            view_id, colon, name = feature.partition(":")
            if not (view_id and colon and name):
                raise BadRequest.field(f"features[{place}]", "must be `view:field`")
            if feature in seen:
                raise BadRequest.field(f"features[{place}]", f"`{feature}` is asked for twice")
            seen.add(feature)
            fields = self.views.view(view_id).fields
            index = next((index for index, field in enumerate(fields) if field.name == name), None)
            if index is None:
                raise NotFound(
                    "FEATURE_UNKNOWN",
                    f"view `{view_id}` has no field `{name}`",
                    resource_type="feature",
                    resource_name=feature,
                )
            asked.setdefault(view_id, []).append((place, index))
        asked_of = [(self.views.view(view_id), places) for view_id, places in asked.items()]
        plans = tuple(ViewPlan(view, self.rows(view), places) for view, places in asked_of)
        return Plan(
            plans,
            len(features),
            frozenset(plan.view.entity_type for plan in plans),
            sum(max(1, field.dimension) for plan in plans for field in plan.fields),
        )
