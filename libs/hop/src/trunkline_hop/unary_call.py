"""A call with one request and one answer: retried and hedged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from trunkline_hop import telemetry
from trunkline_hop.attempt import Attempt
from trunkline_hop.client_call import ClientCall, Metadata, status_of
from trunkline_hop.errors import Fault, Internal, Unavailable
from trunkline_hop.upstream import Upstream, UpstreamMethod

Q = TypeVar("Q")
R = TypeVar("R")


class UnaryCall(ClientCall, grpc.aio.UnaryUnaryCall[Q, R], Generic[Q, R]):
    """Await it for the answer.

    Raises on await:
        Fault: whatever went wrong, never an AioRpcError.
        asyncio.CancelledError: the awaiting task, or the call, was cancelled; so is the RPC.
    """

    def __init__(
        self,
        upstream: Upstream,
        tracing: telemetry.Tracing | None,
        method: UpstreamMethod,
        payload: bytes,
        parse: Callable[[bytes], R],
        repeatable: bool,
        timeout_s: float | None,
        metadata: Metadata | None,
        extra: dict[str, Any] | None,
    ) -> None:
        super().__init__(upstream, tracing, method, "unary_unary", timeout_s, metadata, extra)
        self._payload = payload
        self._parse = parse
        self._repeatable = repeatable
        self._driven = False
        self._finished: asyncio.Future[None] | None = None
        self._callbacks: list[Callable[[Any], None]] = []
        self._error: BaseException | None = None
        self._answer: R | None = None
        self._over = False
        if upstream.resolved and not (extra and "wait_for_ready" in extra):
            try:
                self._attempt = self._begin(payload)
            except Fault as fault:
                self._end(fault)

    def __await__(self) -> Generator[Any, None, R]:
        return self._result().__await__()

    async def _result(self) -> R:
        if not self._driven and not self._over:
            self._driven = True
            try:
                answer = await self._drive()
            except BaseException as error:
                self._end(error)
                raise
            self._answer = answer
            self._end(None)
            return answer
        await self._settled()
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value] # an R once it is over without an error

    async def _settled(self) -> None:
        """Waits for the task that drives the call, or drives it."""
        if self._over:
            return
        if not self._driven:
            try:
                await self._result()
            except Fault:
                return  # kept in `_error`, for whoever asks for the answer
            return
        if self._finished is None:
            self._finished = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._finished)

    async def _drive(self) -> R:
        try:
            if self._attempt is None:
                self._attempt = await self._first(self._payload)
            while True:
                attempt = self._attempt
                if self._method.options.hedge and self._repeatable:
                    attempt = self._attempt = await self._race(attempt)
                try:
                    data = await attempt.call
                except grpc.aio.AioRpcError as error:
                    fault = attempt.failed(error)
                    if not self._repeatable:
                        raise fault from None
                    failure = error
                else:
                    attempt.succeeded()
                    return self._read(data)
                self._attempt = await self._again(self._payload, fault, failure)
        except asyncio.CancelledError:
            if self._attempt is not None:
                self._attempt.dropped()
            interrupted = self._interrupted()
            if isinstance(interrupted, asyncio.CancelledError):
                raise
            raise interrupted from None

    async def _race(self, first: Attempt) -> Attempt:
        """Waits as long as such calls usually take, then sends a second attempt to another endpoint.

        Returns the attempt to await: the one that was answered first, or the one left when the other failed
        in a way that may be retried.
        """
        upstream = self._upstream
        delay_s = self._method.latencies.quantile_s
        if delay_s is None or len(upstream.endpoints) < 2:
            return first
        done = asyncio.Event()
        first.call.add_done_callback(lambda _: done.set())
        loop = asyncio.get_running_loop()
        timer = loop.call_later(delay_s, done.set)
        try:
            await done.wait()
        finally:
            timer.cancel()
        second = None if first.call.done() else self._hedge()
        if second is None:
            return first
        try:
            running = {first, second}
            second.call.add_done_callback(lambda _: done.set())
            while True:
                done.clear()
                for attempt in tuple(running):
                    if not attempt.call.done():
                        continue
                    code = await attempt.call.code()
                    if code is not grpc.StatusCode.UNAVAILABLE or len(running) == 1:
                        running.discard(attempt)
                        return attempt
                    running.discard(attempt)
                    await self._note(attempt)
                if not any(attempt.call.done() for attempt in running):
                    await done.wait()
        finally:
            # The loser, or both when the caller went away.
            for attempt in (first, second):
                if attempt in running:
                    attempt.dropped()

    def _hedge(self) -> Attempt | None:
        upstream = self._upstream
        now = upstream.clock.monotonic()
        if not upstream.others(self._method.service, self._tried, now) or not upstream.budget.take():
            return None
        try:
            attempt = self._begin(self._payload)
        except Fault:
            upstream.budget.give_back()
            return None
        if self._method.metrics is not None:
            self._method.metrics.repeated("hedge")
        return attempt

    async def _note(self, attempt: Attempt) -> None:
        """Tells the breaker of an attempt that failed while another is still out."""
        try:
            await attempt.call
        except grpc.aio.AioRpcError as error:
            attempt.failed(error)

    def _read(self, data: bytes) -> R:
        try:
            return self._parse(data)
        except Exception as error:
            raise Internal("INTERNAL", f"{self._upstream.name} sent an answer that cannot be read") from error

    def _end(self, error: BaseException | None) -> None:
        self._over = True
        self._error = error
        self._payload = b""
        self._close_span(grpc.StatusCode.OK if error is None else status_of(error))
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(None)
        for callback in self._callbacks:
            callback(self)

    def cancel(self) -> bool:
        """Cancels the RPC; False when it was over."""
        if self._over:
            return False
        self._cancelled = True
        if self._nap is not None:
            self._nap.cancel()
        if self._attempt is not None:
            self._attempt.dropped()
        if not self._driven:
            self._end(asyncio.CancelledError())
        return True

    def cancelled(self) -> bool:
        """True after it was cancelled here."""
        return isinstance(self._error, asyncio.CancelledError)

    def done(self) -> bool:
        """True when there is an outcome, or the last word of the attempt in flight is in."""
        return self._over

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls back with the call when it is over; it is over when it was awaited."""
        if self._over:
            callback(self)
        else:
            self._callbacks.append(callback)

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """What the server sent first; empty when no server answered."""
        await self._settled()
        if self._attempt is None:
            return grpc.aio.Metadata()
        metadata: grpc.aio.Metadata = await self._attempt.call.initial_metadata()
        return metadata

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """What the server sent last; empty when no server answered."""
        await self._settled()
        if self._attempt is None:
            return grpc.aio.Metadata()
        metadata: grpc.aio.Metadata = await self._attempt.call.trailing_metadata()
        return metadata

    async def code(self) -> grpc.StatusCode:
        """The status."""
        await self._settled()
        return grpc.StatusCode.OK if self._error is None else status_of(self._error)

    async def details(self) -> str:
        """The status's message."""
        await self._settled()
        return self._error.message if isinstance(self._error, Fault) else ""

    async def wait_for_connection(self) -> None:
        """Returns once the call was answered.

        Raises:
            Unavailable: it could not be sent.
        """
        await self._settled()
        if isinstance(self._error, Unavailable):
            raise self._error
