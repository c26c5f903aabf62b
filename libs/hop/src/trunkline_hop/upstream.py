"""The endpoints of one target as they come and go, and the choice of one for each attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from trunkline_hop.breaker import REFUSED, STATE_OPEN, Breaker
from trunkline_hop.client_metrics import ClientMetrics, MethodMetrics
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.client_tls import Pem
from trunkline_hop.clock import Clock
from trunkline_hop.endpoint import Endpoint, EndpointSnapshot, Health
from trunkline_hop.errors import Fault, Unavailable
from trunkline_hop.hedge import Latencies
from trunkline_hop.options import Method, method_at
from trunkline_hop.picker import picker_of
from trunkline_hop.resolver import Address, Lookup, Target
from trunkline_hop.retry import RetryBudget

logger = structlog.get_logger("trunkline_hop")

_HEALTH_SERVICES = ("grpc.health.", "grpc.reflection.", "grpc.channelz.")


@dataclass(slots=True)
class UpstreamMethod:
    """What a channel keeps about one method."""

    options: Method
    service: str
    latencies: Latencies
    metrics: MethodMetrics | None


class Upstream:
    """Everything a channel knows about the servers behind its target.

    Args:
        name: what it is called in spans, metrics and errors.
        target: where its endpoints are.
        settings: how they are treated.
        clock: for breakers, deadlines and latencies.
        random: for jitter and load balancing.
        lookup: from host names to addresses.
        registry: where its metrics go; None keeps none.

    Raises:
        OSError: a certificate file cannot be read.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        settings: ClientSettings,
        *,
        clock: Clock,
        random: Random,
        lookup: Lookup,
        registry: CollectorRegistry | None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock
        self.random = random
        self.budget = RetryBudget(settings)
        self.picker = picker_of(settings.balancing, random)
        self.endpoints: list[Endpoint] = []
        self._target = target
        self._lookup = lookup
        self._metrics = ClientMetrics.of(registry) if registry is not None else None
        self._methods: dict[str, UpstreamMethod] = {}
        self._services: set[str] = set()
        self._pem: Pem | None = settings.tls.read() if settings.tls else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self._look_again = asyncio.Event()
        self.closed = False
        self.resolved = not target.names
        self._place(target.fixed)
        if target.names:
            self._spawn(self._resolve(), "resolver")
        if settings.tls:
            self._spawn(self._reload(), "certificates")

    def method(self, path: str) -> UpstreamMethod:
        """What is kept about a method; its service's health is watched from here on."""
        found = self._methods.get(path)
        if found is None:
            options = method_at(path)
            found = self._methods[path] = UpstreamMethod(
                options,
                options.service,
                Latencies(self.settings.hedge_quantile, self.settings.hedge_samples),
                MethodMetrics(self._metrics, self.name, path) if self._metrics else None,
            )
            if self.settings.health_check and not path[1:].startswith(_HEALTH_SERVICES):
                self._services.add(options.service)
                for endpoint in self.endpoints:
                    endpoint.watch(options.service)
        return found

    def pick(self, service: str, key: str, tried: Collection[Endpoint], now: float) -> tuple[Endpoint, int]:
        """An endpoint for an attempt and its breaker's permit.

        Args:
            service: whose health has to be good.
            key: the call's session, or empty.
            tried: endpoints that the call has already used: taken again only when there is no other.
            now: seconds of the clock.

        Raises:
            Unavailable: BREAKER_OPEN when every endpoint that serves is cut off, else UNREACHABLE.
        """
        later: list[Endpoint] = []
        refused: list[Endpoint] = []
        for endpoint in self.picker.order(self.endpoints, key):
            health = endpoint.health.get(service, Health.SERVING)
            if health > Health.UNKNOWN:
                continue
            if health or endpoint in tried:
                later.append(endpoint)
                continue
            permit = endpoint.breaker.admit(now)
            if permit != REFUSED:
                return endpoint, permit
            refused.append(endpoint)
        if later:
            later.sort(key=lambda endpoint: endpoint in tried)  # stable: the picker's order within each half
            for endpoint in later:
                permit = endpoint.breaker.admit(now)
                if permit != REFUSED:
                    return endpoint, permit
                refused.append(endpoint)
        raise self._nobody(refused, now)

    def others(self, service: str, tried: Collection[Endpoint], now: float) -> bool:
        """True when an endpoint that was not tried could be picked."""
        return any(
            endpoint not in tried
            and endpoint.health.get(service, Health.SERVING) <= Health.UNKNOWN
            and endpoint.breaker.retry_in(now) == 0
            for endpoint in self.endpoints
        )

    def unreachable(self) -> Unavailable:
        """The fault of an upstream that does not answer."""
        return Unavailable(
            "UNREACHABLE",
            f"{self.name} cannot be reached",
            retry_after=timedelta(seconds=self.settings.reconnect_maximum_s),
            metadata={"upstream": self.name},
        )

    def _nobody(self, refused: Sequence[Endpoint], now: float) -> Fault:
        self._look_again.set()
        if not refused:
            return self.unreachable()
        wait_s = min(endpoint.breaker.retry_in(now) for endpoint in refused)
        return Unavailable(
            "BREAKER_OPEN",
            f"{self.name} failed repeatedly and is given time to recover",
            retry_after=timedelta(seconds=wait_s),
            metadata={"upstream": self.name},
        )

    def failed(self) -> None:
        """A connection failed: its name may stand for other addresses by now."""
        self._look_again.set()

    async def changes(self) -> None:
        """Returns when the endpoints or their health changed."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def snapshots(self) -> list[EndpointSnapshot]:
        """Its endpoints as they are now."""
        now = self.clock.monotonic()
        return [endpoint.snapshot(now) for endpoint in self.endpoints]

    async def finish(self, grace_s: float) -> None:
        """Waits for the attempts in flight, at most `grace_s` seconds."""
        try:
            async with asyncio.timeout(grace_s):
                await asyncio.gather(*(endpoint.quiet() for endpoint in self.endpoints))
        except TimeoutError:
            return

    async def close(self) -> None:
        """Ends its tasks and connections; attempts in flight are cancelled."""
        if self.closed:
            return
        self.closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for endpoint in self.endpoints:
            self._forget(endpoint)
            await endpoint.close()
        self.endpoints = []
        self._changed()

    def _changed(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _place(self, addresses: Sequence[Address]) -> None:
        """Makes these the endpoints; those that stay keep their connections."""
        before = {endpoint.at: endpoint for endpoint in self.endpoints}
        self.endpoints = [
            before.pop(address) if address in before else self._open(address) for address in addresses
        ]
        for endpoint in before.values():
            self._forget(endpoint)
            self._spawn(self._retire(endpoint), f"retire {endpoint.address}")
        self._changed()

    def _open(self, address: Address, breaker: Breaker | None = None) -> Endpoint:
        if breaker is None:
            breaker = Breaker(self.settings, lambda state: self._tripped(address, state))
        endpoint = Endpoint(address, self.settings, self._pem, breaker, self._changed, self.random)
        for service in self._services:
            endpoint.watch(service)
        if self._metrics:
            self._metrics.watch(
                self.name, address.target, lambda: endpoint.in_flight, lambda: endpoint.breaker.state
            )
        return endpoint

    def _forget(self, endpoint: Endpoint) -> None:
        if self._metrics:
            self._metrics.forget(self.name, endpoint.address)

    def _tripped(self, address: Address, state: str) -> None:
        log = logger.warning if state == STATE_OPEN else logger.info
        log("breaker", upstream=self.name, endpoint=address.target, state=state)
        self._changed()

    async def _retire(self, endpoint: Endpoint) -> None:
        try:
            await endpoint.retire()
        except asyncio.CancelledError:
            await endpoint.close()
            raise

    async def _resolve(self) -> None:
        settings = self.settings
        while True:
            self._look_again.clear()
            try:
                addresses = await self._target.resolve(self._lookup)
            except (OSError, UnicodeError) as error:  # UnicodeError: it cannot be a host name
                # The last known endpoints stay: a resolver that is down takes no server with it.
                logger.warning("name not resolved", upstream=self.name, error=type(error).__name__)
            else:
                if addresses:
                    self._place(addresses)
            self.resolved = True
            self._changed()
            # Never more often than the pause, however many calls fail.
            await asyncio.sleep(settings.resolve_pause_s)
            try:
                async with asyncio.timeout(max(0.0, settings.resolve_interval_s - settings.resolve_pause_s)):
                    await self._look_again.wait()
            except TimeoutError:
                continue

    async def _reload(self) -> None:
        tls = self.settings.tls
        while tls is not None:
            await asyncio.sleep(self.settings.tls_reload_s)
            try:
                pem = await asyncio.to_thread(tls.read)
            except OSError as error:
                logger.warning("certificates not read", upstream=self.name, file=error.filename)
                continue
            if pem != self._pem:
                self._pem = pem
                logger.info("certificates changed", upstream=self.name)
                self._replace()

    def _replace(self) -> None:
        """New connections for every endpoint; what is in flight finishes on the old ones."""
        old = self.endpoints
        for endpoint in old:
            self._forget(endpoint)
            self._spawn(self._retire(endpoint), f"retire {endpoint.address}")
        self.endpoints = [self._open(endpoint.at, endpoint.breaker) for endpoint in old]
        self._changed()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
