"""Every process of the suite behind mutual TLS: they know each other, and nobody else gets in."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psycopg
import pytest
import pytest_asyncio
import trustme
from conditions import BOUND_S, Details, eventually, failure
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis.asyncio import Redis
from stage import CUSTOMER, READER, TERMINAL, reader
from suite_parts import DEGRADED_KEY, MODEL, RECOMMENDER, Client, rows, score, shipped

from trunkline.ranking.v1 import ranking_pb2 as rk
from trunkline.retrieval.v1 import retrieval_pb2 as rv
from trunkline_local import catalog, indexes
from trunkline_local.embedded import PostgreSQL, Valkey, free_port
from trunkline_local.processes import Command, Process
from trunkline_local.services import environment

HOST = "127.0.0.1"
PROCESSES = {
    "registry": "trunkline_registry",
    "features": "trunkline_features",
    "retrieval": "trunkline_retrieval",
    "retrieval-2": "trunkline_retrieval",
    "ranking": "trunkline_ranking",
    "gateway": "trunkline_gateway",
}
"""Module by name, in the order of their start."""
FIRST = ("registry", "features", "retrieval", "retrieval-2")
"""Those that others need, and that hold what the models need."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, and the authorities whose servers its holder trusts."""

    trusted: trustme.CA
    own: trustme.LeafCert | None

    def credentials(self) -> grpc.ChannelCredentials:
        chain = b"".join(each.bytes() for each in self.own.cert_chain_pems) if self.own else None
        key = self.own.private_key_pem.bytes() if self.own else None
        return grpc.ssl_channel_credentials(self.trusted.cert_pem.bytes(), key, chain)

    def channel(self, target: str) -> grpc.aio.Channel:
        """A connection of its own."""
        return grpc.aio.secure_channel(target, self.credentials(), [("grpc.use_local_subchannel_pool", 1)])


@dataclass
class Fortress:
    """The processes, and those who may call them."""

    authority: trustme.CA
    ports: dict[str, int]
    directory: Path
    stores: dict[str, str]

    def target(self, name: str) -> str:
        return f"{HOST}:{self.ports[name]}"

    def member(self) -> Identity:
        """Somebody whom the suite's own authority knows."""
        return Identity(self.authority, self.authority.issue_cert("somebody"))

    def command(self, name: str) -> Command:
        """With a certificate of its own, for both of its roles."""
        issued = self.authority.issue_cert(HOST, common_name=name)
        chain, key, ca = (self.directory / f"{name}.{kind}.pem" for kind in ("chain", "key", "ca"))
        chain.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        self.authority.cert_pem.write_to_path(ca)
        tls = {"TLS_CERT": chain, "TLS_KEY": key, "TLS_CLIENT_CA": ca}
        tls |= {"TLS_CA": ca, "TLS_CLIENT_CERT": chain, "TLS_CLIENT_KEY": key}
        settings = {"PORT": self.ports[name], "METRICS_PORT": 0, "DRAIN_GRACE_S": 2}
        given = tls | settings | self._own(name)
        return Command(
            [sys.executable, "-m", PROCESSES[name]],
            environment({key: str(value) for key, value in given.items()}),
        )

    def _own(self, name: str) -> dict[str, Any]:
        to = {each: self.target(each) for each in ("features", "registry", "ranking")}
        to["retrieval"] = f"{self.target('retrieval')},{self.target('retrieval-2')}"
        match PROCESSES[name]:
            case "trunkline_registry":
                return {"POSTGRES_DSN": self.stores["postgres"], "BLOB_DIR": self.directory / "blobs"}
            case "trunkline_features":
                return {"REDIS_URL": self.stores["valkey"]}
            case "trunkline_retrieval":
                return {"BLOB_DIR": self.directory / "indexes"}
            case "trunkline_ranking":
                del to["ranking"]
                to |= {"model_cache_dir": str(self.directory / "models")}
        return {key.upper(): value for key, value in to.items()}

    async def serving(self, *names: str) -> None:
        """Returns when these say so, to somebody who may ask."""

        async def all_of_them() -> None:
            for name in names:
                async with self.member().channel(self.target(name)) as channel:
                    assert await ask(channel) == health_pb2.HealthCheckResponse.SERVING

        await eventually(all_of_them, 2 * BOUND_S)


