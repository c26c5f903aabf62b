"""The server side of a hop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog
from google.protobuf.descriptor import ServiceDescriptor

from trunkline_hop import health, reflection, tls
from trunkline_hop.admission import Admission
from trunkline_hop.call import Handler
from trunkline_hop.channel import Channel, connect
from trunkline_hop.client_settings import MESSAGE_BYTES, ClientSettings
from trunkline_hop.clock import Clock, SystemClock
from trunkline_hop.handlers import Dispatcher, Proxy, Servicer, proxy_handlers, servicer_handlers
from trunkline_hop.in_flight import InFlight
from trunkline_hop.layers import Admit, Identify, Observe, bound, stack
from trunkline_hop.metrics import Metrics
from trunkline_hop.monitoring import MonitoringPort
from trunkline_hop.settings import CannotStart, ServiceSettings, SettingsT
from trunkline_hop.telemetry import Tracing

MESSAGE_LIMIT_BYTES = MESSAGE_BYTES
_METRICS_PORT_OFFSET = 1000
_READINESS_INTERVAL_S = 0.25
_SHUTDOWN_GRACE_S = 5.0
_SETTLE_S = 1.0
"""How long a server that stops waits for requests that are still on their way, once its own calls are done."""

_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.so_reuseport", 0),
    # Clients ping every 30 s (gRFC A8); a shorter bound here would make the server close on them.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

logger = structlog.get_logger("trunkline_hop")
T = TypeVar("T")


class Server:
    """One process's gRPC server while it is being put together and while it runs. See `running`."""

    def __init__(self, name: str, settings: ServiceSettings, clock: Clock, tracing: Tracing) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock
        self.tracing = tracing
        self.metrics = Metrics()
        self.port = 0
        self.monitoring_port = 0
        self.health = health.Health()
        # Deadlines are the transport's and run on the machine's clock, whatever clock the domain is given.
        self.admission = Admission(settings.concurrency_limit, settings.queue_limit, settings.queue_ttl_s)
        self.served = asyncio.Event()
        """Set once it was SERVING."""
        self.draining = asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed.add_done_callback(lambda failed: failed.cancelled() or failed.exception())
        self._admit = Admit(self.admission, settings.session_limit, settings.session_age_s, self.metrics)
        self._observe = Observe(tracing, self.metrics)
        self._identify = Identify(certificates=settings.tls_client_ca is not None)
        self._in_flight = InFlight()
        self._dispatcher = Dispatcher(self.draining, self._in_flight)
        self._services: list[str] = []
        self._readiness: dict[str, Callable[[], bool]] = {}
        self._proxied_health: dict[str, Callable[[], bool]] = {}
        self._refresh = asyncio.Event()
        self._owned = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._grpc: grpc.aio.Server | None = None
        self._monitoring: MonitoringPort | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def target(self) -> str:
        """Address to call it at from this machine."""
        return f"127.0.0.1:{self.port}"

    @property
    def sessions(self) -> int:
        """Long streams open."""
        return self._admit.sessions

    def add(self, servicer: Servicer) -> None:
        """Serves a servicer. See `handlers` for its shape.

        Raises:
            TypeError: it lacks a method of its contract.
            RuleError: its contract has a rule that cannot be checked.
        """
        for method, handler in servicer_handlers(servicer).items():
            self._dispatcher.add(method, self._layered(handler))
        self._services.append(servicer.descriptor.full_name)

    def add_proxy(self, descriptor: ServiceDescriptor, proxy: Proxy, healthy: Callable[[], bool]) -> None:
        """Passes every method of a service on as bytes, and its health as `healthy` says."""
        for method, handler in proxy_handlers(descriptor, proxy).items():
            self._dispatcher.add(method, self._layered(handler))
        self._services.append(descriptor.full_name)
        self._proxied_health[descriptor.full_name] = healthy

    async def own(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enters a context manager that is left after the last call, the last entered first."""
        return await self._owned.enter_async_context(manager)

    def connect(self, name: str, target: str) -> Channel:
        """A channel to other servers with this process's TLS, closed with the server.

        Args:
            name: what the upstream is called in spans, metrics and errors.
            target: `host:port[,host:port...]`, `dns:///host:port` or `unix:path`.
        """
        channel = connect(
            name,
            target,
            ClientSettings.of(self.settings),
            clock=self.clock,
            tracing=self.tracing,
            registry=self.metrics.registry,
        )
        self._owned.push_async_callback(channel.close)
        return channel

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Runs a background task as long as the server; when it fails, the process ends with its error."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def readiness(self, name: str, check: Callable[[], bool]) -> None:
        """The process is SERVING only while every check is true."""
        self._readiness[name] = check

    def refresh(self) -> None:
        """Asks the readiness checks again now rather than at the next look."""
        self._refresh.set()

    def ready(self) -> bool:
        """True while every readiness check is."""
        return all(check() for check in self._readiness.values())

    def _layered(self, handler: Handler) -> Handler:
        return stack(self._observe, self._identify, bound, self._admit, handler=handler)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            logger.error("background task failed", task=task.get_name(), exc_info=error)
            self.failed.set_exception(error)

    async def _watch_readiness(self) -> None:
        last: dict[str, bool] = {}
        while True:
            ready = self.ready()
            states = {"": ready} | {
                name: ready and self._proxied_health.get(name, lambda: True)() for name in self._services
            }
            for name, state in states.items():
                if last.get(name) != state:
                    self.health.set(name, state)
            if last.get("") != ready:
                waiting = [name for name, check in self._readiness.items() if not check()]
                logger.info("serving" if ready else "not serving", waiting_for=waiting, port=self.port)
            if ready:
                self.served.set()
            last = states
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._refresh.wait(), _READINESS_INTERVAL_S)
            self._refresh.clear()

    async def start(self) -> None:
        """Listens, and says NOT_SERVING until it is ready."""
        settings = self.settings
        options = [*_OPTIONS, ("grpc.enable_channelz", int(settings.channelz))]
        self._grpc = server = grpc.aio.server(options=options)
        self._dispatcher.otherwise(
            self._layered, {health.HEALTH_SERVICE, *reflection.SERVICES, "grpc.channelz.v1.Channelz"}
        )
        server.add_generic_rpc_handlers((self._dispatcher,))
        self.health.add_to(server)
        reflection.add_reflection(server, [*self._services, health.HEALTH_SERVICE])
        if settings.channelz:
            from grpc_channelz.v1 import channelz

            channelz.add_channelz_servicer(server)
        address = f"{settings.host}:{settings.port}"
        try:
            if settings.tls_cert is not None and settings.tls_key is not None:
                credentials = tls.server_credentials(
                    settings.tls_cert, settings.tls_key, settings.tls_client_ca
                )
                self.port = server.add_secure_port(address, credentials)
            else:
                self.port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise CannotStart(
                f"TRUNKLINE_HOST, TRUNKLINE_PORT: cannot listen on {address}: the port is taken, or the "
                "address is not this machine's"
            ) from error
        for name in self._services:
            self.health.set(name, False)
        await server.start()
        metrics_port = settings.metrics_port
        if metrics_port is None:
            metrics_port = settings.port + _METRICS_PORT_OFFSET if settings.port else 0
        try:
            self._monitoring = MonitoringPort(
                settings.host, metrics_port, self.metrics.registry, self.health.serving
            )
        except OSError as error:
            raise CannotStart(
                f"TRUNKLINE_METRICS_PORT: cannot listen on {settings.host}:{metrics_port}: {error.strerror}"
            ) from error
        self.monitoring_port = self._monitoring.port
        # A check that raises would leave the process as it was, for ever: it ends it instead.
        self._watcher = asyncio.get_running_loop().create_task(self._watch_readiness(), name="readiness")
        self._watcher.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Drains: NOT_SERVING, some time for balancers to notice, sessions told, calls finished.

        Every call that reached its handler completes unless it takes longer than the grace.
        """
        settings = self.settings
        if self._watcher is not None:
            await _cancel([self._watcher])
        self.health.drain()
        logger.info("draining", in_flight=self.admission.running, sessions=self.sessions)
        if self.port:
            await asyncio.sleep(settings.drain_delay_s)
        self.draining.set()
        if self._grpc is not None:
            stopping = asyncio.ensure_future(self._grpc.stop(settings.drain_grace_s))
            # The server waits for every open stream, and a health watch is one.
            asyncio.get_running_loop().call_soon(self.health.end)
            settling = asyncio.ensure_future(self._in_flight.quiet(_SETTLE_S))
            await asyncio.wait({stopping, settling}, return_when=asyncio.FIRST_COMPLETED)
            settling.cancel()
            if not stopping.done():
                # gRPC waits for streams that never reached a handler as well: requests that do not come to their
                # end, and calls that its core lost, because it looks first whether it stops, queues the call then,
                # and empties that queue only once. They would hold the process, and their callers, to the last.
                await self._grpc.stop(None)
            await stopping
        if self._monitoring is not None:
            await asyncio.to_thread(self._monitoring.close)

    async def close(self) -> None:
        """Ends background tasks, then what the server owns, then flushes telemetry."""
        await _cancel(self._tasks)
        try:
            async with asyncio.timeout(_SHUTDOWN_GRACE_S):
                await self._owned.aclose()
        except TimeoutError:
            logger.warning("owned resources did not close in time")
        await asyncio.to_thread(self.tracing.flush)


async def _cancel(tasks: Sequence[asyncio.Task[None]] | set[asyncio.Task[None]]) -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


Build = Callable[[Server, SettingsT], Awaitable[None]]


@asynccontextmanager
async def running(
    name: str,
    settings: SettingsT,
    build: Build[SettingsT],
    *,
    clock: Clock | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[Server]:
    """A server that was built and listens, until the block ends; then it drains.

    Args:
        name: the service's name in spans and logs.
        settings: port 0 takes a free one.
        build: wires the service: owns stores, adds servicers.
        clock: the machine's by default.
        tracing: as the settings say by default.
    """
    own_tracing = tracing is None
    tracing = tracing or Tracing.to_endpoint(name, settings.trace_sample_ratio, settings.otlp_endpoint)
    server = Server(name, settings, clock or SystemClock(), tracing)
    try:
        await build(server, settings)
        try:
            await server.start()
            yield server
        finally:
            await server.stop()
    finally:
        await server.close()
        if own_tracing:
            await asyncio.to_thread(tracing.shutdown)
