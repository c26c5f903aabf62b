"""Embedded servers: they answer, survive kill -9 with their data, and end with their parent."""

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import psycopg
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from trunkline_local.embedded import EmbeddedServerFailed, PostgreSQL, Valkey, free_port


async def test_what_valkey_answered_is_there_after_kill_9(tmp_path):
    async with Valkey(tmp_path / "valkey") as server:
        async with Redis.from_url(server.url) as client:
            assert await client.set("key", "value")
        first, port = server.pid, server.port
        await server.kill()
        assert server.pid is None
        await server.start()
        assert server.pid != first
        assert server.port == port
        async with Redis.from_url(server.url) as client:
            assert await client.get("key") == b"value"
            assert (await client.config_get("appendfsync")) == {"appendfsync": "always"}


async def test_valkey_asks_for_its_password(valkey):
    async with Redis(port=valkey.port, retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()


async def test_what_postgresql_committed_is_there_after_kill_9(tmp_path):
    async with PostgreSQL(tmp_path / "postgres", durable=False) as server:
        async with await psycopg.AsyncConnection.connect(server.dsn) as connection:
            await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        await server.kill()
        await server.start()
        async with await psycopg.AsyncConnection.connect(server.dsn) as connection:
            assert await (await connection.execute("SELECT n FROM kept")).fetchone() == (7,)


async def test_every_test_gets_an_empty_database_of_its_own(database):
    async with await psycopg.AsyncConnection.connect(database) as connection:
        found = await connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert await found.fetchone() == (0,)


async def test_a_port_that_is_taken_fails_the_start_with_the_log(tmp_path, valkey):
    server = Valkey(tmp_path / "valkey", port=valkey.port)
    with pytest.raises(EmbeddedServerFailed, match="already in use"):
        await server.start()
    assert server.pid is None


async def test_a_chosen_port_that_was_taken_meanwhile_is_chosen_again(tmp_path, valkey, monkeypatch):
    ports = iter([valkey.port, free_port()])
    monkeypatch.setattr("trunkline_local.embedded.free_port", lambda: next(ports))
    async with Valkey(tmp_path / "valkey", persistent=False) as server:
        assert server.port != valkey.port


async def test_servers_of_a_parent_that_was_killed_end_by_themselves(tmp_path):
    program = """
import asyncio, pathlib, sys, threading
from trunkline_local.embedded import PostgreSQL, Valkey
async def main():
    root = pathlib.Path(sys.argv[1])
    async with Valkey(root / "valkey") as valkey, PostgreSQL(root / "postgres", durable=False) as postgres:
        print(valkey.pid, postgres.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
    servers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert [server.is_running() for server in servers] == [True, True]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = await asyncio.to_thread(psutil.wait_procs, servers, 10)
    # A zombie has ended: it waits for an init that may never reap it.
    assert [server for server in alive if server.status() != psutil.STATUS_ZOMBIE] == []
