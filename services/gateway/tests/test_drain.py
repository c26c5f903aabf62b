from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from conditions import BOUND_S, eventually, open_channel, tick, until
from gateway_parts import FEATURES, REGISTRY, Backend, method
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trunkline_hop.call import Call
from trunkline_local.embedded import free_port

CALLS = 20


async def test_sigterm_completes_every_call_that_was_accepted_and_ends_the_process(backend: Backend) -> None:
    let_go = asyncio.Event()
    waiting = 0

    async def hold(request: bytes, call: Call) -> bytes:
        nonlocal waiting
        waiting += 1
        await let_go.wait()
        return b"answer"

    backend.on["GetOnlineFeatures"] = backend.on["UploadArtifact"] = hold
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trunkline_gateway",
        env=environment
        | {
            "TRUNKLINE_PORT": str(port),
            "TRUNKLINE_METRICS_PORT": "0",
            "TRUNKLINE_FEATURES": backend.target,
            "TRUNKLINE_REGISTRY": backend.target,
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with open_channel(
            f"127.0.0.1:{port}", initial_reconnect_backoff_ms=50, max_reconnect_backoff_ms=100
        ) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            await eventually(lambda: health.Check(health_pb2.HealthCheckRequest()))
            reads: Any = method(channel, FEATURES, "GetOnlineFeatures")
            upload: Any = method(channel, REGISTRY, "UploadArtifact")
            calls = [asyncio.ensure_future(_answer(reads(b"", timeout=10))) for _ in range(CALLS)]
            calls += [asyncio.ensure_future(_answer(upload([b"part"], timeout=10)))]
            await until(lambda: waiting == CALLS + 1)
            process.send_signal(signal.SIGTERM)
            await _refused(port)
            assert not any(call.done() for call in calls)
            let_go.set()
            async with asyncio.timeout(BOUND_S):
                await asyncio.gather(*calls)
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _answer(call: Any) -> None:
    await call


async def _refused(port: int) -> None:
    """Returns when the port takes no connection any more."""
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            except ConnectionResetError:  # it arrived while the port was being closed
                await tick()
                continue
            writer.close()
            await tick()
