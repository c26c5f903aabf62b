"""What unary and streaming calls of a channel have in common.

A call goes through these, in this order: its deadline, its span, retries and hedging, the choice of an
endpoint, that endpoint's breaker, the attempt's span. The first attempt is sent when the call is made, as
grpc.aio does; whoever awaits the call drives what comes after, so that a call costs no task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
import grpc.aio
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from trunkline_hop import telemetry
from trunkline_hop.attempt import Attempt
from trunkline_hop.context import Context, current
from trunkline_hop.endpoint import Endpoint
from trunkline_hop.errors import Cancelled, Fault, TooLate, Unavailable
from trunkline_hop.options import Method
from trunkline_hop.retry import backoff_s, pushback_s
from trunkline_hop.sending import learns_why
from trunkline_hop.upstream import Upstream, UpstreamMethod

PRIORITY_KEY = "x-trunkline-priority"
SESSION_KEY = "x-trunkline-session"
TRACEPARENT_KEY = "traceparent"

Metadata = Iterable[tuple[str, str | bytes]]


def timeout_of(
    method: Method, timeout_s: float | None, context: Context | None, now: float, margin_s: float
) -> float | None:
    """Seconds that a call has.

    The caller's timeout or else the method's default, at most the method's maximum, and at most what is left
    of the call being served minus a margin. None, no deadline, for a session that got no timeout.
    """
    if method.session:
        limit = timeout_s
    else:
        limit = min(method.default_timeout_s if timeout_s is None else timeout_s, method.maximum_timeout_s)
        if context is not None and context.deadline is not None:
            limit = min(limit, context.deadline - now - margin_s)
    return limit


class ClientCall:
    """A call on its way.

    Args:
        upstream: whom it goes to.
        tracing: starts a trace where none is; None only continues one.
        method: what is called.
        kind: grpc.aio's name of the call's shape, such as `unary_unary`.
        timeout_s: the caller's timeout in seconds, None for the method's default.
        metadata: the caller's.
        extra: grpc.aio's other arguments that the caller set.
    """

    def __init__(
        self,
        upstream: Upstream,
        tracing: telemetry.Tracing | None,
        method: UpstreamMethod,
        kind: str,
        timeout_s: float | None,
        metadata: Metadata | None,
        extra: dict[str, Any] | None,
    ) -> None:
        self._attempt: Attempt | None = None  # first, because __del__ reads it whatever fails below
        self._upstream = upstream
        self._method = method
        self._kind = kind
        self._extra = extra
        self._tries = 0
        self._paid = False  # whether the budget was charged for the attempt that comes next
        self._tried: set[Endpoint] = set()
        self._nap: asyncio.Future[None] | None = None
        self._cancelled = False
        self._span: Span | None = None
        self._tracing = tracing
        now = upstream.clock.monotonic()
        context = current.get()
        options = method.options
        limit = timeout_of(options, timeout_s, context, now, upstream.settings.deadline_margin_s)
        self._deadline = None if limit is None else now + limit
        self._headers = _headers(metadata, context)
        self._key = _session(self._headers) if upstream.picker.keyed else ""
        self._trace()
        upstream.budget.called()

    def _trace(self) -> None:
        parent = trace.get_current_span()
        context = parent.get_span_context()
        if self._tracing is not None and (parent.is_recording() or not context.is_valid):
            if not self._tracing.recording:
                return
            options = self._method.options
            span = self._tracing.tracer.start_span(options.path[1:])
            context = span.get_span_context()
            if span.is_recording():
                self._span = span
                span.set_attributes(
                    {
                        "rpc.system": "grpc",
                        "rpc.service": options.service,
                        "rpc.method": options.name,
                        "trunkline.upstream": self._upstream.name,
                    }
                )
        if context.is_valid:
            self._headers.append((TRACEPARENT_KEY, telemetry.traceparent_of(context)))

    def _begin(self, argument: Any) -> Attempt:
        """Sends an attempt.

        Raises:
            TooLate: no time is left.
            Unavailable: there is no endpoint to send it to.
        """
        upstream = self._upstream
        now = upstream.clock.monotonic()
        timeout_s = None
        if self._deadline is not None:
            timeout_s = self._deadline - now
            if timeout_s <= 0:
                raise TooLate("DEADLINE_EXCEEDED", f"no time was left for {self._method.options.name}")
        method = self._method
        endpoint, permit = upstream.pick(method.service, self._key, self._tried, now)
        self._tries += 1
        self._tried.add(endpoint)
        headers: Sequence[tuple[str, str | bytes]] = self._headers
        span = None
        if self._span is not None and self._tracing is not None:
            span = self._tracing.tracer.start_span(
                f"Attempt.{method.options.path[1:]}",
                context=trace.set_span_in_context(self._span),
                kind=SpanKind.CLIENT,
                attributes={"server.address": endpoint.address, "rpc.attempt": self._tries},
            )
            headers = [*headers[:-1], (TRACEPARENT_KEY, telemetry.traceparent_of(span.get_span_context()))]
        try:
            call = endpoint.callable(self._kind, method.options.path)(
                argument, timeout=timeout_s, metadata=headers, **self._extra or {}
            )
            if self._kind.startswith("stream"):
                learns_why(call)
        except BaseException:
            endpoint.breaker.returned(permit)
            raise
        return Attempt(upstream, method, endpoint, permit, call, timeout_s, now, span)

    async def _first(self, argument: Any) -> Attempt:
        """The first attempt of a call that could not send it at once, because its endpoints were not known
        yet or it is ready to wait for one.
        """
        upstream = self._upstream
        wait_for_ready = bool(self._extra and self._extra.get("wait_for_ready"))
        while True:
            if upstream.closed:
                raise Cancelled("CANCELLED", f"the channel to {upstream.name} was closed")
            pause_s = None
            if upstream.resolved:
                try:
                    return self._begin(argument)
                except Unavailable as refusal:
                    if not wait_for_ready:
                        raise
                    if refusal.retry_after is not None:  # an open breaker lets a probe through by then
                        pause_s = refusal.retry_after.total_seconds()
            await self._changed(pause_s)

    async def _changed(self, pause_s: float | None) -> None:
        """Waits for the endpoints to change, at most so long and at most until the deadline."""
        left_s = self.time_remaining()
        if left_s == 0.0:
            raise TooLate("DEADLINE_EXCEEDED", f"no endpoint of {self._upstream.name} in time")
        waits = [wait_s for wait_s in (left_s, pause_s) if wait_s is not None]
        try:
            async with asyncio.timeout(min(waits, default=None)):
                await self._upstream.changes()
        except TimeoutError:
            return

    def _retry_in(self, fault: Fault, error: grpc.aio.AioRpcError) -> float | None:
        """Seconds to wait before the next attempt; None when this fault is the answer.

        A server's pushback is obeyed to the letter. Its RetryInfo is about itself: another endpoint is tried
        without it.
        """
        if not isinstance(fault, Unavailable) or fault.final:
            return None
        upstream = self._upstream
        now = upstream.clock.monotonic()
        wait_s = pushback_s(tuple(error.trailing_metadata() or ()))
        if wait_s is None:
            wait_s = backoff_s(self._tries, upstream.settings, upstream.random)
            if (
                fault.details is not None
                and fault.retry_after is not None
                and not upstream.others(self._method.service, self._tried, now)
            ):
                wait_s = max(wait_s, fault.retry_after.total_seconds())
        late = self._deadline is not None and now + wait_s >= self._deadline
        # What a server drops because it leaves goes elsewhere for nothing: it adds no load to what its callers want,
        # and it may be more at once than the budget holds.
        free = self._attempt is not None and self._attempt.endpoint.leaving
        if self._tries >= upstream.settings.attempts or late or not (free or upstream.budget.take()):
            fault.final = True
            return None
        self._paid = not free
        return wait_s

    async def _again(self, argument: Any, fault: Fault, error: grpc.aio.AioRpcError) -> Attempt:
        """The next attempt after one failed.

        Raises:
            Fault: the one given, when there is no further attempt.
        """
        while True:
            wait_s = self._retry_in(fault, error)
            if wait_s is None:
                raise fault
            await self._sleep(wait_s)
            try:
                attempt = self._begin(argument)
            except Fault:
                # Nobody to send it to. It cost the upstream nothing, but it was one of this call's tries.
                if self._paid:
                    self._upstream.budget.give_back()
                self._tries += 1
                continue
            if self._method.metrics is not None:
                self._method.metrics.repeated("retry")
            return attempt

    async def _sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._nap = nap = loop.create_future()
        timer = loop.call_later(seconds, _wake, nap)
        try:
            await nap
        finally:
            timer.cancel()
            self._nap = None

    def _interrupted(self) -> BaseException:
        """What a CancelledError under a call means: the caller's own cancellation, or a closed channel's."""
        task = asyncio.current_task()
        if self._cancelled or (task is not None and task.cancelling()):
            return asyncio.CancelledError()
        return Cancelled("CANCELLED", f"the channel to {self._upstream.name} was closed")

    def _close_span(self, code: grpc.StatusCode) -> None:
        if self._span is not None:
            self._span.set_attribute("trunkline.attempts", self._tries)
            telemetry.end_rpc(self._span, code, kind=SpanKind.INTERNAL)
            self._span = None

    def time_remaining(self) -> float | None:
        """Seconds to the deadline, None without one."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self._upstream.clock.monotonic())

    def __del__(self) -> None:
        # A call that nobody awaited still holds a place in flight, and perhaps a probe's.
        if self._attempt is not None:
            self._attempt.dropped()
            self._close_span(grpc.StatusCode.CANCELLED)


def _wake(nap: asyncio.Future[None]) -> None:
    if not nap.done():
        nap.set_result(None)


def _headers(metadata: Metadata | None, context: Context | None) -> list[tuple[str, str | bytes]]:
    headers = [pair for pair in metadata or () if pair[0] != TRACEPARENT_KEY]
    if context is None:
        return headers
    named = {key for key, _ in headers}
    if context.forwarded:
        headers += [pair for pair in context.forwarded if pair[0] not in named]
        named.update(key for key, _ in context.forwarded)
    if PRIORITY_KEY not in named:
        headers.append((PRIORITY_KEY, context.priority.name.lower()))
    return headers


def _session(headers: Sequence[tuple[str, str | bytes]]) -> str:
    for key, value in headers:
        if key == SESSION_KEY and isinstance(value, str):
            return value
    return ""


def status_of(fault: BaseException) -> grpc.StatusCode:
    """The status code that an outcome travels under."""
    return grpc.StatusCode[fault.status] if isinstance(fault, Fault) else grpc.StatusCode.CANCELLED
