"""One attempt of a call at one endpoint, and what its outcome means for the endpoint's breaker.

outcome                                    for the breaker
  an answer, or any status not below       success: the endpoint works
  UNAVAILABLE or CANCELLED from the        failure
    transport
  UNAVAILABLE from a server                failure, unless it names a time to come back (RetryInfo) or
                                           says DRAINING, LOADING or TRANSLATION_REJECTED: then the server
                                           is alive and refuses by its own judgement, which is no verdict
                                           on it; its health check, not the breaker, takes it out of
                                           rotation
  DEADLINE_EXCEEDED                        failure when the attempt had `breaker_deadline_floor_s` or
                                           more and the endpoint answered nothing at all meanwhile;
                                           else no verdict: one that answers others is slow, and cut
                                           off it would answer nobody
  cancelled, or abandoned                  no verdict; but at the end of its time it is DEADLINE_EXCEEDED:
                                           of a deadline that came with a call, that call's own
                                           cancellation is often heard of first
"""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from opentelemetry.trace import Span, SpanKind

from trunkline_hop import telemetry
from trunkline_hop.breaker import STATE_OPEN
from trunkline_hop.endpoint import Endpoint
from trunkline_hop.errors import Cancelled, Fault, TooLate, Unavailable
from trunkline_hop.status import from_rpc
from trunkline_hop.upstream import Upstream, UpstreamMethod

_REFUSALS = frozenset({"DRAINING", "LOADING", "TRANSLATION_REJECTED"})
_EARLY_S = 0.05
"""How long before our own end of a deadline its caller, whose clock started earlier, may have given up."""
_LOST = {
    grpc.StatusCode.UNKNOWN: "Stream removed",
    grpc.StatusCode.INTERNAL: "Internal error from Core",
}
"""What the transport itself says, by its code, of a stream that it gave up: what came was no HTTP/2, or a message was
being written when the connection broke. With details, a peer said it."""


class Attempt:
    """An attempt in flight. It ends exactly once, with `succeeded`, `failed` or `dropped`.

    Args:
        upstream: whose endpoint it uses.
        method: what is called.
        endpoint: where.
        permit: of the endpoint's breaker.
        call: grpc.aio's call.
        timeout_s: what it had; None is no deadline.
        now: when it began, in seconds of the upstream's clock.
        span: the attempt's own, None where nothing records.
    """

    __slots__ = (
        "_method",
        "_open",
        "_permit",
        "_started",
        "_timeout_s",
        "_upstream",
        "call",
        "endpoint",
        "span",
    )

    def __init__(
        self,
        upstream: Upstream,
        method: UpstreamMethod,
        endpoint: Endpoint,
        permit: int,
        call: Any,
        timeout_s: float | None,
        now: float,
        span: Span | None,
    ) -> None:
        self._upstream = upstream
        self._method = method
        self._permit = permit
        self._timeout_s = timeout_s
        self._started = now
        self._open = True
        self.endpoint = endpoint
        self.call = call
        self.span = span
        endpoint.in_flight += 1

    def succeeded(self) -> None:
        """It was answered with OK."""
        if self._open:
            now = self._upstream.clock.monotonic()
            if self._method.options.hedge:
                self._method.latencies.add(now - self._started)
            self.endpoint.answered_at = now
            self.endpoint.breaker.succeeded(self._permit, now)
            self._end(grpc.StatusCode.OK, now)

    def answered(self) -> None:
        """A stream brought its first message: the endpoint works, however long the stream goes on.

        Only the breaker hears of it, so that a long stream does not hold a probe's place.
        """
        breaker = self.endpoint.breaker
        now = self._upstream.clock.monotonic()
        self.endpoint.answered_at = now
        breaker.succeeded(self._permit, now)
        self._permit = breaker.permit

    def failed(self, error: grpc.aio.AioRpcError) -> Fault:
        """It ended with a status; returns the fault that this is."""
        fault = fault_of(error, self._upstream)
        if not self._open:
            return fault
        now = self._upstream.clock.monotonic()
        breaker = self.endpoint.breaker
        if fault.details is not None:
            self.endpoint.answered_at = now  # it speaks, whatever it says
        if isinstance(fault, Unavailable):
            if fault.details is None:
                self._upstream.failed()
            if fault.details is not None and (fault.retry_after is not None or fault.reason in _REFUSALS):
                breaker.returned(self._permit)
            else:
                breaker.failed(self._permit, now)
        elif isinstance(fault, TooLate):
            self._ran_out(now)
        elif error.code() is grpc.StatusCode.CANCELLED:
            breaker.returned(self._permit)
        else:
            breaker.succeeded(self._permit, now)
        self._end(error.code(), now)
        return fault

    def dropped(self) -> None:
        """Nobody waits for it any more: it is cancelled. Unless its time was up, that says nothing of the endpoint."""
        if self._open:
            self.call.cancel()
            now = self._upstream.clock.monotonic()
            timeout_s = self._timeout_s
            if timeout_s is not None and now - self._started >= timeout_s - min(_EARLY_S, 0.5 * timeout_s):
                self._ran_out(now)
            else:
                self.endpoint.breaker.returned(self._permit)
            self._end(grpc.StatusCode.CANCELLED, now)

    def _ran_out(self, now: float) -> None:
        """Tells the breaker that there was no answer in time."""
        breaker = self.endpoint.breaker
        floor_s = self._upstream.settings.breaker_deadline_floor_s
        silent = self.endpoint.answered_at < self._started
        if self._timeout_s is not None and self._timeout_s >= floor_s and silent:
            breaker.failed(self._permit, now)
            if breaker.state == STATE_OPEN:
                self.endpoint.doubt(self._method.service)
        else:
            breaker.returned(self._permit)

    def _end(self, code: grpc.StatusCode, now: float) -> None:
        self._open = False
        self.endpoint.ended()
        if self._method.metrics is not None:
            self._method.metrics.attempted(code.name, now - self._started)
        if self.span is not None:
            telemetry.end_rpc(self.span, code, kind=SpanKind.CLIENT)


def fault_of(error: grpc.aio.AioRpcError, upstream: Upstream) -> Fault:
    """The fault of a status. What the transport itself says of a peer stays out of the message, because
    messages travel on to callers; it is a note on the exception.

    CANCELLED from the transport counts as UNAVAILABLE: nobody cancelled the call here, so a server that stops
    dropped it, which gRPC does with calls that arrived and that it has not yet begun. So does what the transport
    says of a stream that it gave up, see `_LOST`.
    """
    trailers = tuple(error.trailing_metadata() or ())
    fault = from_rpc(error.code(), error.details(), trailers)
    lost = (error.details() or "").startswith(_LOST.get(error.code(), "\0"))
    if (isinstance(fault, Unavailable | Cancelled) or lost) and fault.details is None:
        final = fault.final
        fault = upstream.unreachable()
        fault.final = final
        fault.add_note(error.details() or "")
    elif isinstance(fault, TooLate) and fault.details is None:
        fault = TooLate("DEADLINE_EXCEEDED", f"{upstream.name} did not answer in time")
    return fault
