"""Sending on a stream that its server may end at any time."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc.aio

_STATUS_S: Final = 0.5
"""How long a message that could not be sent waits for the status that says why. It comes at once, except where answers
before it wait to be read by the task that sends."""


class Sender:
    """grpc.aio's core call, except that a message which comes too late does not replace the server's status.

    A stream that ended fails what is sent on it meanwhile with an internal error, which grpc.aio then takes for the
    call's status: its caller would never learn why the server ended it, and it would count against the server.

    Args:
        core: the core call.
    """

    __slots__ = ("_core",)

    def __init__(self, core: Any) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    async def send_serialized_message(self, message: bytes) -> None:
        """Sends a message. Returns without it when the server has ended the call: its status says why.

        Raises:
            InternalError: it cannot be sent, and no status says why.
        """
        try:
            await self._core.send_serialized_message(message)
        except grpc.aio.InternalError as error:
            try:
                async with asyncio.timeout(_STATUS_S):
                    await self._core.status()
            except TimeoutError:
                raise error from None


def learns_why(call: Any) -> Any:
    """A call of grpc.aio that streams what it sends, and learns why its server ended it."""
    call._cython_call = Sender(call._cython_call)  # noqa: SLF001 - there is no public place to do it
    return call
