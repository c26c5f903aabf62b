"""Bare grpc.aio servers that do as a test says, and channels to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2 as d
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from trunkline.options.v1 import options_pb2
from trunkline_hop.channel import Channel, connect
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.clock import SystemClock
from trunkline_hop.errors import Fault
from trunkline_hop.status import to_status

BOUND_S = 20.0
"""How long a test waits for a condition before it is a failure. Nothing is asserted about time."""
SERVICE = "hop_client_tests.v1.NoteService"
KINDS = {
    "Read": "unary_unary",
    "Write": "unary_unary",
    "Create": "unary_unary",
    "Hedged": "unary_unary",
    "List": "unary_stream",
    "Join": "stream_unary",
    "Chat": "stream_stream",
    "Session": "stream_stream",
}


def _contract() -> d.FileDescriptorProto:
    file = d.FileDescriptorProto(
        name="hop_client_tests/notes.proto",
        package="hop_client_tests.v1",
        syntax="proto3",
        dependency=["trunkline/options/v1/options.proto"],
    )
    note = file.message_type.add(name="Note")
    for number, name in enumerate(("text", "request_id"), 1):
        note.field.add(
            name=name,
            number=number,
            type=d.FieldDescriptorProto.TYPE_STRING,
            label=d.FieldDescriptorProto.LABEL_OPTIONAL,
        )
    plain = file.message_type.add(name="Plain")
    plain.field.add(
        name="text",
        number=1,
        type=d.FieldDescriptorProto.TYPE_STRING,
        label=d.FieldDescriptorProto.LABEL_OPTIONAL,
    )
    service = file.service.add(name="NoteService")
    for name, kind in KINDS.items():
        method = service.method.add(
            name=name,
            input_type=".hop_client_tests.v1." + ("Note" if name == "Create" else "Plain"),
            output_type=".hop_client_tests.v1.Plain",
            client_streaming=kind.startswith("stream"),
            server_streaming=kind.endswith("stream"),
        )
        policy = method.options.Extensions[options_pb2.policy]
        policy.default_timeout.seconds = 5
        if name in ("Read", "Hedged", "List"):
            method.options.idempotency_level = d.MethodOptions.NO_SIDE_EFFECTS
        policy.hedge = name == "Hedged"
        if name == "Session":
            policy.idle_timeout.seconds = 5
    return file


try:
    Default().FindServiceByName(SERVICE)
except KeyError:
    Default().AddSerializedFile(_contract().SerializeToString())
Note: Any = GetMessageClass(Default().FindMessageTypeByName("hop_client_tests.v1.Note"))
Plain: Any = GetMessageClass(Default().FindMessageTypeByName("hop_client_tests.v1.Plain"))


class VirtualClock(SystemClock):
    """The machine's clock, plus what a test adds."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s

    def advance(self, seconds: float) -> None:
        self.ahead_s += seconds


