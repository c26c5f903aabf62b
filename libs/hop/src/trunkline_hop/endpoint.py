"""One address of an upstream: its connection, its health, its breaker and what is in flight on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import Any

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2

from trunkline_hop.breaker import STATE_OPEN, Breaker
from trunkline_hop.client_settings import MESSAGE_BYTES, ClientSettings
from trunkline_hop.client_tls import Pem
from trunkline_hop.resolver import Address

logger = structlog.get_logger("trunkline_hop")

_WATCH = "/grpc.health.v1.Health/Watch"
_CHECK = "/grpc.health.v1.Health/Check"
_CHECK_TIMEOUT_S = 1.0


class Health(IntEnum):
    """What an endpoint is known to say about one service. Up to UNKNOWN it may be called."""

    SERVING = 0
    """It serves, or it does no health checking."""
    UNKNOWN = 1
    """It has not been heard yet: called only when no other serves."""
    NOT_SERVING = 2
    """It says that it does not serve."""
    DOWN = 3
    """Its connection broke, and there is no new one yet."""


@dataclass(frozen=True, slots=True)
class EndpointSnapshot:
    """An endpoint as it was at one moment, for status pages."""

    address: str
    """`host:port` or `unix:path`."""
    health: dict[str, str]
    """Health by service name; a service appears with its first call."""
    breaker: str
    """`closed`, `open` or `half-open`."""
    retry_in_s: float
    """Seconds until the breaker lets an attempt through; 0 when it does."""
    in_flight: int
    """Attempts without a status yet."""


class Endpoint:
    """A connection to one address.

    Args:
        address: where it is.
        settings: of its channel.
        pem: certificates of the connection; None is plain text.
        breaker: taken over from the connection that this one replaces.
        changed: called whenever a call that waits may go on.
        random: jitter.
    """

    def __init__(
        self,
        address: Address,
        settings: ClientSettings,
        pem: Pem | None,
        breaker: Breaker,
        changed: Callable[[], None],
        random: Random,
    ) -> None:
        self.at = address
        self.address = address.target
        self.breaker = breaker
        self.in_flight = 0
        self.answered_at = float("-inf")
        """When an attempt was last answered, in seconds of the channel's clock."""
        self.health: dict[str, Health] = {}
        self.leaving = False
        """True once it said that it does not serve, until it says that it does: also while its connection is gone."""
        self._settings = settings
        self._changed = changed
        self._random = random
        self._channel = _dial(address, settings, pem)
        self._callables: dict[tuple[str, str], Any] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Task[None] | None = None
        self._retired = False
        self._idle: asyncio.Future[None] | None = None

    def callable(self, kind: str, path: str) -> Any:
        """grpc.aio's callable for a method, bytes in and bytes out; `kind` is such as `unary_unary`."""
        found = self._callables.get((kind, path))
        if found is None:
            found = self._callables[kind, path] = getattr(self._channel, kind)(path)
        return found

    def watch(self, service: str) -> None:
        """Follows the endpoint's health for a service from now on."""
        if service not in self.health and not self._retired:
            self.health[service] = Health.UNKNOWN
            task = asyncio.get_running_loop().create_task(
                self._follow(service), name=f"health of {service or 'process'} at {self.address}"
            )
            self._watches.add(task)

    def doubt(self, service: str) -> None:
        """Asks for its health until it answers, because it was silent for so long that its breaker opened.

        A server that was only slow, or stood still for a moment, answers soon, and the next call may probe it then;
        its watch has nothing to say, because its health never changed.
        """
        if self._settings.health_check and self._asking is None and not self._retired:
            self._asking = asyncio.get_running_loop().create_task(
                self._ask(service), name=f"doubt of {self.address}"
            )
            self._watches.add(self._asking)
            self._asking.add_done_callback(self._asked)

    def snapshot(self, now: float) -> EndpointSnapshot:
        """Its state at a moment of the channel's clock."""
        return EndpointSnapshot(
            address=self.address,
            health={service: state.name for service, state in self.health.items()},
            breaker=self.breaker.state,
            retry_in_s=self.breaker.retry_in(now),
            in_flight=self.in_flight,
        )

    def ended(self) -> None:
        """An attempt has a status."""
        self.in_flight -= 1
        if self._idle is not None and self.in_flight == 0 and not self._idle.done():
            self._idle.set_result(None)

    async def retire(self) -> None:
        """Closes the connection after the last attempt on it. Nobody picks it any more."""
        await self._stop_watching()
        await self.quiet()
        await self._channel.close()

    async def quiet(self) -> None:
        """Returns when no attempt is in flight."""
        while self.in_flight:
            if self._idle is None or self._idle.done():
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    async def close(self) -> None:
        """Closes the connection now; attempts on it are cancelled."""
        await self._stop_watching()
        await self._channel.close()

    async def _stop_watching(self) -> None:
        self._retired = True
        tasks = tuple(self._watches)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, service: str) -> None:
        request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        watch: Any = self._channel.unary_stream(_WATCH)
        pause_s = self._settings.reconnect_initial_s
        while True:
            call = watch(request, wait_for_ready=True)
            try:
                async for answer in call:
                    pause_s = self._settings.reconnect_initial_s
                    self._heard(service, _state(answer))
                self._heard(service, Health.DOWN)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    # Health checking is optional (gRFC A17): such a server counts as healthy while connected.
                    self._heard(service, Health.SERVING)
                    await self._channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
                    self._heard(service, Health.UNKNOWN)
                else:
                    self._heard(service, Health.DOWN)
            finally:
                call.cancel()
            await asyncio.sleep(pause_s * self._random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, self._settings.reconnect_maximum_s)

    async def _ask(self, service: str) -> None:
        request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        check: Any = self._channel.unary_unary(_CHECK)
        pause_s = self._settings.reconnect_initial_s
        while self.breaker.state == STATE_OPEN:
            try:
                await check(request, timeout=_CHECK_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND):
                    await asyncio.sleep(pause_s * self._random.uniform(0.5, 1.0))
                    pause_s = min(pause_s * 2, self._settings.reconnect_maximum_s)
                    continue
            self.breaker.seen_alive()
            self._changed()
            return

    def _asked(self, asking: asyncio.Task[None]) -> None:
        self._watches.discard(asking)
        self._asking = None

    def _heard(self, service: str, state: Health) -> None:
        before = self.health[service]
        if state is before:
            return
        self.health[service] = state
        logger.info(
            "endpoint health", endpoint=self.address, service=service, health=state.name, before=before.name
        )
        if state is Health.SERVING:
            # It came back: what its breaker learned before is old news, so the next call may probe it.
            self.breaker.seen_alive()
            self.leaving = False
        elif state is Health.NOT_SERVING:
            self.leaving = True
        self._changed()


