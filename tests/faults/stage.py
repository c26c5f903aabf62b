"""Every deployable in this process, on real stores, with a proxy in front of everything it depends on."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc.aio
import pytest
from conditions import until
from deployables import DEPLOYABLES, PATIENT_S, STORES, Deployable, Limit
from proxy import Fault, Proxy
from suite_parts import MODEL, RECOMMENDER, TRANSLATOR, WHISPER, Client, Suite, rows, shipped

import trunkline_ranking.__main__ as ranking_main
from trunkline.features.v1 import features_pb2 as fv
from trunkline_hop.client_settings import ClientSettings
from trunkline_local import catalog, indexes
from trunkline_local.demo_engine import serving
from trunkline_local.demo_model import Model
from trunkline_local.embedded import Valkey
from trunkline_registry.postgres import feed
from trunkline_translate.chain import Chain
from trunkline_valkey import keeper
from trunkline_valkey import store as valkey_store

CUSTOMER, TERMINAL, READER = "c1", "t1", "r1"


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
    version: str = ""
    """A version of `scratch`, in production."""
    snapshot: str = ""
    """A snapshot of the index `scratch`."""
    made: dict[tuple[str, str], Any] = dataclasses.field(default_factory=dict)
    """What holds a deployable's limits, by the deployable and its name."""
    _numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def fresh(self) -> int:
        """A number that nobody had before."""
        return next(self._numbers)

    @contextmanager
    def fault(self, at: str, dependency: str, fault: str, *, resigned: bool = False) -> Iterator[Strike]:
        """A dependency that can be struck, and is well again after the block.

        Args:
            at: who depends on it.
            dependency: what is struck.
            fault: how.
            resigned: who depends on it waits for no answer for long; else no wait ends before its answer came.
        """
        proxy = self.proxies[at, dependency]
        if resigned:
            self._wait(at, dependency, lambda limit: limit.resigned_s)
        try:
            yield partial(proxy.set, Fault(fault))
        finally:
            proxy.set(Fault.PASS)
            self._wait(at, dependency, lambda _: PATIENT_S)

    def _wait(self, at: str, need: str, seconds: Callable[[Limit], float]) -> None:
        """From now on a deployable waits so long for one of its needs."""
        (one,) = [each for each in DEPLOYABLES if each.name == at]
        for limit in one.limits:
            if limit.need == need:
                holder = self.made[at, limit.holder] if isinstance(limit.holder, str) else limit.holder
                path, _, name = limit.attribute.rpartition(".")
                object.__setattr__(attrgetter(path)(holder) if path else holder, name, seconds(limit))

    def keep(self, at: str, name: str, make: Callable[..., Any]) -> Callable[..., Any]:
        """What makes a holder of limits, and remembers it."""

        def made(*arguments: Any, **keywords: Any) -> Any:
            holder = self.made[at, name] = make(*arguments, **keywords)
            return holder

        return made

    async def store(self, at: str, name: str, server: Any) -> str:
        """Opens the proxy between a deployable and a store; the store's address through that."""
        url = server.url if isinstance(server, Valkey) else server
        port = urlsplit(url).port
        assert port is not None
        proxy = await self._open(at, name, port)
        return str(url).replace(f":{port}/", f":{proxy.port}/")

    async def _open(self, at: str, dependency: str, port: int) -> Proxy:
        proxy = self.proxies.setdefault((at, dependency), Proxy())
        proxy.upstream = port
        if proxy.port:
            return proxy
        return await self._stack.enter_async_context(proxy)

    def __post_init__(self) -> None:
        self._stack = AsyncExitStack()

    async def engine(self) -> str:
        """Starts an engine of translation outside of the suite; its address."""
        (translator,) = shipped(TRANSLATOR)
        model = await asyncio.to_thread(Model, translator.artifact)
        self._stack.callback(model.close)
        port = await self._stack.enter_async_context(serving(model, "phrase-translator"))
        return f"http://127.0.0.1:{port}/v1"

    async def start(self, one: Deployable, stores: Mapping[str, Any]) -> None:
        """Starts a deployable behind proxies to what it needs."""
        at = {name: await self.store(one.name, name, stores[name]) for name in one.needs if name in STORES}
        if one.leads:
            (led,) = [other.name for other in DEPLOYABLES if one.name in other.needs]
            at[one.name] = (await self._open(led, one.name, 0)).target
        for name in one.needs:
            if name not in STORES:
                at[name] = (await self._open(one.name, name, self.suite.servers[name].port)).target
        settings = one.settings(at, self.suite.directory / one.name)
        server = await self.suite.start(one.name, one.main.Settings, one.main.build, **settings)
        if one.leads:
            self.proxies[led, one.name].upstream = server.port
        client = Client(server.target)
        self.direct[one.name] = await self._stack.enter_async_context(client)
        self.channels[one.name] = client.channel

    async def settled(self) -> None:
        """Returns when everything serves and every connection is there."""

        def quiet() -> bool:
            servers, channels = self.suite.servers, self.suite.channels
            chains = [each for each in self.suite.built["translate"] if isinstance(each, Chain)]
            return (
                all(engine.up for chain in chains for engine in chain.states())
                and all(
                    servers[one.name].health.serving(service.full_name)
                    for one in DEPLOYABLES
                    for service in one.services
                )
                and all(
                    endpoint.breaker == "closed" and set(endpoint.health.values()) <= {"SERVING"}
                    for one in DEPLOYABLES
                    for channel in channels[one.name]
                    for endpoint in channel.endpoints
                )
            )

        await until(quiet)

    async def close(self) -> None:
        """Ends the suite, then the proxies: a drain needs them."""
        await self.suite.close()
        await self._stack.aclose()


