"""A contract made for these tests: every kind of method, rules and options on it."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2 as d
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

from trunkline.options.v1 import options_pb2

_F = d.FieldDescriptorProto


def build() -> d.FileDescriptorProto:
    file = d.FileDescriptorProto(
        name="hop_tests/echo.proto",
        package="hop_tests.v1",
        syntax="proto3",
        dependency=["trunkline/options/v1/options.proto"],
    )
    request = file.message_type.add(name="EchoRequest")
    text = request.field.add(name="text", number=1, type=_F.TYPE_STRING, label=_F.LABEL_OPTIONAL)
    text.options.Extensions[options_pb2.rules].max_length = 100_000
    value = request.field.add(name="value", number=2, type=_F.TYPE_DOUBLE, label=_F.LABEL_OPTIONAL)
    value.options.Extensions[options_pb2.rules].finite = True
    request.field.add(name="payload", number=3, type=_F.TYPE_BYTES, label=_F.LABEL_OPTIONAL)
    response = file.message_type.add(name="EchoResponse")
    response.field.add(name="text", number=1, type=_F.TYPE_STRING, label=_F.LABEL_OPTIONAL)
    service = file.service.add(name="EchoService")
    for name, many_in, many_out in (
        ("Echo", False, False),
        ("Split", False, True),
        ("Join", True, False),
        ("Chat", True, True),
        ("Converse", True, True),
        ("Quick", False, False),
    ):
        method = service.method.add(
            name=name,
            input_type=".hop_tests.v1.EchoRequest",
            output_type=".hop_tests.v1.EchoResponse",
            client_streaming=many_in,
            server_streaming=many_out,
        )
        policy = method.options.Extensions[options_pb2.policy]
        policy.default_timeout.seconds = 2
        policy.maximum_timeout.seconds = 10
        if name == "Converse":
            policy.idle_timeout.seconds = 1
        if name == "Quick":
            policy.default_timeout.FromMilliseconds(50)
            policy.maximum_timeout.FromMilliseconds(100)
            policy.priority = options_pb2.PRIORITY_INTERACTIVE
            method.options.idempotency_level = d.MethodOptions.NO_SIDE_EFFECTS
    return file


_POOL = Default()
_POOL.AddSerializedFile(build().SerializeToString())
SERVICE = _POOL.FindServiceByName("hop_tests.v1.EchoService")
EchoRequest: Any = GetMessageClass(_POOL.FindMessageTypeByName("hop_tests.v1.EchoRequest"))
EchoResponse: Any = GetMessageClass(_POOL.FindMessageTypeByName("hop_tests.v1.EchoResponse"))


class Stub:
    """What a generator would make of the contract, over any channel."""

    def __init__(self, channel: Any, *, raw: bool = False) -> None:
        for method in SERVICE.methods:
            kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
            setattr(
                self,
                method.name,
                getattr(channel, kind)(
                    f"/{SERVICE.full_name}/{method.name}",
                    request_serializer=None if raw else EchoRequest.SerializeToString,
                    response_deserializer=None if raw else EchoResponse.FromString,
                ),
            )


class EchoServicer:
    """Echoes. A test replaces `on_echo` and the like to do anything else."""

    descriptor = SERVICE

    def __init__(self) -> None:
        self.on_echo: Any = None
        self.on_split: Any = None
        self.on_join: Any = None
        self.on_chat: Any = None
        self.on_converse: Any = None

    async def Echo(self, request: Any, call: Any) -> Any:
        if self.on_echo is not None:
            return await self.on_echo(request, call)
        return EchoResponse(text=request.text)

    async def Quick(self, request: Any, call: Any) -> Any:
        return await self.Echo(request, call)

    async def Split(self, request: Any, call: Any) -> Any:
        if self.on_split is not None:
            await self.on_split(request, call)
        for word in request.text.split():
            yield EchoResponse(text=word)

    async def Join(self, requests: Any, call: Any) -> Any:
        if self.on_join is not None:
            return await self.on_join(requests, call)
        return EchoResponse(text=" ".join([request.text async for request in requests]))

    async def Chat(self, requests: Any, call: Any) -> None:
        if self.on_chat is not None:
            return await self.on_chat(requests, call)
        while (request := await call.read()) is not None:
            await call.write(EchoResponse(text=request.text))
        return None

    async def Converse(self, requests: Any, call: Any) -> None:
        if self.on_converse is not None:
            return await self.on_converse(requests, call)
        while (request := await call.read()) is not None:
            await call.write(EchoResponse(text=request.text))
        return None
