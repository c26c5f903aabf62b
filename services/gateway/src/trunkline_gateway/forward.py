"""Passing calls on as bytes: what comes in goes out, whatever the contract.

Deadline, trace context, priority and `x-trunkline-*` metadata travel by hop; the caller's other metadata is
copied. Back come the responses, the trailers and the status with its details, untouched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from trunkline_hop.call import Call
from trunkline_hop.channel import Channel
from trunkline_hop.errors import Unavailable

_OURS = ("grpc-", ":", "x-trunkline-")
_HOP_BY_HOP = frozenset({"user-agent", "content-type", "te", "traceparent", "tracestate"})

_KINDS: dict[tuple[bool, bool], Callable[[Channel, str], Any]] = {
    (False, False): Channel.unary_unary,
    (False, True): Channel.unary_stream,
    (True, False): Channel.stream_unary,
    (True, True): Channel.stream_stream,
}
"""By (client streaming, server streaming)."""


class Forward:
    """Passes one service's calls to the channel of its upstream."""

    def __init__(self, service: ServiceDescriptor, channel: Channel) -> None:
        self._service = service.full_name
        self._channel = channel
        # Made once: a multicallable looks up its method's options, and starts watching its service's health.
        self._methods: dict[str, Any] = {
            path: _KINDS[method.client_streaming, method.server_streaming](channel, path)
            for method in service.methods
            for path in [f"/{service.full_name}/{method.name}"]
        }

    def healthy(self) -> bool:
        """True while an endpoint says that it serves and is not cut off."""
        return any(
            endpoint.health.get(self._service) == "SERVING" and endpoint.breaker != "open"
            for endpoint in self._channel.endpoints
        )

    async def unary(self, request: bytes, call: Call) -> bytes:
        """One request, one response."""
        # Its caller's time, not the default of the method, which is for callers that do not say.
        upstream = self._methods[call.method.path](
            request, timeout=call.remaining(), metadata=_passed_on(call)
        )
        try:
            response: bytes = await upstream
        finally:
            await _copy_trailers(upstream, call)
        return response

    async def stream(self, call: Call) -> None:
        """Any other kind. A long session ends with UNAVAILABLE when the gateway drains: its client goes on
        through another replica, with the resume token it has.
        """
        if not call.method.session:
            await self._stream(call)
            return
        draining = asyncio.ensure_future(call.draining.wait())
        passing = asyncio.ensure_future(_finished(self._stream(call)))
        try:
            await asyncio.wait({draining, passing}, return_when=asyncio.FIRST_COMPLETED)
            if not passing.done():
                raise Unavailable(
                    "DRAINING", "the gateway stops; resume through another", retry_after=timedelta()
                )
            passing.result()
        finally:
            draining.cancel()
            passing.cancel()
            await asyncio.gather(draining, passing, return_exceptions=True)

    async def _stream(self, call: Call) -> None:
        requests = call.requests() if call.method.client_streaming else call.request
        upstream = self._methods[call.method.path](
            requests, timeout=call.remaining(), metadata=_passed_on(call)
        )
        if not call.method.server_streaming:
            try:
                call.response = await upstream
            finally:
                await _copy_trailers(upstream, call)
            return
        try:
            async for message in upstream:
                await call.write(message)
        finally:
            await _copy_trailers(upstream, call)


async def _finished(work: Coroutine[Any, Any, None]) -> None:
    await work


def _passed_on(call: Call) -> tuple[tuple[str, str | bytes], ...]:
    return tuple(
        (key, value)
        for key, value in call.transport.invocation_metadata() or ()
        if not key.startswith(_OURS) and key not in _HOP_BY_HOP
    )


async def _copy_trailers(upstream: Any, call: Call) -> None:
    """Trailers of an upstream call that ended. One that was cut off here has none worth waiting for."""
    if not upstream.done():
        upstream.cancel()
        return
    trailers: Iterable[tuple[str, str | bytes]] = await upstream.trailing_metadata() or ()
    for key, value in trailers:
        if not key.startswith(("grpc-", ":")):
            call.trailer(key, value)
