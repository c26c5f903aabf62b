"""The online store: the newest row of every entity, read and written by the column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trunkline_features import columns
from trunkline_features.columns import Array, ReadColumn, WriteColumn
from trunkline_features.plan import Plan, Plans
from trunkline_features.views import FeatureView
from trunkline_hop.clock import Clock
from trunkline_hop.errors import BadRequest, Fault, NotFound, Unavailable
from trunkline_valkey import StoreDown

FUTURE_LIMIT = timedelta(minutes=5)
"""How far ahead of this machine's clock an event time may be."""
KEPT_AT_LEAST = timedelta(days=7)
"""Rows of a view with a TTL leave the store this long after their event, or after two TTLs if that is longer."""
ID_BYTES = 512
VALUES_LIMIT = 1_000_000
"""Most values in one answer, a vector counting its dimension; more would not fit a message of 16 MiB."""

STORE_UNREACHABLE = "feature_store_unreachable"
ROWS_UNREADABLE = "feature_rows_unreadable"
_ATTEMPTS = 8
_MICROSECOND = timedelta(microseconds=1)
_INT64_MAX = 2**63 - 1


class Rows(Protocol):
    """Packed rows by key. One round trip a call; both raise StoreDown."""

    async def read(self, keys: Sequence[str]) -> tuple[str, list[bytes | None]]:
        """The views' revision and the rows, from one moment."""
        ...

    async def write(
        self, revision: str, keys: Sequence[str], rows: Sequence[bytes], expiries_ms: Sequence[int]
    ) -> int | None:
        """Stores the newer rows and counts them; None, and nothing is stored, at another revision.

        An expiry is in ms since the Unix epoch, 0 for never.
        """
        ...


class ViewsKnown(Protocol):
    """The views, remembered. Both raise StoreDown."""

    async def known(self) -> Plans:
        """As they were when last read."""
        ...

    async def refresh(self, seen: Plans | None) -> Plans:
        """Read again, because those seen were found wanting."""
        ...


@dataclass(frozen=True, slots=True)
class Query:
    """Which features of which entities."""

    features: tuple[str, ...]
    """Each `view:field`."""
    entities: Sequence[tuple[str, Sequence[str]]]
    """Ids by entity type, all lists of one length: one id a row of the answer."""


@dataclass(frozen=True, slots=True)
class Table:
    """One column a feature, in the order asked."""

    columns: Sequence[ReadColumn]
    ages_ms: Sequence[tuple[str, Sequence[int]]]
    """By view: the age of each row, -1 where there is none."""
    degraded: tuple[str, ...] = ()
    """Why it holds less than it should."""


