"""Reflection, v1 and v1alpha, for grpcurl and `buf curl`. Like health it stands outside the layers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Serves reflection under both of its names; their messages are the same on the wire."""
    _declare_v1()
    servicer = reflection.aio.ReflectionServicer([*services, *SERVICES])
    info: Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]] = servicer.ServerReflectionInfo
    handler = grpc.stream_stream_rpc_method_handler(
        info,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in SERVICES:
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),)
        )


def _declare_v1() -> None:
    """Puts a descriptor of v1 beside the one of v1alpha that grpcio-reflection brings.

    A client that describes everything it is told of, as `buf curl --list-methods` does, needs it.
    """
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName("grpc/reflection/v1/reflection.proto")
    except KeyError:
        alpha = FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
        alpha.name = "grpc/reflection/v1/reflection.proto"
        text = text_format.MessageToString(alpha).replace("grpc.reflection.v1alpha", "grpc.reflection.v1")
        pool.AddSerializedFile(text_format.Parse(text, FileDescriptorProto()).SerializeToString())
