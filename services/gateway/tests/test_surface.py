"""What the gateway says about itself: health, reflection, and why it does not start."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import grpc
import grpc.aio
import pytest
from conditions import BOUND_S, failure, open_channel, until
from gateway_parts import EVERY, FEATURES, RANKING, Backend
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def test_the_health_of_a_service_follows_the_service_behind_it(
    start_backend: Any, start_gateway: Any
) -> None:
    features, ranking = await start_backend(), await start_backend()
    gateway = await start_gateway(features=features.target, ranking=ranking.target)
    async with open_channel(gateway.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        seen: dict[str, list[int]] = {name: [] for name in ("", FEATURES.full_name, RANKING.full_name)}

        async def watch(name: str) -> None:
            async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=name)):
                seen[name].append(answer.status)

        watches = [asyncio.ensure_future(watch(name)) for name in seen]
        await until(lambda: all(states[-1:] == [SERVING] for states in seen.values()))
        features.healthy = False
        await until(lambda: seen[FEATURES.full_name][-1] == NOT_SERVING)
        features.healthy = True
        await until(lambda: seen[FEATURES.full_name][-1] == SERVING)
        await ranking.server.stop()
        await until(lambda: seen[RANKING.full_name][-1] == NOT_SERVING)
        assert seen[FEATURES.full_name][-1] == seen[""][-1] == SERVING
        error = await failure(stub.Check(health_pb2.HealthCheckRequest(service="trunkline.nothing.v1.None")))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        for task in watches:
            task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_describes_every_service_that_is_offered(channel: Any, version: str) -> None:
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    async with asyncio.timeout(BOUND_S):
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = {service.name for service in (await call.read()).list_services_response.service}
        assert {service.full_name for service in EVERY} <= listed
        for service in EVERY:
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service.full_name))
            files = (await call.read()).file_descriptor_response.file_descriptor_proto
            described = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]
            names = {
                method.name
                for file in described
                for one in file.service
                if f"{file.package}.{one.name}" == service.full_name
                for method in one.method
            }
            assert names == {method.name for method in service.methods}
    call.cancel()


async def test_reflection_does_not_list_what_is_not_offered(backend: Backend, start_gateway: Any) -> None:
    gateway = await start_gateway(features=backend.target)
    async with open_channel(gateway.target) as channel:
        call = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = {service.name for service in (await call.read()).list_services_response.service}
        call.cancel()
    assert FEATURES.full_name in listed
    assert RANKING.full_name not in listed


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {},
            "settings: no service to offer: set at least one of TRUNKLINE_FEATURES, TRUNKLINE_RANKING, TRUNKLINE_REGISTRY, TRUNKLINE_RETRIEVAL, TRUNKLINE_SPEECH, TRUNKLINE_TRANSLATE",
        ),
        (
            {"FEATURES": "features"},
            "TRUNKLINE_FEATURES: 'features' is no host:port, unix:path or dns:///host:port",
        ),
        ({"FEATURE": "127.0.0.1:1"}, "TRUNKLINE_FEATURE: unknown setting; did you mean TRUNKLINE_FEATURES?"),
    ],
)
async def test_wrong_settings_stop_the_start_with_their_reason(settings: dict[str, str], reason: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trunkline_gateway",
        env=environment
        | {"TRUNKLINE_PORT": "0"}
        | {f"TRUNKLINE_{key}": value for key, value in settings.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(BOUND_S):
        output, errors = await process.communicate()
    assert process.returncode == 2
    assert reason in errors.decode().splitlines()
    assert output == b""