async def ask(channel: grpc.aio.Channel) -> Any:
    """What a process says of its health; NOT_SERVING as an error, to be waited for like others."""
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
    return answer.status


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fortress(
    valkey: Valkey, postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fortress]:
    """Six processes with certificates of one private authority, and both models in them."""
    directory = tmp_path_factory.mktemp("tls")
    database = f"tls_{uuid.uuid4().hex}"
    async with AsyncExitStack() as stack:
        async with Redis.from_url(valkey.url) as redis:
            await redis.flushall()
        admin = await psycopg.AsyncConnection.connect(postgres.dsn_of("postgres"), autocommit=True)
        await stack.enter_async_context(admin)
        await admin.execute(f"CREATE DATABASE {database}".encode())
        stack.push_async_callback(admin.execute, f"DROP DATABASE {database} WITH (FORCE)".encode())
        stores = {"valkey": valkey.url, "postgres": postgres.dsn_of(database)}
        here = Fortress(trustme.CA(), {name: free_port() for name in PROCESSES}, directory, stores)
        for name in PROCESSES:
            process = Process(name, directory / f"{name}.log")
            process.start(here.command(name))
            stack.push_async_callback(process.stop)
        await here.serving(*FIRST)
        await _furnish(here)
        await here.serving(*PROCESSES)
        yield here


async def _furnish(here: Fortress) -> None:
    """What `trunkline up` puts into a suite, which it runs on loopback and without TLS."""
    models = shipped(MODEL, RECOMMENDER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc.aio, "insecure_channel", lambda target: here.member().channel(target))
        await catalog.declare_views(here.target("features"), models)
        await catalog.register(here.target("registry"), models)
        await indexes.fill(here.target("retrieval"), models)


@pytest_asyncio.fixture(loop_scope="module")
async def client(fortress: Fortress) -> AsyncIterator[Client]:
    """Somebody of the suite's authority, at the gateway."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc.aio, "insecure_channel", lambda target, _: fortress.member().channel(target))
        client = Client(fortress.target("gateway"))
    async with client:
        yield client


async def _answer(call: Any) -> Any:
    """An answer from which nothing is missing."""
    answer = await call
    assert DEGRADED_KEY not in dict(await call.trailing_metadata())
    return answer


async def test_journeys_through_every_process_are_whole(client: Client) -> None:
    recommender = shipped(RECOMMENDER)[0]
    for view, entity in (("customer_activity", CUSTOMER), ("terminal_activity", TERMINAL)):
        await client.features.WriteFeatures(rows(view, [entity]), timeout=BOUND_S)
    for request in reader(recommender):
        await client.features.WriteFeatures(request, timeout=BOUND_S)
    scored = await _answer(client.ranking.ScoreTransaction(score(CUSTOMER, TERMINAL), timeout=5))
    assert not scored.defaulted_features
    found = await _answer(client.ranking.Recommend(rk.RecommendRequest(user_id=READER), timeout=5))
    assert found.source == rk.SOURCE_PERSONAL
    # The gateway takes the replicas in turn, and one of them has to pass a write on to the other.
    index = f"indexes/{recommender.signature()['index']}"
    for _ in range(4):
        gone = rv.DeleteVectorsRequest(index=index, ids=["nobody"])
        await _answer(client.retrieval.DeleteVectors(gone, timeout=5))


@pytest.mark.parametrize("name", PROCESSES)
async def test_nobody_else_gets_in(fortress: Fortress, name: str) -> None:
    stranger = trustme.CA().issue_cert("somebody")
    strangers = {
        "without a certificate": Identity(fortress.authority, None).channel(fortress.target(name)),
        "of another authority": Identity(fortress.authority, stranger).channel(fortress.target(name)),
        "in plain text": grpc.aio.insecure_channel(fortress.target(name)),
    }
    for who, channel in strangers.items():
        async with channel:
            error = await failure(health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()))
        assert error.code() is grpc.StatusCode.UNAVAILABLE, who
        assert not Details(error).reason, who
    async with fortress.member().channel(fortress.target(name)) as channel:
        assert await ask(channel) == health_pb2.HealthCheckResponse.SERVING


async def test_who_does_not_know_the_authority_does_not_trust_a_process(fortress: Fortress) -> None:
    other = trustme.CA()
    naive = Identity(other, fortress.authority.issue_cert("somebody"))
    async with naive.channel(fortress.target("gateway")) as channel:
        error = await failure(health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
