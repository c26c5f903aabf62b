"""One call on the server side: what layers and handlers know and may do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

import grpc
import grpc.aio

from trunkline_hop.client_settings import MESSAGE_BYTES
from trunkline_hop.context import Context, Principal, Priority
from trunkline_hop.errors import Cancelled, Overloaded
from trunkline_hop.options import Method

MODEL_VERSION_KEY = "x-trunkline-model-version"
DEGRADED_KEY = "x-trunkline-degraded"

Handler = Callable[["Call"], Awaitable[None]]
Layer = Callable[["Call", Handler], Awaitable[None]]


class Call:
    """A call being served. Handlers get it as their second argument.

    Attributes:
        method: the options its contract declares.
        context: what onward calls inherit.
        draining: set when a session should end itself, handing its client a resume token.
        code: status the call ends with.
    """

    __slots__ = (
        "_metadata",
        "_trailers",
        "arrived",
        "code",
        "context",
        "degradations",
        "draining",
        "method",
        "parse",
        "request",
        "response",
        "serialize",
        "touch",
        "transport",
        "validate",
    )

    def __init__(
        self,
        method: Method,
        transport: grpc.aio.ServicerContext[Any, Any],
        draining: asyncio.Event,
        request: bytes = b"",
    ) -> None:
        self.method = method
        self.transport = transport
        self.request = request
        self.response = b""
        self.context = Context(priority=method.priority)
        self.draining = draining
        self.code = grpc.StatusCode.OK
        self.arrived = monotonic()
        self.degradations: tuple[str, ...] = ()
        self.parse: Callable[[bytes], Any] = _identity
        self.serialize: Callable[[Any], bytes] = _identity
        self.validate: Callable[[Any], None] | None = None
        self.touch: Callable[[], None] | None = None
        self._metadata: Mapping[str, str | bytes] | None = None
        self._trailers: list[tuple[str, str | bytes]] = []

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """The caller's metadata, the first value of each key."""
        if self._metadata is None:
            self._metadata = dict(reversed(tuple(self.transport.invocation_metadata() or ())))
        return self._metadata

    @property
    def principal(self) -> Principal:
        """Who calls."""
        return self.context.principal

    @property
    def priority(self) -> Priority:
        """How much the caller minds waiting."""
        return self.context.priority

    def remaining(self) -> float | None:
        """Seconds until the answer is due, never negative; None in a session."""
        deadline = self.context.deadline
        return None if deadline is None else max(0.0, deadline - monotonic())

    def provenance(self, version: str) -> None:
        """Names a model version (`models/{model}/versions/{version}`) that had part in the answer."""
        self._trailers.append((MODEL_VERSION_KEY, version))

    def degraded(self, how: str) -> None:
        """Says what the answer lacks, such as `features_unavailable`."""
        if how not in self.degradations:
            self.degradations += (how,)
            self._trailers.append((DEGRADED_KEY, how))

    def trailer(self, key: str, value: str | bytes) -> None:
        """Adds trailing metadata."""
        self._trailers.append((key, value))

    def finish(
        self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, str | bytes], ...]
    ) -> None:
        """Sets the status that the call ends with."""
        self.code = code
        self.response = b""
        self._trailers.extend(trailers)
        self.transport.set_code(code)
        self.transport.set_details(details)

    def send_trailers(self) -> None:
        """Hands the collected trailers to the transport."""
        if self._trailers:
            self.transport.set_trailing_metadata(tuple(self._trailers))

    async def read(self) -> Any | None:
        """The next message of a client stream, parsed and validated; None when the client is done.

        Raises:
            BadRequest: the message is malformed or breaks a rule.
            Cancelled: the caller is gone.
        """
        data: Any = await self.transport.read()
        if data is grpc.aio.EOF:
            # gRPC reports a caller that went away as the end of its stream, and the cancellation just after.
            # Let it come first, or a handler takes half an upload for a whole one: an operation that starts
            # now completes after it.
            try:
                with contextlib.suppress(grpc.aio.UsageError):  # sent already, by an answer before this end
                    await self.transport.send_initial_metadata(())
            except grpc.aio.InternalError:
                raise Cancelled("CANCELLED", "the caller went away") from None
            return None
        if self.touch is not None:
            self.touch()
        message = self.parse(data)
        if self.validate is not None:
            self.validate(message)
        return message

    async def write(self, message: Any) -> None:
        """Sends one message of a server stream; waits while the client's window is full.

        Raises:
            Cancelled: the caller is gone.
            Overloaded: TOO_LARGE, over the message limit.
        """
        data = self.serialize(message)
        check_size(data)
        try:
            await self.transport.write(data)
        except grpc.aio.InternalError:
            # The transport refuses a batch only when the stream is gone.
            raise Cancelled("CANCELLED", "the caller went away") from None
        if self.touch is not None:
            self.touch()

    async def requests(self) -> AsyncIterator[Any]:
        """The messages of a client stream."""
        while (message := await self.read()) is not None:
            yield message


def check_size(data: bytes) -> None:
    """Refuses an answer that no peer would take.

    Raises:
        Overloaded: TOO_LARGE.
    """
    if len(data) > MESSAGE_BYTES:
        raise Overloaded(
            "TOO_LARGE", f"the answer has {len(data)} bytes; a message has at most {MESSAGE_BYTES}"
        )


def _identity(data: Any) -> Any:
    return data
