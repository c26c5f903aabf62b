"""Feature views: what a row of features is, how a view may change, and which values its fields accept."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import TypeAlias

from trunkline_hop.errors import BadRequest, FieldViolation, NotFound

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""Names of views, fields and entity types."""

EPOCH = datetime.fromtimestamp(0, UTC)

MUTABLE = ("description", "owner", "source", "ttl", "fields")
"""What an update may change."""

Value: TypeAlias = float | int | str | bytes | tuple[float, ...]
"""One value: bool is an int here, a timestamp is microseconds since the Unix epoch."""


class FieldType(IntEnum):
    """The type of a field. The numbers are those of trunkline.features.v1.FieldType."""

    FLOAT64 = 1
    INT64 = 2
    BOOL = 3
    STRING = 4
    BYTES = 5
    FLOAT32_VECTOR = 6
    TIMESTAMP = 7


@dataclass(frozen=True, slots=True)
class Field:
    """One feature of a view."""

    name: str
    type: FieldType
    default: Value | None = None
    """What stands in for a missing value; None: nothing does."""
    dimension: int = 0
    """Length of a vector, 0 for other types."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class FeatureView:
    """Features of one entity type that are written together."""

    id: str
    entity_type: str
    fields: tuple[Field, ...]
    """In the order in which rows store them; new ones are only ever appended."""
    ttl: timedelta | None = None
    """Age from which a value is stale; None: never."""
    description: str = ""
    owner: str = ""
    source: str = ""
    incarnation: str = ""
    """Part of every row's key: a view created again under an old name never sees the old rows."""
    create_time: datetime = EPOCH
    update_time: datetime = EPOCH
    etag: str = ""

    @property
    def name(self) -> str:
        """Resource name."""
        return f"views/{self.id}"

    def keys(self, ids: Sequence[str]) -> list[str]:
        """Keys of the rows of entities. All views of one entity share a hash tag, thus a slot of a cluster."""
        prefix, suffix = f"f:{{{self.entity_type}:", f"}}:{self.id}.{self.incarnation}"
        return [prefix + each + suffix for each in ids]

    @property
    def ttl_us(self) -> int | None:
        """The TTL in microseconds."""
        return None if self.ttl is None else self.ttl // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Views:
    """All views at one revision of the store."""

    revision: str
    """Changes with every change of any view; empty in a store that never held one."""
    by_id: Mapping[str, FeatureView]

    def view(self, view_id: str) -> FeatureView:
        """The view of that id.

        Raises:
            NotFound: VIEW_UNKNOWN.
        """
        view = self.by_id.get(view_id)
        if view is None:
            raise NotFound(
                "VIEW_UNKNOWN",
                f"there is no view `{view_id}`",
                resource_type="view",
                resource_name=f"views/{view_id}",
            )
        return view

    def has_entity_type(self, entity_type: str) -> bool:
        """True when a view is about such entities."""
        return any(view.entity_type == entity_type for view in self.by_id.values())


def check(view: FeatureView) -> None:
    """Checks a view that is being declared or changed.

    Raises:
        BadRequest: naming every field that is wrong.
    """
    wrong: list[FieldViolation] = []
    for path, name in (("feature_view_id", view.id), ("feature_view.entity_type", view.entity_type)):
        if not NAME.fullmatch(name):
            wrong.append(FieldViolation(path, _NAME_RULE))
    if view.ttl is not None and view.ttl <= timedelta():
        wrong.append(
            FieldViolation("feature_view.ttl", "must be positive; leave it out for values that never age")
        )
    if not view.fields:
        wrong.append(FieldViolation("feature_view.fields", "must hold at least one field"))
    names: set[str] = set()
    for index, field in enumerate(view.fields):
        path = f"feature_view.fields[{index}]"
        if not NAME.fullmatch(field.name):
            wrong.append(FieldViolation(f"{path}.name", _NAME_RULE))
        if field.name in names:
            wrong.append(FieldViolation(f"{path}.name", f"`{field.name}` is already a field of the view"))
        names.add(field.name)
        if (field.type is FieldType.FLOAT32_VECTOR) != (field.dimension > 0):
            wrong.append(
                FieldViolation(f"{path}.dimension", "must be positive for vectors and 0 for other types")
            )
    if wrong:
        raise BadRequest("; ".join(f"{each.field}: {each.description}" for each in wrong), wrong)


def evolve(current: FeatureView, wanted: FeatureView, paths: Sequence[str]) -> FeatureView:
    """The current view with the named parts replaced by those of the wanted one.

    Raises:
        BadRequest: a path that cannot be updated, or a change that stored rows would not survive.
    """
    if not paths:
        raise BadRequest.field("update_mask", f"must name at least one of {', '.join(MUTABLE)}")
    for index, path in enumerate(paths):
        if path not in MUTABLE:
            raise BadRequest.field(
                f"update_mask.paths[{index}]", f"`{path}` cannot be updated, only {', '.join(MUTABLE)}"
            )
    if "fields" in paths:
        _check_appended(current.fields, wanted.fields)
    changed = dataclasses.replace(current, **{path: getattr(wanted, path) for path in paths})
    check(changed)
    return changed


def _check_appended(old: Sequence[Field], new: Sequence[Field]) -> None:
    for index, field in enumerate(old):
        path = f"feature_view.fields[{index}]"
        expected = f"must stay `{field.name}`, {field.type.name}" + (
            f" of dimension {field.dimension}" if field.dimension else ""
        )
        if index >= len(new):
            raise BadRequest.field(path, f"{expected}: stored rows hold it; fields can only be appended")
        kept = new[index]
        if (kept.name, kept.type, kept.dimension) != (field.name, field.type, field.dimension):
            raise BadRequest.field(path, f"{expected}: stored rows hold it; fields can only be appended")


_NAME_RULE = "must match [a-z][a-z0-9_]* and have at most 63 characters"