Strike = partial[None]
"""Makes the fault happen."""


@asynccontextmanager
async def opened(directory: Path, valkey: Valkey, dsn: str, hop: Mapping[str, Any]) -> AsyncIterator[Stage]:
    """A stage whose services try again soon what failed, and whose hops have these settings."""
    with pytest.MonkeyPatch.context() as patch:
        own = ClientSettings.of
        patch.setattr(ClientSettings, "of", lambda settings: dataclasses.replace(own(settings), **hop))
        quick = dataclasses.replace(valkey_store._BREAKER, breaker_open_s=0.05)
        patch.setattr(valkey_store, "_BREAKER", quick)
        patch.setattr(keeper, "RETRY_S", 0.05)
        patch.setattr(feed, "RECONNECT_S", 0.05)
        # A version that somebody asks for by name may take its time: the machine does not matter here.
        patch.setattr(ranking_main, "ModelStore", partial(ranking_main.ModelStore, wait_s=10.0))
        stage = Stage(Suite(directory, {}), {}, {}, {})
        for one in DEPLOYABLES:
            for name in {each.holder for each in one.limits if isinstance(each.holder, str)}:
                patch.setattr(one.main, name, stage.keep(one.name, name, getattr(one.main, name)))
            for each in one.limits:
                if not isinstance(each.holder, str):
                    patch.setattr(each.holder, each.attribute, PATIENT_S)
        try:
            stores = {"valkey": valkey, "postgres": dsn, "engine": await stage.engine()}
            for one in DEPLOYABLES:
                await stage.start(one, stores)
                if one.name == "retrieval":
                    await _furnish(stage)
            await stage.settled()
            yield stage
        finally:
            await stage.close()


async def _furnish(stage: Stage) -> None:
    """Views, rows, models and their index, as the suite ships them."""
    servers, models = stage.suite.servers, shipped(MODEL, RECOMMENDER)
    await until(lambda: all(server.health.serving() for server in servers.values()))
    await catalog.declare_views(servers["features"].target, models)
    await catalog.register(servers["registry"].target, [*models, *shipped(WHISPER, TRANSLATOR)])
    await indexes.fill(servers["writer"].target, models)
    features = stage.direct["features"].features
    for view, entity in (("customer_activity", CUSTOMER), ("terminal_activity", TERMINAL)):
        await features.WriteFeatures(rows(view, [entity]))
    for request in reader(models[-1]):
        await features.WriteFeatures(request)


def reader(recommender: catalog.Bundle) -> list[fv.WriteFeaturesRequest]:
    """One who liked the three most popular books."""
    views = {view["name"]: view["fields"] for view in recommender.views()}
    popular = json.loads((recommender.artifact / "items.json").read_bytes())["popular"]
    length = recommender.signature()["history"]["length"]
    history = {
        "books": fv.Values(string=fv.StringValues(values=[" ".join(popular[:3])])),
        "ratings": fv.Values(float32_vector=fv.Float32VectorValues(values=[5.0] * 3 + [0.0] * (length - 3))),
    }
    numbers = fv.Values(float64=fv.Float64Values(values=[1.0]))
    activity = {field["name"]: numbers for field in views["reader_activity"]}
    return [
        fv.WriteFeaturesRequest(
            view=f"views/{view}",
            entity_ids=[READER],
            event_times_us=[time.time_ns() // 1000],
            columns=[fv.Column(feature=name, values=values) for name, values in columns.items()],
        )
        for view, columns in (("reader_history", history), ("reader_activity", activity))
    ]
