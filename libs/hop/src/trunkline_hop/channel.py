"""A channel for generated stubs that treats every call as a hop does: see `connect`."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry

from trunkline_hop.client_call import Metadata
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.clock import Clock, SystemClock
from trunkline_hop.endpoint import EndpointSnapshot, Health
from trunkline_hop.resolver import Lookup, Target, system_lookup
from trunkline_hop.stream_call import Requests, StreamCall
from trunkline_hop.telemetry import Tracing
from trunkline_hop.unary_call import UnaryCall
from trunkline_hop.upstream import Upstream

Q = TypeVar("Q")
R = TypeVar("R")


def connect(
    name: str,
    target: str,
    settings: ClientSettings | None = None,
    *,
    clock: Clock | None = None,
    random: Random | None = None,
    tracing: Tracing | None = None,
    registry: CollectorRegistry | None = None,
    lookup: Lookup = system_lookup,
) -> Channel:
    """A channel to an upstream, inside a running event loop. Close it, or use it as `async with`.

    Args:
        name: what the upstream is called in spans, metrics and errors.
        target: a comma-separated list of `host:port`, `unix:path` and `dns:///host:port`.
        settings: how calls are treated.
        clock: for deadlines, breakers and latencies.
        random: for jitter and load balancing.
        tracing: starts traces for calls outside of one, and records the spans of calls inside.
        registry: where metrics go; None keeps none.
        lookup: from host names to addresses.

    Raises:
        ValueError: the target is malformed.
        OSError: a certificate file cannot be read.
    """
    upstream = Upstream(
        name,
        Target.parse(target),
        settings or ClientSettings(),
        clock=clock or SystemClock(),
        random=random or Random(),
        lookup=lookup,
        registry=registry,
    )
    return Channel(upstream, tracing)


class Channel(grpc.aio.Channel):
    """A grpc.aio.Channel over all endpoints of an upstream. Its calls raise Faults."""

    def __init__(self, upstream: Upstream, tracing: Tracing | None) -> None:
        self._upstream = upstream
        self._tracing = tracing

    @property
    def name(self) -> str:
        """What the upstream is called."""
        return self._upstream.name

    @property
    def endpoints(self) -> list[EndpointSnapshot]:
        """The endpoints as they are now."""
        return self._upstream.snapshots()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Ends every connection; calls in flight end as Cancelled, after `grace` seconds when given."""
        if grace:
            await self._upstream.finish(grace)
        await self._upstream.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """READY while an endpoint may be called."""
        if self._upstream.closed:
            return grpc.ChannelConnectivity.SHUTDOWN
        usable = any(
            endpoint.breaker.state == "closed"
            and all(state <= Health.UNKNOWN for state in endpoint.health.values())
            for endpoint in self._upstream.endpoints
        )
        return grpc.ChannelConnectivity.READY if usable else grpc.ChannelConnectivity.TRANSIENT_FAILURE

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns when `get_state` is another."""
        while self.get_state() is last_observed_state:
            await self._upstream.changes()

    async def channel_ready(self) -> None:
        """Returns when an endpoint may be called."""
        while self.get_state() is not grpc.ChannelConnectivity.READY:
            await self._upstream.changes()

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Q], bytes] | None = None,
        response_deserializer: Callable[[bytes], R] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryUnary[Q, R]:
        """A callable for a method with one request and one answer."""
        return UnaryUnary(self, method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Q], bytes] | None = None,
        response_deserializer: Callable[[bytes], R] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryStream[Q, R]:
        """A callable for a method that streams its answers."""
        return UnaryStream(self, method, request_serializer, response_deserializer)

    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[Q], bytes] | None = None,
        response_deserializer: Callable[[bytes], R] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamUnary[Q, R]:
        """A callable for a method that takes a stream."""
        return StreamUnary(self, method, request_serializer, response_deserializer)

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Q], bytes] | None = None,
        response_deserializer: Callable[[bytes], R] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamStream[Q, R]:
        """A callable for a method that streams both ways."""
        return StreamStream(self, method, request_serializer, response_deserializer)


def _as_is(data: Any) -> Any:
    return data


class _Callable:
    """What is fixed about the calls of one method. Without serialisers, bytes pass through."""

    def __init__(
        self,
        channel: Channel,
        path: str,
        serialise: Callable[[Any], bytes] | None,
        parse: Callable[[bytes], Any] | None,
    ) -> None:
        self._upstream = channel._upstream  # noqa: SLF001 - one noun in two classes
        self._tracing = channel._tracing  # noqa: SLF001
        self._method = self._upstream.method(path)
        self._serialise: Callable[[Any], bytes] = serialise or _as_is
        self._parse: Callable[[bytes], Any] = parse or _as_is

    def _check_open(self) -> None:
        if self._upstream.closed:
            raise grpc.aio.UsageError("Channel is closed.")

    def _repeatable(self, request: Any) -> bool:
        """Whether a request may be sent twice: by its method, or because it has an id (AIP-155)."""
        options = self._method.options
        return options.idempotent or (options.request_id and bool(getattr(request, "request_id", "")))

    def _stream(
        self,
        kind: str,
        payload: bytes | None,
        requests: Any,
        repeatable: bool,
        timeout: float | None,
        metadata: Metadata | None,
        extra: dict[str, Any] | None,
    ) -> StreamCall[Any, Any]:
        return StreamCall(
            self._upstream,
            self._tracing,
            self._method,
            kind,
            payload,
            requests,
            self._serialise,
            self._parse,
            repeatable,
            timeout,
            metadata,
            extra,
        )


def _extra(
    credentials: grpc.CallCredentials | None,
    wait_for_ready: bool | None,
    compression: grpc.Compression | None,
) -> dict[str, Any] | None:
    if credentials is None and wait_for_ready is None and compression is None:
        return None
    given = {"credentials": credentials, "wait_for_ready": wait_for_ready, "compression": compression}
    return {name: value for name, value in given.items() if value is not None}


class UnaryUnary(_Callable, grpc.aio.UnaryUnaryMultiCallable[Q, R]):
    """Calls a method with one request and one answer."""

    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> UnaryCall[Q, R]:
        self._check_open()
        return UnaryCall(
            self._upstream,
            self._tracing,
            self._method,
            self._serialise(request),
            self._parse,
            self._repeatable(request),
            timeout,
            metadata,
            _extra(credentials, wait_for_ready, compression),
        )


class UnaryStream(_Callable, grpc.aio.UnaryStreamMultiCallable[Q, R]):
    """Calls a method that streams its answers."""

    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamCall[Q, R]:
        self._check_open()
        extra = _extra(credentials, wait_for_ready, compression)
        payload = self._serialise(request)
        return self._stream(
            "unary_stream", payload, None, self._repeatable(request), timeout, metadata, extra
        )


class StreamUnary(_Callable, grpc.aio.StreamUnaryMultiCallable[Q, R]):
    """Calls a method that takes a stream."""

    def __call__(
        self,
        request_iterator: Requests[Q] | None = None,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamCall[Q, R]:
        self._check_open()
        extra = _extra(credentials, wait_for_ready, compression)
        return self._stream("stream_unary", None, request_iterator, False, timeout, metadata, extra)


class StreamStream(_Callable, grpc.aio.StreamStreamMultiCallable[Q, R]):
    """Calls a method that streams both ways."""

    def __call__(
        self,
        request_iterator: Requests[Q] | None = None,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamCall[Q, R]:
        self._check_open()
        extra = _extra(credentials, wait_for_ready, compression)
        return self._stream("stream_stream", None, request_iterator, False, timeout, metadata, extra)