class Notes:
    """A server. `on` answers its calls: a coroutine of (method, text, context) that returns a text, or raises a
    Fault. Without one it answers with its own name.
    """

    def __init__(self, name: str, *, checked: bool = True) -> None:
        self.name = name
        self.on: Any = None
        self.calls: list[str] = []
        self.metadata: list[dict[str, Any]] = []
        self.left_s: list[float | None] = []
        self.port = 0
        self._checked = checked
        self._server: Any = None
        self._health: Any = None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self, credentials: Any = None) -> None:
        """Listens, after a stop on the same port."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self._handlers(),))
        if self._checked:
            self._health = health.aio.HealthServicer()
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            await self.says(serving=True)
        address = f"127.0.0.1:{self.port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        await self._server.start()

    async def says(self, *, serving: bool) -> None:
        """Sets the health of the process and of its service."""
        status = health_pb2.HealthCheckResponse
        for name in ("", SERVICE):
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self) -> None:
        """Dies, with whatever is in flight."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def _text(self, method: str, text: str, context: Any) -> str:
        self.calls.append(method)
        self.metadata.append(dict(context.invocation_metadata()))
        self.left_s.append(context.time_remaining())
        if self.on is None:
            return self.name
        try:
            return await self.on(method, text, context)
        except Fault as fault:
            await context.abort(*to_status(fault))
            raise

    def _handlers(self) -> Any:
        async def unary(method: str, request: Any, context: Any) -> Any:
            return Plain(text=await self._text(method, request.text, context))

        async def listing(method: str, request: Any, context: Any) -> Any:
            for word in (await self._text(method, request.text, context)).split():
                yield Plain(text=word)

        async def join(method: str, requests: Any, context: Any) -> Any:
            return Plain(text=await self._text(method, " ".join([r.text async for r in requests]), context))

        async def chat(method: str, requests: Any, context: Any) -> Any:
            async for request in requests:
                yield Plain(text=await self._text(method, request.text, context))

        shapes: dict[str, Any] = {
            "unary_unary": unary,
            "unary_stream": listing,
            "stream_unary": join,
            "stream_stream": chat,
        }

        def handler(method: str, kind: str) -> Any:
            behaviour = shapes[kind]
            bound = partial(behaviour, method)
            message = Note if method == "Create" else Plain
            make = getattr(grpc, f"{kind}_rpc_method_handler")
            return make(bound, message.FromString, Plain.SerializeToString)

        return grpc.method_handlers_generic_handler(
            SERVICE, {method: handler(method, kind) for method, kind in KINDS.items()}
        )


class Stub:
    """What a generator would make of the contract."""

    def __init__(self, channel: Any, *, raw: bool = False) -> None:
        for method, kind in KINDS.items():
            message = Note if method == "Create" else Plain
            made = getattr(channel, kind)(
                f"/{SERVICE}/{method}",
                request_serializer=None if raw else message.SerializeToString,
                response_deserializer=None if raw else Plain.FromString,
                _registered_method=True,
            )
            setattr(self, method, made)


class Lab:
    """Starts servers and channels, and ends them with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.clock = VirtualClock()
        self.Plain = Plain
        self.Note = Note
        self.Stub = Stub

    async def server(self, name: str = "one", **given: Any) -> Notes:
        credentials = given.pop("credentials", None)
        server = Notes(name, **given)
        await server.start(credentials)
        self._stack.push_async_callback(server.stop)
        return server

    async def channel(self, *servers: Notes, target: str = "", **given: Any) -> Channel:
        """A channel with fast retries; keyword arguments are settings, or arguments of `connect`."""
        arguments = {k: given.pop(k) for k in ("tracing", "registry", "lookup") if k in given}
        settings: dict[str, Any] = {
            "backoff_initial_s": 0.001,
            "reconnect_initial_s": 0.02,
            "reconnect_maximum_s": 0.1,
            "resolve_pause_s": 0.01,
        }
        return await self._stack.enter_async_context(
            connect(
                "notes",
                target or ",".join(server.target for server in servers),
                ClientSettings(**(settings | given)),
                clock=self.clock,
                random=Random(7),
                **arguments,
            )
        )

    async def serving(self, channel: Channel, count: int) -> None:
        """Waits until so many endpoints are known to serve."""
        await self.until(
            lambda: sum(set(e.health.values()) == {"SERVING"} for e in channel.endpoints) == count
        )

    async def until(self, condition: Callable[[], Any]) -> None:
        """Waits, with a bound, for a condition."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(BOUND_S):
            while not condition():
                tick = loop.create_future()
                loop.call_later(0.002, lambda tick=tick: tick.done() or tick.set_result(None))
                await tick

    async def fault(self, call: Awaitable[Any]) -> Fault:
        """The fault that a call ends with."""
        with pytest.raises(Fault) as caught:
            async with asyncio.timeout(BOUND_S):
                await call
        return caught.value


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        yield Lab(stack)
