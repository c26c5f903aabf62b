"""The innermost ring: from a servicer's methods to gRPC method handlers over bytes.

A servicer is any object with a `descriptor` (its ServiceDescriptor) and one coroutine method per RPC:

    async def Unary(self, request, call) -> response
    async def ServerStream(self, request, call): yield message        (or call.write)
    async def ClientStream(self, requests, call) -> response          (or call.read)
    async def Bidi(self, requests, call): yield message               (or call.read, call.write)

Requests reach gRPC as bytes and are parsed here, inside the error boundary.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Container, Mapping
from contextlib import aclosing
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from trunkline_hop.call import Call, Handler, check_size
from trunkline_hop.errors import BadRequest, Unimplemented
from trunkline_hop.in_flight import InFlight
from trunkline_hop.options import Method, method_of
from trunkline_hop.rules import validator


class Servicer(Protocol):
    """An implementation of one service."""

    @property
    def descriptor(self) -> ServiceDescriptor:
        """The service it implements."""
        ...


class Proxy(Protocol):
    """Passes calls on as bytes."""

    async def unary(self, request: bytes, call: Call) -> bytes:
        """One request, one response."""
        ...

    async def stream(self, call: Call) -> None:
        """Any other kind, through `call.read` and `call.write`."""
        ...


def servicer_handlers(servicer: Servicer) -> Mapping[Method, Handler]:
    """A handler for every method of a servicer's contract.

    Raises:
        TypeError: a method is missing or is not a coroutine.
        RuleError: the contract has a rule that cannot be checked.
    """
    handlers: dict[Method, Handler] = {}
    for descriptor in servicer.descriptor.methods:
        function = getattr(servicer, descriptor.name, None)
        if function is None:
            raise TypeError(f"{type(servicer).__name__} lacks {descriptor.full_name}")
        if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            raise TypeError(f"{type(servicer).__name__}.{descriptor.name} is not async")
        handlers[method_of(descriptor)] = _handler(descriptor, function)
    return handlers


def proxy_handlers(descriptor: ServiceDescriptor, proxy: Proxy) -> Mapping[Method, Handler]:
    """A handler that passes on, for every method of a service."""

    async def unary(call: Call) -> None:
        call.response = await proxy.unary(call.request, call)

    return {
        method_of(method): proxy.stream if method.client_streaming or method.server_streaming else unary
        for method in descriptor.methods
    }


def _handler(descriptor: MethodDescriptor, function: Callable[..., Any]) -> Handler:
    request_type: type[Message] = GetMessageClass(descriptor.input_type)
    validate = validator(descriptor.input_type)
    yields = inspect.isasyncgenfunction(function)
    response_type: type[Message] = GetMessageClass(descriptor.output_type)

    def parse(data: bytes) -> Message:
        try:
            return request_type.FromString(data)
        except DecodeError:
            raise BadRequest(
                f"the request is not a {descriptor.input_type.full_name}", reason="MALFORMED_REQUEST"
            ) from None

    if not descriptor.client_streaming and not descriptor.server_streaming:
        serialize = response_type.SerializeToString

        async def unary(call: Call) -> None:
            request = parse(call.request)
            if validate is not None:
                validate(request)
            response = serialize(await function(request, call))
            check_size(response)
            call.response = response

        return unary

    async def stream(call: Call) -> None:
        call.parse, call.serialize, call.validate = parse, response_type.SerializeToString, validate
        request: Any
        if descriptor.client_streaming:
            request = call.requests()
        else:
            request = parse(call.request)
            if validate is not None:
                validate(request)
        if yields:
            async with aclosing(function(request, call)) as messages:
                async for message in messages:
                    await call.write(message)
            return
        response = await function(request, call)
        if not descriptor.server_streaming:
            data = call.serialize(response)
            check_size(data)
            call.response = data

    return stream


class Dispatcher(grpc.GenericRpcHandler):
    """Finds the handler of a path. A path that nobody serves is answered from the catalogue too."""

    def __init__(self, draining: asyncio.Event, in_flight: InFlight) -> None:
        self._draining = draining
        self._in_flight = in_flight
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._around: Callable[[Handler], Handler] | None = None
        self._elsewhere: Container[str] = ()

    def add(self, method: Method, handler: Handler) -> None:
        """Serves a method. Each path is served once."""
        if method.path in self._handlers:
            raise ValueError(f"{method.path} is served already")
        self._handlers[method.path] = _rpc_handler(method, handler, self._begin)

    def otherwise(self, around: Callable[[Handler], Handler], elsewhere: Container[str]) -> None:
        """Answers every path that is not served here, except those of services served `elsewhere`."""
        self._around = around
        self._elsewhere = elsewhere

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        path = details.method
        handler = self._handlers.get(path)
        if handler is not None or self._around is None:
            return handler
        if path[1:].rpartition("/")[0] in self._elsewhere:
            return None
        return _rpc_handler(_UNKNOWN, self._around(_refuse(path)), self._begin)

    def _begin(self, method: Method, context: Any, request: bytes = b"") -> Call:
        self._in_flight.begin(context)
        return Call(method, context, self._draining, request)


# Unknown paths share one name in metrics and spans, so that a scanner cannot fill them.
_UNKNOWN = Method("/unknown/unknown", client_streaming=True, server_streaming=True)


def _refuse(path: str) -> Handler:
    async def refuse(call: Call) -> None:
        raise Unimplemented("METHOD_UNKNOWN", f"nobody serves {path[:200]}", metadata={"method": path})

    return refuse


def _rpc_handler(
    method: Method, handler: Handler, begin: Callable[..., Call]
) -> grpc.RpcMethodHandler[Any, Any]:
    """The gRPC method handler of a layered handler, over bytes on both sides."""

    async def one_in_one_out(request: bytes, context: Any) -> bytes:
        call = begin(method, context, request)
        await handler(call)
        return call.response

    async def one_in(request: bytes, context: Any) -> None:
        await handler(begin(method, context, request))

    async def many_in_one_out(_: Any, context: Any) -> bytes:
        call = begin(method, context)
        await handler(call)
        return call.response

    async def many_in(_: Any, context: Any) -> None:
        # Before anybody reads and writes at once: gRPC does not count the initial metadata as sent while they are
        # on their way. A second task that says something then, or a first one that is cancelled, makes it send
        # them twice; the core refuses that, and the caller would never get a status.
        with contextlib.suppress(grpc.aio.InternalError):  # it is gone: its cancellation is on the way
            await context.send_initial_metadata(())
        await handler(begin(method, context))

    if method.client_streaming:
        if method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(many_in)
        return grpc.stream_unary_rpc_method_handler(many_in_one_out)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(one_in)
    return grpc.unary_unary_rpc_method_handler(one_in_one_out)
