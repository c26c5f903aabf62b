"""Passing a call on to the replica that holds the lease, as it came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Self, TypeVar

from google.protobuf.message import Message

from trunkline.retrieval.v1.retrieval_pb2_grpc import VectorServiceStub
from trunkline_hop.call import Call
from trunkline_hop.channel import Channel
from trunkline_hop.errors import Unavailable
from trunkline_retrieval.writer import Elsewhere

PASSED_ON = "x-trunkline-passed-on"
"""Marks a call that a replica passed on, so that it is passed on once."""
_PAUSE_S = 0.03
_PATIENCE_S = 3.0
"""A lease changes hands within this, or something is wrong that waiting does not mend."""
_MARGIN_S = 0.05
_NOBODY_ANSWERED = frozenset({"UNREACHABLE", "BREAKER_OPEN", "DRAINING"})

ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(slots=True)
class Peers:
    """Channels to the other replicas, by address.

    Args:
        connect: opens one.
    """

    connect: Callable[[str], Channel]
    _channels: dict[str, Channel] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self._channels.values():
            await channel.close()

    async def on_writer(
        self, name: str, request: Message, call: Call, here: Callable[[], Awaitable[ResponseT]]
    ) -> ResponseT:
        """Does what a call asks of an index here, or where the lease is: its answer, or its fault.

        Args:
            name: of the index.
            request: to be passed on.
            call: which brought it.
            here: raises Elsewhere when this replica is not the one that writes.

        Raises:
            Unavailable: NOT_WRITER, the lease changed hands for too long.
            Fault: whatever the other replica says.
        """
        patience = monotonic() + min(_PATIENCE_S, (call.remaining() or _PATIENCE_S) - _MARGIN_S)
        while True:
            try:
                return await here()
            except Elsewhere as elsewhere:
                address, fault = elsewhere.address, elsewhere.fault(name)
            if PASSED_ON in call.metadata:
                raise fault
            if address:
                try:
                    response: ResponseT = await self._method(address, call)(
                        request, metadata=((PASSED_ON, "1"),)
                    )
                except Unavailable as unavailable:
                    fault = unavailable
                    repeatable = call.method.idempotent or bool(getattr(request, "request_id", ""))
                    if fault.reason != "NOT_WRITER" and not (repeatable and fault.reason in _NOBODY_ANSWERED):
                        raise
                else:
                    return response
            if monotonic() + _PAUSE_S > patience:
                raise fault
            await asyncio.sleep(_PAUSE_S)

    def _method(self, address: str, call: Call) -> Any:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = self.connect(address)
        return getattr(VectorServiceStub(channel), call.method.name)