@dataclass(frozen=True, slots=True)
class Write:
    """Whole rows of one view."""

    view_id: str
    entity_ids: Sequence[str]
    event_times_us: Sequence[int]
    """One a row, or one for all."""
    columns: Sequence[WriteColumn]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the rows of a write."""

    written: int
    superseded: int


@dataclass(frozen=True, slots=True)
class _Packed:
    keys: Sequence[str]
    rows: Sequence[bytes]
    expiries_ms: Sequence[int]


@dataclass(frozen=True, slots=True)
class OnlineStore:
    """Reads and writes of rows, always by the views as they are in the store at that moment."""

    rows: Rows
    views: ViewsKnown
    clock: Clock

    async def read(self, query: Query) -> Table:
        """The values asked for, with a status each.

        Raises:
            NotFound: VIEW_UNKNOWN, FEATURE_UNKNOWN, ENTITY_TYPE_UNKNOWN.
            BadRequest: ids that are missing, empty, too many, or in lists of different lengths.
            Unavailable: STORE_UNREACHABLE, when the views could never be read.

        A store that is down is no error: every value is its default, marked DEFAULTED.
        """
        ids, count = _ids(query.entities)
        plans = await self._known()
        for _ in range(_ATTEMPTS):
            try:
                plan = plans.plan(query.features)
                _check_entities(plan, plans, query.entities, count)
            except Fault as fault:
                plans = await self._newer(plans, fault)
                continue
            keys = [key for view in plan.views for key in view.view.keys(ids[view.view.entity_type])]
            try:
                revision, stored = await self.rows.read(keys)
                if revision == plans.views.revision:
                    return self._table(plan, stored, count)
                plans = await self.views.refresh(plans)
            except StoreDown:
                return self._defaults(plan, count)
        raise _restless()

    async def write(self, write: Write) -> Written:
        """Stores rows, each unless a newer one is there.

        Of two rows with one event time the one with the larger bytes stays, so that the outcome does not
        depend on the order of arrival.

        Raises:
            NotFound: VIEW_UNKNOWN, FEATURE_UNKNOWN.
            BadRequest: anything wrong with the rows; nothing is written then.
            Unavailable: STORE_UNREACHABLE. The write may have happened, and may be repeated.
        """
        times_us = self._check_rows(write)
        plans = await self._known()
        try:
            for _ in range(_ATTEMPTS):
                try:
                    packed = _pack(plans, write, times_us)
                except Fault as fault:
                    plans = await self._newer(plans, fault)
                    continue
                written = await self.rows.write(
                    plans.views.revision, packed.keys, packed.rows, packed.expiries_ms
                )
                if written is not None:
                    return Written(written, len(packed.rows) - written)
                plans = await self.views.refresh(plans)
        except StoreDown as down:
            raise down.unavailable() from down
        raise _restless()

    async def _known(self) -> Plans:
        try:
            return await self.views.known()
        except StoreDown as down:
            raise down.unavailable() from down

    async def _newer(self, plans: Plans, fault: Fault) -> Plans:
        """Newer views, by which the request may be right; else the fault."""
        try:
            newer = await self.views.refresh(plans)
        except StoreDown as down:
            raise down.unavailable() from down
        if newer is plans:
            raise fault
        return newer

    def _table(self, plan: Plan, stored: Sequence[bytes | None], count: int) -> Table:
        now_us = int(self.clock.now().timestamp() * 1e6)
        placed: list[ReadColumn | None] = [None] * plan.features
        ages: list[tuple[str, Sequence[int]]] = []
        unreadable = 0
        for number, view in enumerate(plan.views):
            decoded, row_ages, damaged = view.decode(stored[number * count : (number + 1) * count], now_us)
            for place, column in zip(view.places, decoded, strict=True):
                placed[place] = column
            ages.append((view.view.name, row_ages))
            unreadable += damaged
        return Table([column for column in placed if column], ages, (ROWS_UNREADABLE,) if unreadable else ())

    def _defaults(self, plan: Plan, count: int) -> Table:
        placed: dict[int, ReadColumn] = {}
        ages: list[tuple[str, Sequence[int]]] = []
        for view in plan.views:
            decoded, row_ages = view.missing(count)
            placed |= zip(view.places, decoded, strict=True)
            ages.append((view.view.name, row_ages))
        return Table([placed[place] for place in sorted(placed)], ages, (STORE_UNREACHABLE,))

    def _check_rows(self, write: Write) -> NDArray[np.int64]:
        """What can be said of the rows without their view. Returns one event time a row."""
        _check_ids(write.entity_ids, "entity_ids")
        count = len(write.entity_ids)
        if len(set(write.entity_ids)) != count:
            seen: set[str] = set()
            for index, each in enumerate(write.entity_ids):
                if each in seen:
                    raise BadRequest.field(
                        f"entity_ids[{index}]", "is there twice; a write has one row an entity"
                    )
                seen.add(each)
        if len(write.event_times_us) not in (1, count):
            raise BadRequest.field(
                "event_times_us", f"expected 1 or {count} times, got {len(write.event_times_us)}"
            )
        times_us = np.fromiter(write.event_times_us, np.int64, len(write.event_times_us))
        latest = int((self.clock.now() + FUTURE_LIMIT).timestamp() * 1e6)
        wrong = np.flatnonzero((times_us < 0) | (times_us > latest))
        if len(wrong):
            raise BadRequest.field(
                f"event_times_us[{int(wrong[0])}]",
                f"must be microseconds since the Unix epoch, from 0 to {FUTURE_LIMIT // timedelta(minutes=1)}"
                " minutes ahead of the clock",
            )
        return times_us if len(times_us) == count else np.repeat(times_us, count)


def _pack(plans: Plans, write: Write, times_us: NDArray[np.int64]) -> _Packed:
    """The rows as they are stored. Raises as `write` does."""
    view = plans.views.view(write.view_id)
    arrays, nulls = _check_columns(view, write.columns, len(times_us))
    rows = plans.rows(view).pack(times_us, arrays, nulls)
    return _Packed(view.keys(write.entity_ids), rows, _expiries_ms(view, times_us))


def _check_columns(
    view: FeatureView, sent: Sequence[WriteColumn], count: int
) -> tuple[list[Array], list[NDArray[np.bool_] | None]]:
    places = {field.name: index for index, field in enumerate(view.fields)}
    arrays: list[Array | None] = [None] * len(view.fields)
    nulls: list[NDArray[np.bool_] | None] = [None] * len(view.fields)
    for index, column in enumerate(sent):
        path = f"columns[{index}]"
        place = places.get(column.feature)
        if place is None:
            raise NotFound(
                "FEATURE_UNKNOWN",
                f"{path}.feature: view `{view.id}` has no field `{column.feature}`",
                resource_type="feature",
                resource_name=f"{view.id}:{column.feature}",
                metadata={"field": f"{path}.feature"},
            )
        if arrays[place] is not None:
            raise BadRequest.field(f"{path}.feature", f"`{column.feature}` has a column already")
        arrays[place] = columns.check(view.fields[place], column.values, count, f"{path}.values")
        nulls[place] = columns.check_nulls(column.statuses, count, f"{path}.statuses")
    absent = [field.name for field, array in zip(view.fields, arrays, strict=True) if array is None]
    if absent:
        raise BadRequest.field("columns", f"expected a column for every field; missing: {', '.join(absent)}")
    return [array for array in arrays if array is not None], nulls


def _expiries_ms(view: FeatureView, times_us: NDArray[np.int64]) -> list[int]:
    """When the store drops each row: long after it is stale, so that STALE values stay readable."""
    if view.ttl is None:
        return [0] * len(times_us)
    kept_us = min(max(2 * view.ttl, KEPT_AT_LEAST) // _MICROSECOND, _INT64_MAX // 2)
    expiries: list[int] = np.maximum((times_us + kept_us) // 1000, 1).tolist()
    return expiries


def _ids(entities: Sequence[tuple[str, Sequence[str]]]) -> tuple[Mapping[str, Sequence[str]], int]:
    """Ids by entity type, and how many each has."""
    by_type: dict[str, Sequence[str]] = {}
    count = len(entities[0][1]) if entities else 0
    for index, (entity_type, ids) in enumerate(entities):
        if entity_type in by_type:
            raise BadRequest.field(f"entities[{index}].entity_type", f"`{entity_type}` is there twice")
        if len(ids) != count:
            raise BadRequest.field(
                f"entities[{index}].ids", f"expected {count} ids as in entities[0], got {len(ids)}"
            )
        _check_ids(ids, f"entities[{index}].ids")
        by_type[entity_type] = ids
    return by_type, count


def _check_ids(ids: Sequence[str], path: str) -> None:
    if not ids:
        raise BadRequest.field(path, "must name at least one entity")
    for index, each in enumerate(ids):
        if not each or len(each) > ID_BYTES:
            raise BadRequest.field(f"{path}[{index}]", f"must have 1 to {ID_BYTES} characters")


def _check_entities(
    plan: Plan, plans: Plans, entities: Sequence[tuple[str, Sequence[str]]], count: int
) -> None:
    given = {entity_type for entity_type, _ in entities}
    for index, (entity_type, _) in enumerate(entities):
        path = f"entities[{index}].entity_type"
        if not plans.views.has_entity_type(entity_type):
            raise NotFound(
                "ENTITY_TYPE_UNKNOWN",
                f"{path}: no view is about `{entity_type}`",
                resource_type="entity_type",
                resource_name=entity_type,
                metadata={"field": path},
            )
        if entity_type not in plan.entity_types:
            raise BadRequest.field(path, f"no feature asked for is about `{entity_type}`")
    missing = sorted(plan.entity_types - given)
    if missing:
        raise BadRequest.field(
            "entities", f"expected ids of every entity type; missing: {', '.join(missing)}"
        )
    if plan.width * count > VALUES_LIMIT:
        raise BadRequest.field(
            "entities", f"{plan.width} values each for {count} entities are more than {VALUES_LIMIT}"
        )


def _restless() -> Unavailable:
    return Unavailable(
        "STORE_UNREACHABLE", "the views changed again and again meanwhile", retry_after=timedelta(seconds=1)
    )
