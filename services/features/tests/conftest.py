"""A feature store on the real server, with a clock that tests own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from trunkline_features.catalog import Catalog, Mutation
from trunkline_features.columns import Values, WriteColumn
from trunkline_features.online import OnlineStore, Query, Table, Write, Written
from trunkline_features.redis_rows import RedisRows
from trunkline_features.redis_views import RedisViews
from trunkline_features.views import FeatureView, Field, FieldType, Value
from trunkline_local.embedded import Valkey
from trunkline_valkey import Store


class VirtualClock:
    """Starts now, because the store drops rows by its own clock, and moves when told."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)

    def us(self, **ago: float) -> int:
        return int((self.time - timedelta(**ago)).timestamp() * 1e6)


class Features:
    """One replica of the store."""

    def __init__(self, store: Store, clock: VirtualClock) -> None:
        self.store = store
        self.clock = clock
        self.catalog = Catalog(RedisViews(store, timeout_s=5.0), clock)
        self.online = OnlineStore(
            RedisRows(store, read_timeout_s=5.0, write_timeout_s=5.0), self.catalog, clock
        )

    async def declare(self, name: str, *fields: Field, ttl: timedelta | None = None) -> FeatureView:
        return await self.catalog.create(FeatureView(name, "customer", fields, ttl), Mutation())

    async def write(self, view: str, ids: list[str], time_us: int, **columns: list[Value | None]) -> Written:
        known = (await self.catalog.get(view)).fields
        sent = []
        for field in known:
            if field.name in columns:
                values = columns[field.name]
                empty: Value = "" if field.type is FieldType.STRING else 0
                items = [empty if value is None else value for value in values]
                sent.append(
                    WriteColumn(
                        field.name, Values(field.type, items), [2 if value is None else 1 for value in values]
                    )
                )
        return await self.online.write(Write(view, ids, [time_us], sent))

    async def read(self, ids: list[str], *features: str) -> Table:
        return await self.online.read(Query(features, [("customer", ids)]))


async def flush(valkey: Valkey) -> None:
    async with Store(valkey.url) as store:
        await store.command("FLUSHALL", timeout_s=5.0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def replicas(valkey: Valkey, clock: VirtualClock) -> AsyncIterator[tuple[Features, Features]]:
    """Two replicas on one empty store."""
    await flush(valkey)
    async with Store(valkey.url) as one, Store(valkey.url) as other:
        yield Features(one, clock), Features(other, clock)


@pytest.fixture
def features(replicas: tuple[Features, Features]) -> Features:
    return replicas[0]


@pytest.fixture
def replica_of(clock: VirtualClock) -> Callable[[Store], Features]:
    """A replica on a store of one's own."""
    return lambda store: Features(store, clock)


@pytest.fixture
def until() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        """Returns when the condition is true; fails after 15 s."""
        async with asyncio.timeout(15):
            while not await condition():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.Event().wait(), 0.02)

    return wait
