"""What tests across services wait for and look at. Nothing here asserts about time: bounds only end a wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

BOUND_S = 30.0
"""How long a test waits for a condition before it is a failure."""
DETAILS_KEY = "grpc-status-details-bin"

T = TypeVar("T")


async def tick(seconds: float = 0.01) -> None:
    """Lets a little time pass in the loop, between two looks at a condition."""
    try:
        await asyncio.wait_for(asyncio.get_running_loop().create_future(), seconds)
    except TimeoutError:
        return


async def until(condition: Callable[[], Any], bound_s: float = BOUND_S) -> Any:
    """Waits for a condition to become true; returns what it was."""
    async with asyncio.timeout(bound_s):
        while not (found := condition()):
            await tick()
        return found


async def eventually(attempt: Callable[[], Awaitable[T]], bound_s: float = BOUND_S) -> T:
    """Tries until an attempt raises no RPC error; returns its result."""
    async with asyncio.timeout(bound_s):
        while True:
            try:
                return await attempt()
            except grpc.aio.AioRpcError:
                await tick()


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(BOUND_S):
            await whole(call)
    return caught.value


async def whole(call: Any) -> Any:
    """The answer of a call, or all of its answers."""
    if hasattr(call, "__aiter__"):
        return [message async for message in call]
    return await call


class Details:
    """What a status carries: `details.ErrorInfo`, `details.RetryInfo` and so on; None for one that is not there."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.trailers = dict(error.trailing_metadata() or ())
        self.raw: bytes | None = self.trailers.get(DETAILS_KEY)
        self.status = status_pb2.Status.FromString(self.raw or b"")

    @property
    def reason(self) -> str:
        """Of the catalogue; empty when no hop of the suite answered."""
        info = self.ErrorInfo
        return str(info.reason) if info is not None and info.domain == "trunkline" else ""

    @property
    def violations(self) -> dict[str, str]:
        """What was expected, by field."""
        found = self.BadRequest
        return {one.field: one.description for one in found.field_violations} if found is not None else {}

    def __getattr__(self, name: str) -> Any:
        for packed in self.status.details:
            if packed.type_url.endswith("." + name):
                found = getattr(error_details_pb2, name)()
                packed.Unpack(found)
                return found
        return None


def open_channel(target: str, **options: Any) -> grpc.aio.Channel:
    """A plain channel with a connection of its own, as an outside client has one."""
    given = [(f"grpc.{name}", value) for name, value in options.items()]
    return grpc.aio.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1), *given])
