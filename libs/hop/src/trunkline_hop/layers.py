"""The layers around a handler, from the outside in.

    observe     trace, metrics, log context; turns faults into statuses
    identify    who calls
    bound       the deadline, or a session's idle deadline
    admit       a slot, a place in the queue, or a refusal
    (handlers)  parse, validate, run, serialise

Each is an async callable `layer(call, inner)`. Errors are mapped inside `observe`, so that a span and a
metric see the status that the caller sees.
"""

from __future__ import annotations

import asyncio
import uuid
from time import monotonic

import grpc
import structlog
from opentelemetry.trace import SpanKind

from trunkline_hop import status, telemetry
from trunkline_hop.admission import Admission
from trunkline_hop.call import Call, Handler, Layer
from trunkline_hop.context import Principal, Priority, current
from trunkline_hop.errors import BadRequest, Fault, Internal, Overloaded, TooLate
from trunkline_hop.metrics import Metrics

PRIORITY_KEY = "x-trunkline-priority"
_FORWARDED_PREFIX = "x-trunkline-"
_PRIORITIES = {priority.name.lower(): priority for priority in Priority}

logger = structlog.get_logger("trunkline_hop")


class Observe:
    """Outermost: a span and a metric per call, and the catalogue's status for whatever went wrong."""

    def __init__(self, tracing: telemetry.Tracing, metrics: Metrics) -> None:
        self._tracing = tracing
        self._metrics = metrics

    async def __call__(self, call: Call, inner: Handler) -> None:
        path = call.method.path
        traceparent = None
        for key, value in call.transport.invocation_metadata() or ():
            if key == "traceparent":
                traceparent = value
            elif (key.startswith(_FORWARDED_PREFIX) or key == "tracestate") and isinstance(value, str):
                call.context.forwarded += ((key, value),)
        # Both contexts are the task's, and gRPC gives every call a task of its own: they end with it.
        current.set(call.context)
        span = self._tracing.server_span(path[1:], traceparent if isinstance(traceparent, str) else None)
        if span is not None:
            telemetry.attach(span, self._tracing.tracer)
            if not span.is_recording():
                span = None
            else:
                span.set_attributes(
                    {"rpc.system": "grpc", "rpc.service": call.method.service, "rpc.method": call.method.name}
                )
        try:
            await inner(call)
        except Fault as fault:
            self._fail(call, fault)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                # Nobody cancelled the call: the handler awaited something else that was. Without a status
                # its caller would wait until the deadline.
                self._unexpected(call)
            else:
                call.code = grpc.StatusCode.DEADLINE_EXCEEDED if _expired(call) else grpc.StatusCode.CANCELLED
                raise
        except ExceptionGroup as group:
            # What a handler's TaskGroup makes of a fault.
            only = _only_fault(group)
            if only is None:
                self._unexpected(call)
            else:
                self._fail(call, only)
        except Exception:
            self._unexpected(call)
        finally:
            if span is not None:
                telemetry.end_rpc(span, call.code, kind=SpanKind.SERVER)
            for degradation in call.degradations:
                self._metrics.degraded.labels(path[1:], degradation).inc()
            self._metrics.observe_call(path, call.code, monotonic() - call.arrived)
        call.send_trailers()

    def _unexpected(self, call: Call) -> None:
        request_id = uuid.uuid4().hex
        logger.exception("unexpected error", method=call.method.path, request_id=request_id)
        self._fail(call, Internal("INTERNAL", _INTERNAL), request_id)

    def _fail(self, call: Call, fault: Fault, request_id: str = "") -> None:
        if type(fault) is Internal and not request_id and fault.details is None:
            # Raised on purpose, but its text is for the log alone.
            request_id = uuid.uuid4().hex
            logger.error(
                "internal fault", method=call.method.path, request_id=request_id, fault=fault.message
            )
            fault = Internal("INTERNAL", _INTERNAL)
        logger.debug("call failed", method=call.method.path, fault=str(fault))
        call.finish(*status.to_status(fault, request_id))


_INTERNAL = "internal error; the log has it"


def _expired(call: Call) -> bool:
    """True when a cancelled call ran out of time.

    The caller's clock started a trip earlier than ours, and `grpc-timeout` is rounded up on the wire: the
    caller's cancellation comes a little before our own end of its deadline.
    """
    left_s = call.transport.time_remaining()
    deadline = call.context.deadline
    if left_s is None or deadline is None:
        return False
    total_s = deadline - call.arrived
    return left_s <= min(0.05, 0.5 * total_s) + 0.02 * total_s


def _only_fault(group: ExceptionGroup[Exception]) -> Fault | None:
    """The first fault of a group, when it holds nothing else."""
    first: Fault | None = None
    for error in group.exceptions:
        fault = _only_fault(error) if isinstance(error, ExceptionGroup) else error
        if not isinstance(fault, Fault):
            return None
        first = first or fault
    return first


