"""Migrations: `migrations/*.sql` in the order of their names, each in a transaction and recorded."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

_LOCK = 0x7472756E6B6C696E
"""Key of the advisory lock: of several processes that start at once, one migrates and the others wait."""


class MigrationChanged(RuntimeError):
    """A migration that was applied is not the one that is here: the schema is not what the code expects."""


async def migrate(connection: AsyncConnection[Any]) -> list[str]:
    """Applies what was not applied yet. Returns its names.

    A migration that only the database knows is left alone: an older release goes on working beside a newer
    one, because migrations add and later releases remove.

    Raises:
        MigrationChanged: before anything is applied.
        psycopg.Error: what a migration says; it has changed nothing then.
    """
    applied: list[str] = []
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        try:
            await cursor.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, sha256 text NOT NULL,"
                " apply_time timestamptz NOT NULL DEFAULT now())"
            )
            await cursor.execute("SELECT name, sha256 FROM migrations")
            known: dict[str, str] = dict(await cursor.fetchall())
            pending = []
            for name, script in _scripts():
                digest = hashlib.sha256(script).hexdigest()
                if known.get(name, digest) != digest:
                    raise MigrationChanged(f"{name} was applied in another form")
                if name not in known:
                    pending.append((name, script, digest))
            for name, script, digest in pending:
                async with connection.transaction():
                    await cursor.execute(script)
                    await cursor.execute(
                        "INSERT INTO migrations (name, sha256) VALUES (%s, %s)", [name, digest]
                    )
                applied.append(name)
        finally:
            # On a connection that broke the lock is gone with it, and the reason must stay the one raised.
            if not connection.broken:
                await cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    return applied


def _scripts() -> list[tuple[str, bytes]]:
    directory = resources.files("trunkline_registry") / "migrations"
    files = [file for file in directory.iterdir() if file.name.endswith(".sql")]
    return sorted((file.name, file.read_bytes()) for file in files)
