from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from registry_parts import TEXT, Registry, eventually, open_registry

from trunkline_hop.context import Context, current
from trunkline_hop.errors import Fault, Unavailable
from trunkline_local.embedded import PostgreSQL
from trunkline_registry.postgres import migrate as migrations
from trunkline_registry.postgres.database import Database
from trunkline_registry.postgres.feed import Feed
from trunkline_registry.requests import RequestKey
from trunkline_registry.watch import Serving, Synced


@pytest.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator[PostgreSQL]:
    """A server of this test's own, to be killed."""
    async with PostgreSQL(tmp_path / "postgres", durable=False) as server:
        yield server


async def test_a_database_that_dies_is_unavailable_and_comes_back_by_itself(
    own_postgres: PostgreSQL, tmp_path: Path
) -> None:
    async with open_registry(own_postgres.dsn, tmp_path / "blobs") as registry:
        await registry.model()
        stream = registry.watch.stream((), "", asyncio.Event())
        events = [await anext(stream), await anext(stream)]
        assert isinstance(events[1], Synced)

        await own_postgres.kill()
        await eventually(lambda: not registry.feed.connected)
        with pytest.raises(Unavailable) as down:
            await registry.models.get("fraud")
        assert down.value.reason == "STORE_UNREACHABLE"
        assert down.value.retry_after == timedelta(seconds=1)

        await own_postgres.start()
        await eventually(lambda: registry.feed.connected)
        assert (await registry.models.get("fraud")).display_name == "Fraud"
        await registry.model("second")
        async with asyncio.timeout(20):
            change = await anext(stream)  # the same watch, as if nothing had happened
        assert isinstance(change, Serving) and change.serving.model_id == "second"
        await stream.aclose()


async def test_a_registry_that_starts_before_its_database_waits_for_it(
    own_postgres: PostgreSQL, tmp_path: Path
) -> None:
    await own_postgres.kill()
    async with Database.open(own_postgres.dsn, pool_size=2) as database:
        feed, told = Feed(database), []
        running = asyncio.create_task(feed.run(lambda: told.append(feed.connected)))
        with pytest.raises(Unavailable):
            await feed.position()
        await own_postgres.start()
        await eventually(lambda: feed.connected)
        assert told == [True]
        assert (await feed.position()).revision == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_connections_that_were_cut_are_replaced_before_anyone_gets_them(
    registry: Registry, database: str
) -> None:
    await registry.model()
    with psycopg.connect(database, autocommit=True) as sql:
        sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'trunkline-registry' AND datname = current_database()"
        )
    assert await registry.models.get("fraud")


async def test_nobody_waits_for_a_connection_longer_than_the_call_has_left(
    database: str, tmp_path: Path
) -> None:
    async with (
        open_registry(database, tmp_path / "blobs", pool_size=1) as registry,
        registry.database.transaction("held"),
    ):
        call = current.set(Context(deadline=monotonic()))
        try:
            with pytest.raises(Unavailable):
                await registry.models.get("fraud")
        finally:
            current.reset(call)


@pytest.mark.parametrize("start", [0, 15])
async def test_a_call_cancelled_at_any_await_leaves_no_transaction_and_no_broken_connection(
    database: str, tmp_path: Path, start: int
) -> None:
    async with open_registry(database, tmp_path / "blobs", pool_size=2) as registry:
        for steps in range(start, start + 15):
            key = RequestKey("CreateModel", f"r{steps}", b"f")
            call = asyncio.create_task(registry.models.create(f"m{steps}", TEXT, key))
            for _ in range(steps):
                await asyncio.wait({call}, timeout=0.0002)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            # It happened whole or not at all, and repeating it tells which makes no difference.
            assert (await registry.models.create(f"m{steps}", TEXT, key)).model_id == f"m{steps}"
        await asyncio.gather(*(registry.models.get(f"m{start}") for _ in range(20)))
        with psycopg.connect(database, autocommit=True) as sql:

            def nothing_open() -> bool:
                return not sql.execute(
                    "SELECT FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
                    " AND datname = current_database()"
                ).fetchall()

            # One left behind would stay for the 30 s that the server grants it.
            await eventually(nothing_open)


async def test_processes_that_start_at_once_migrate_once(database: str, tmp_path: Path) -> None:
    async def start(n: int) -> None:
        async with open_registry(database, tmp_path / "blobs", pool_size=1) as registry:
            assert (await registry.models.list(0, "")).items == []

    await asyncio.gather(*(start(n) for n in range(4)))
    with psycopg.connect(database) as sql:
        names = [row[0] for row in sql.execute("SELECT name FROM migrations ORDER BY name")]
    assert names == [name for name, _ in migrations._scripts()]


async def test_a_migration_that_was_applied_in_another_form_stops_the_start(
    database: str, tmp_path: Path
) -> None:
    async with open_registry(database, tmp_path / "blobs"):
        pass
    with psycopg.connect(database) as sql:
        sql.execute("UPDATE migrations SET sha256 = 'another'")
    with pytest.raises(migrations.MigrationChanged):
        async with open_registry(database, tmp_path / "blobs"):
            pass


async def test_concurrent_replays_on_two_processes_happen_once(
    registry: Registry, database: str, tmp_path: Path
) -> None:
    async with open_registry(database, tmp_path / "blobs") as other:
        key = RequestKey("CreateModel", "r", b"f")
        answers = await asyncio.gather(
            *((registry, other)[n % 2].models.create("fraud", TEXT, key) for n in range(12))
        )
        assert all(answer == answers[0] for answer in answers)
        try:
            await other.models.create("fraud", TEXT, None)
        except Fault as fault:
            assert fault.reason == "RESOURCE_EXISTS"
