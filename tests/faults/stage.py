"""Every deployable in this process, on real stores, with a proxy in front of everything it depends on."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc.aio
import pytest
from conditions import until
from deployables import DEPLOYABLES, SETTLED_S, STORES, Deployable
from proxy import Fault, Proxy
from suite_parts import Client, Suite, rows, shipped

import trunkline_ranking.__main__ as ranking_main
from trunkline_features import redis_store
from trunkline_hop.client_settings import ClientSettings
from trunkline_local import catalog
from trunkline_local.embedded import Valkey
from trunkline_registry.postgres import database, feed

CUSTOMER, TERMINAL = "c1", "t1"
QUICK: dict[str, Any] = {
    "reconnect_initial_s": 0.05,
    "reconnect_maximum_s": 0.1,
    "breaker_open_s": 0.05,
}
"""How soon a hop tries again what failed: soon, so that a thousand recoveries take a minute."""


@dataclasses.dataclass
class Stage:
    """The suite, its proxies, and doors that lead around them."""

    suite: Suite
    proxies: dict[tuple[str, str], Proxy]
    """By the deployable and its dependency."""
    channels: dict[str, grpc.aio.Channel]
    """A plain channel to each deployable."""
    direct: dict[str, Client]
    """Stubs on those."""
    artifact: bytes = b""
    """A file of the registry."""
    version: str = ""
    """A version of `scratch`, in production."""
    _numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def fresh(self) -> int:
        """A number that nobody had before."""
        return next(self._numbers)

    @contextmanager
    def fault(self, at: str, dependency: str, fault: str) -> Iterator[Strike]:
        """A dependency that can be struck, and is well again after the block."""
        proxy = self.proxies[at, dependency]
        try:
            yield partial(proxy.set, Fault(fault))
        finally:
            proxy.set(Fault.PASS)

    async def store(self, name: str, server: Any) -> str:
        """Opens the proxy of a store; its address through that."""
        (at,) = [each.name for each in DEPLOYABLES if name in each.needs]
        url = server.url if isinstance(server, Valkey) else server
        port = urlsplit(url).port
        assert port is not None
        proxy = await self._open(at, name, port)
        return str(url).replace(f":{port}/", f":{proxy.port}/")

    async def _open(self, at: str, dependency: str, port: int) -> Proxy:
        proxy = self.proxies[at, dependency] = Proxy(port)
        return await self._stack.enter_async_context(proxy)

    def __post_init__(self) -> None:
        self._stack = AsyncExitStack()

    async def start(self, one: Deployable, stores: dict[str, str]) -> None:
        """Starts a deployable behind proxies to what it needs."""
        at = {name: stores[name] for name in one.needs if name in STORES}
        for name in one.needs:
            if name not in STORES:
                at[name] = (await self._open(one.name, name, self.suite.servers[name].port)).target
        settings = one.settings(at, self.suite.directory / one.name)
        server = await self.suite.start(one.name, one.main.Settings, one.main.build, **settings)
        client = Client(server.target)
        self.direct[one.name] = await self._stack.enter_async_context(client)
        self.channels[one.name] = client.channel

    async def settled(self) -> None:
        """Returns when everything serves and every hop is whole."""

        def quiet() -> bool:
            servers, channels = self.suite.servers, self.suite.channels
            return all(
                servers[one.name].health.serving(service.full_name)
                for one in DEPLOYABLES
                for service in one.services
            ) and all(
                endpoint.breaker == "closed" and set(endpoint.health.values()) <= {"SERVING"}
                for one in DEPLOYABLES
                for channel in channels[one.name]
                if channel.name in one.needs
                for endpoint in channel.endpoints
            )

        await until(quiet)

    async def close(self) -> None:
        """Ends the suite, then the proxies: a drain needs them."""
        await self.suite.close()
        await self._stack.aclose()


Strike = partial[None]
"""Makes the fault happen."""


@asynccontextmanager
async def opened(directory: Path, valkey: Valkey, dsn: str) -> AsyncIterator[Stage]:
    """A stage whose services try again soon what failed."""
    with pytest.MonkeyPatch.context() as patch:
        own = ClientSettings.of
        patch.setattr(ClientSettings, "of", lambda settings: dataclasses.replace(own(settings), **QUICK))
        quick = dataclasses.replace(redis_store._BREAKER, breaker_open_s=0.05)
        patch.setattr(redis_store, "_BREAKER", quick)
        patch.setattr(feed, "RECONNECT_S", 0.05)
        patch.setattr(database, "PATIENCE_S", SETTLED_S)
        # A version that somebody asks for by name may take its time: the machine does not matter here.
        patch.setattr(ranking_main, "ModelStore", partial(ranking_main.ModelStore, wait_s=10.0))
        stage = Stage(Suite(directory, {}), {}, {}, {})
        try:
            stores = {
                "valkey": await stage.store("valkey", valkey),
                "postgres": await stage.store("postgres", dsn),
            }
            for one in DEPLOYABLES:
                await stage.start(one, stores)
                if one.name == "features":
                    await _furnish(stage)
            await stage.settled()
            yield stage
        finally:
            await stage.close()


async def _furnish(stage: Stage) -> None:
    """Views, rows and models, as the suite ships them."""
    servers = stage.suite.servers
    await until(lambda: all(servers[name].health.serving() for name in ("registry", "features")))
    await catalog.declare_views(servers["features"].target, shipped())
    await catalog.register(servers["registry"].target, shipped())
    for view, entity in (("customer_activity", CUSTOMER), ("terminal_activity", TERMINAL)):
        await stage.direct["features"].features.WriteFeatures(rows(view, [entity]))