class Identify:
    """Sets the principal: the subject of the client's certificate, or anonymous.

    Also reads the priority that the caller asks for.

    Args:
        certificates: whether clients must show one. Without, looking for one would cost every call.
    """

    def __init__(self, *, certificates: bool) -> None:
        self._certificates = certificates

    async def __call__(self, call: Call, inner: Handler) -> None:
        if self._certificates:
            peer = call.transport.auth_context()
            names = peer.get("x509_subject_alternative_name") or peer.get("x509_common_name")
            if names:
                call.context.principal = Principal(next(iter(names)).decode(errors="replace"), "mtls")
        for key, value in call.context.forwarded:
            if key == PRIORITY_KEY:
                priority = _PRIORITIES.get(value)
                if priority is None:
                    raise BadRequest.field(
                        PRIORITY_KEY, f"expected one of {', '.join(_PRIORITIES)}, got {value!r}"
                    )
                call.context.priority = priority
        await inner(call)


async def bound(call: Call, inner: Handler) -> None:
    """Gives the call its deadline: the caller's, cut to the method's maximum; the default without one.

    A session gets an idle deadline instead, moved on by every message.

    Raises:
        TooLate: DEADLINE_EXCEEDED, or IDLE for a session that fell silent.
    """
    method = call.method
    if method.idle_timeout_s is not None:
        idle_s = method.idle_timeout_s
        loop = asyncio.get_running_loop()
        timeout = asyncio.timeout(idle_s)

        def touch() -> None:
            # One that expired cannot be moved, and a handler may still write while it ends.
            if not timeout.expired():
                timeout.reschedule(loop.time() + idle_s)

        call.touch = touch
        try:
            async with timeout:
                await inner(call)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise TooLate("IDLE", f"nothing was sent for {idle_s:g} s") from None
        finally:
            call.touch = None
        return
    left_s = call.transport.time_remaining()
    cut_s = method.default_timeout_s if left_s is None else method.maximum_timeout_s
    if left_s is not None and left_s <= cut_s:
        # The transport itself cancels the handler at the caller's deadline.
        call.context.deadline = call.arrived + left_s
        await inner(call)
        return
    call.context.deadline = call.arrived + cut_s
    timeout = asyncio.timeout(cut_s)
    try:
        async with timeout:
            await inner(call)
    except TimeoutError:
        if not timeout.expired():
            raise
        raise TooLate("DEADLINE_EXCEEDED", f"the call took longer than its {cut_s:g} s") from None


class Admit:
    """Lets calls through as slots come free. Long sessions have a count of their own."""

    def __init__(
        self, admission: Admission, session_limit: int, session_age_s: float, metrics: Metrics
    ) -> None:
        self._admission = admission
        self._sessions = 0
        self._session_limit = session_limit
        self._session_age_s = session_age_s
        self._shed = {reason: metrics.shed.labels(reason) for reason in ("queue", "sessions", "deadline")}
        metrics.in_flight.set_function(lambda: admission.running)
        metrics.queued.set_function(lambda: admission.queued)
        metrics.limit.set_function(lambda: admission.limit)
        metrics.sessions.set_function(lambda: self._sessions)

    @property
    def sessions(self) -> int:
        """Sessions open."""
        return self._sessions

    async def __call__(self, call: Call, inner: Handler) -> None:
        if call.method.session:
            await self._session(call, inner)
            return
        admission = self._admission
        if not admission.admit():
            try:
                with telemetry.span("queue"):
                    await admission.wait(call.context.priority, call.context.deadline)
            except Overloaded:
                self._shed["queue"].inc()
                raise
            except TooLate:
                self._shed["deadline"].inc()
                raise
        started = monotonic()
        try:
            await inner(call)
        finally:
            # How long a stream ran says nothing about how soon the next slot comes free.
            streaming = call.method.client_streaming or call.method.server_streaming
            admission.release(None if streaming else monotonic() - started)

    async def _session(self, call: Call, inner: Handler) -> None:
        if self._sessions >= self._session_limit:
            self._shed["sessions"].inc()
            raise Overloaded("SHED", "more sessions than can be held at once; try another replica")
        self._sessions += 1
        # A session that grew old is asked to move on like one whose server stops, so that load balances.
        own = _Draining(call.draining)
        call.draining = own.event
        aged = asyncio.get_running_loop().call_later(self._session_age_s, own.event.set)
        try:
            await inner(call)
        finally:
            aged.cancel()
            own.close()
            self._sessions -= 1


class _Draining:
    """An event of one session that is also set when its server's is."""

    def __init__(self, server: asyncio.Event) -> None:
        self.event = asyncio.Event()
        if server.is_set():
            self.event.set()
        self._task = asyncio.ensure_future(server.wait())
        self._task.add_done_callback(lambda task: None if task.cancelled() else self.event.set())

    def close(self) -> None:
        self._task.cancel()


def stack(*layers: Layer, handler: Handler) -> Handler:
    """One handler out of layers, given from the outside in, around a handler."""
    for layer in reversed(layers):
        handler = _around(layer, handler)
    return handler


def _around(layer: Layer, inner: Handler) -> Handler:
    async def handle(call: Call) -> None:
        await layer(call, inner)

    return handle
