"""The real servers that tests run on: one of each a test process, gone with it."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest

from trunkline_local.embedded import PostgreSQL, Valkey

# The same properties in two sizes: `make test` and, with --hypothesis-profile=long, `make test-long`.
hypothesis.settings.register_profile("short", deadline=None)
hypothesis.settings.register_profile("long", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("short")


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for the servers' data."""
    with tempfile.TemporaryDirectory(prefix="trunkline-tests-") as path:
        yield Path(path)


# Not async: a session fixture's event loop would end before or after the servers', and they need none.
@pytest.fixture(scope="session")
def valkey(scratch: Path) -> Iterator[Valkey]:
    """A Valkey server; `.url`. It is shared: use keys of your own, or flush it."""
    server = Valkey(scratch / "valkey", persistent=False)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[PostgreSQL]:
    """A PostgreSQL server; `.dsn` of its database, `.dsn_of(name)` of others."""
    server = PostgreSQL(scratch / "postgres", durable=False)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
def database(postgres: PostgreSQL) -> Iterator[str]:
    """The DSN of a fresh, empty database."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.dsn_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres.dsn_of(name)
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
