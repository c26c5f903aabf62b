"""Calls of a client that has no stubs: buf's, where Node brought it, and one in Python."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
from conditions import BOUND_S
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2
from suite_parts import BUF

V1 = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


async def _through_buf(target: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        str(BUF),
        "curl",
        "--protocol=grpc",
        "--http2-prior-knowledge",
        "--reflect-protocol=grpc-v1",
        "--data",
        json.dumps(request),
        f"http://{target}/{method}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",  # where there is no contract to find
    )
    async with asyncio.timeout(BOUND_S):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    answer: dict[str, Any] = json.loads(output)
    return answer


async def through_reflection(target: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
    """What such a client does: descriptors from the server, messages from the descriptors."""
    service, _, name = method.partition("/")
    pool = DescriptorPool()
    async with grpc.aio.insecure_channel(target) as channel:
        ask = channel.stream_stream(
            V1,
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await ask.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service))
        files = (await ask.read()).file_descriptor_response.file_descriptor_proto
        ask.cancel()
        waiting = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]
        known: set[str] = set()
        while waiting:
            ready = [file for file in waiting if set(file.dependency) <= known]
            assert ready, "a file lacks one that it depends on"
            for file in ready:
                pool.Add(file)  # type: ignore[no-untyped-call]
                known.add(file.name)
                waiting.remove(file)
        described = pool.FindServiceByName(service).methods_by_name[name]
        asked = json_format.ParseDict(request, GetMessageClass(described.input_type)())
        ask_it = channel.unary_unary(
            f"/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )(asked)
        answer: dict[str, Any] = json_format.MessageToDict(await ask_it)
        return answer


async def call(target: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
    """By buf, or else in Python."""
    if BUF.exists():
        return await _through_buf(target, method, request)
    return await through_reflection(target, method, request)