def _state(answer: bytes) -> Health:
    status = health_pb2.HealthCheckResponse.FromString(answer).status
    # A server that does not know the service answers UNIMPLEMENTED itself, which tells the caller more.
    if status in (health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN):
        return Health.SERVING
    return Health.NOT_SERVING


def _dial(address: Address, settings: ClientSettings, pem: Pem | None) -> grpc.aio.Channel:
    options: list[tuple[str, Any]] = [
        ("grpc.enable_retries", 0),  # retries are ours, with a budget
        ("grpc.use_local_subchannel_pool", 1),  # a connection of its own, not one shared by target
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", int(settings.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", int(settings.reconnect_initial_s * 1000)),
        # Its name says otherwise: the core gives up a connection that takes longer than this to come about.
        ("grpc.min_reconnect_backoff_ms", int(settings.connect_timeout_s * 1000)),
        ("grpc.max_reconnect_backoff_ms", int(settings.reconnect_maximum_s * 1000)),
        ("grpc.enable_http_proxy", 0),  # hops stay inside; an environment's proxy is not for them
    ]
    if pem is None:
        return grpc.aio.insecure_channel(address.target, options=options)
    if address.authority:
        options.append(("grpc.ssl_target_name_override", address.authority))
    return grpc.aio.secure_channel(address.target, pem.credentials(), options=options)
