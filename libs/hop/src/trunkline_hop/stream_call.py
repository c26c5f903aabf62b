"""Calls that stream in one direction or both.

A server stream is retried until its first message came; what a caller streams is sent once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from trunkline_hop import telemetry
from trunkline_hop.client_call import ClientCall, Metadata, status_of
from trunkline_hop.errors import Fault, Internal
from trunkline_hop.upstream import Upstream, UpstreamMethod

Q = TypeVar("Q")
R = TypeVar("R")
Requests = AsyncIterable[Q] | Iterable[Q]


class StreamCall(
    ClientCall,
    grpc.aio.UnaryStreamCall[Q, R],
    grpc.aio.StreamUnaryCall[Q, R],
    grpc.aio.StreamStreamCall[Q, R],
    Generic[Q, R],
):
    """A stream. Messages come by `async for` or `read()`; they go by an iterator or `write()`. A call with one
    answer is awaited for it.

    Raises on reading, writing and awaiting:
        Fault: whatever went wrong, never an AioRpcError.
        asyncio.CancelledError: the task, or the call, was cancelled; so is the RPC.
    """

    def __init__(
        self,
        upstream: Upstream,
        tracing: telemetry.Tracing | None,
        method: UpstreamMethod,
        kind: str,
        payload: bytes | None,
        requests: Requests[Q] | None,
        serialise: Callable[[Q], bytes],
        parse: Callable[[bytes], R],
        repeatable: bool,
        timeout_s: float | None,
        metadata: Metadata | None,
        extra: dict[str, Any] | None,
    ) -> None:
        super().__init__(upstream, tracing, method, kind, timeout_s, metadata, extra)
        self._serialise = serialise
        self._parse = parse
        self._repeatable = repeatable
        self._source_error: BaseException | None = None
        self._argument: Any = payload
        if requests is not None:
            self._argument = self._outgoing(requests)
        self._error: BaseException | None = None
        self._over = False
        self._heard = False
        self._reply: R | None = None
        self._callbacks: list[Callable[[Any], None]] = []
        self._starting: asyncio.Lock | None = None
        if upstream.resolved and not (extra and "wait_for_ready" in extra):
            try:
                self._attempt = self._begin(self._argument)
            except Fault as fault:
                self._end(fault)

    async def _outgoing(self, requests: Requests[Q]) -> AsyncIterator[bytes]:
        """Serialises the caller's messages. grpc.aio only logs what their iterator raises, so it is kept here."""
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    yield self._serialise(request)
            else:
                for request in requests:
                    yield self._serialise(request)
        except Exception as error:
            self._source_error = error
            raise

    async def _started(self) -> Any:
        """grpc.aio's call of the attempt in flight."""
        if self._error is not None:
            raise self._error
        if self._attempt is None:
            if self._starting is None:
                self._starting = asyncio.Lock()  # a reader and a writer may both come first
            async with self._starting:
                if self._attempt is None:
                    try:
                        self._attempt = await self._first(self._argument)
                    except BaseException as error:
                        self._end(error)
                        raise
        return self._attempt.call

    async def read(self) -> Any:
        """The next message, or grpc.aio.EOF after the last one."""
        call = await self._started()
        attempt = self._attempt
        while attempt is not None:
            if self._over:
                return grpc.aio.EOF
            try:
                data = await call.read()
                if data is grpc.aio.EOF:
                    attempt.succeeded()
                    self._end(None)
                    return data
            except grpc.aio.AioRpcError as error:
                fault = attempt.failed(error)
                try:
                    if self._heard or not self._repeatable:
                        raise fault from None
                    attempt = self._attempt = await self._again(self._argument, fault, error)
                    call = attempt.call
                except BaseException as last:
                    self._end(last)
                    raise
                continue
            except asyncio.CancelledError:
                raise self._stopped() from None
            if not self._heard:
                self._heard = True
                attempt.answered()
            return self._read(data)
        return grpc.aio.EOF

    def __aiter__(self) -> AsyncIterator[R]:
        return self

    async def __anext__(self) -> R:
        message = await self.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return message  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Any, None, R]:
        return self._single().__await__()

    async def _single(self) -> R:
        """The one answer to a stream of requests."""
        call = await self._started()
        attempt = self._attempt
        if not self._over and attempt is not None:
            try:
                data = await call
            except grpc.aio.AioRpcError as error:
                fault = attempt.failed(error)
                self._end(fault)
                raise fault from None
            except asyncio.CancelledError:
                raise self._stopped() from None
            attempt.succeeded()
            self._reply = self._read(data)
            self._end(None)
        return self._reply  # type: ignore[return-value] # an R once it is over without an error

    async def write(self, request: Q) -> None:
        """Sends a message."""
        data = self._serialise(request)
        call = await self._started()
        await self._sending(call.write(data))

    async def done_writing(self) -> None:
        """Says that no more messages follow."""
        call = await self._started()
        await self._sending(call.done_writing())

    async def _sending(self, work: Any) -> None:
        attempt = self._attempt
        try:
            await work
            if attempt and attempt.call.done() and await attempt.call.code() is not grpc.StatusCode.OK:
                # It was not sent: the server ended the call first.
                raise await self._status_fault()
        except grpc.aio.AioRpcError as error:
            if attempt is None:
                raise
            fault = attempt.failed(error)
            self._end(fault)
            raise fault from None
        except asyncio.InvalidStateError:
            # The RPC ended while the caller was still writing: the status says why.
            if attempt is None or not attempt.call.done() or await attempt.call.code() is grpc.StatusCode.OK:
                raise
            raise await self._status_fault() from None
        except asyncio.CancelledError:
            raise self._stopped() from None

    async def _status_fault(self) -> Fault:
        attempt = self._attempt
        if attempt is None or isinstance(self._error, Fault):
            return self._error if isinstance(self._error, Fault) else self._upstream.unreachable()
        call = attempt.call
        fault = attempt.failed(
            grpc.aio.AioRpcError(
                await call.code(),
                await call.initial_metadata(),
                await call.trailing_metadata(),
                await call.details(),
            )
        )
        self._end(fault)
        return fault

    def _stopped(self) -> BaseException:
        """Ends the call after a CancelledError: the caller's, a closed channel's, or its own iterator's."""
        if self._attempt is not None:
            self._attempt.dropped()
        error = self._source_error or self._interrupted()
        self._end(error)
        return error

    def _read(self, data: bytes) -> R:
        try:
            return self._parse(data)
        except Exception as error:
            self.cancel()
            fault = Internal("INTERNAL", f"{self._upstream.name} sent a message that cannot be read")
            self._error = fault
            raise fault from error

    def _end(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        self._error = error
        self._close_span(grpc.StatusCode.OK if error is None else status_of(error))
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
        self._end(asyncio.CancelledError())
        return True

    def cancelled(self) -> bool:
        """True after it was cancelled here."""
        return isinstance(self._error, asyncio.CancelledError)

    def done(self) -> bool:
        """True when there is an outcome."""
        return self._over

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls back with the call when its outcome was read."""
        if self._over:
            callback(self)
        else:
            self._callbacks.append(callback)

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """What the server sent first. Waits for it."""
        metadata: grpc.aio.Metadata = await (await self._started()).initial_metadata()
        return metadata

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """What the server sent last. Waits for the end; empty when no server answered."""
        if self._attempt is None and self._over:
            return grpc.aio.Metadata()
        attempt = self._attempt
        call = attempt.call if attempt is not None else await self._started()
        metadata: grpc.aio.Metadata = await call.trailing_metadata()
        return metadata

    async def code(self) -> grpc.StatusCode:
        """The status. Waits for the end."""
        if self._error is not None:
            return status_of(self._error)
        code: grpc.StatusCode = await (await self._started()).code()
        return code

    async def details(self) -> str:
        """The status's message. Waits for the end."""
        if self._error is not None:
            return self._error.message if isinstance(self._error, Fault) else ""
        details: str = await (await self._started()).details()
        return details

    async def wait_for_connection(self) -> None:
        """Returns once the call was sent.

        Raises:
            Unavailable: it could not be.
        """
        call = await self._started()
        try:
            await call.wait_for_connection()
        except grpc.aio.AioRpcError as error:
            attempt = self._attempt
            if attempt is None:
                raise
            fault = attempt.failed(error)
            self._end(fault)
            raise fault from None
