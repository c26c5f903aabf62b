"""The calls of a server between their beginning and their last word, so that a drain knows when it is over."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio


class InFlight:
    """Calls that reached a handler and whose status is not on its way yet."""

    def __init__(self) -> None:
        self._begun = 0
        self._ended = 0
        self._quiet: asyncio.Future[None] | None = None

    def begin(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Counts a call until the transport has its status, which is after its handler returned."""
        self._begun += 1
        context.add_done_callback(self._end)  # type: ignore[arg-type] # its stub asks for a class

    async def quiet(self, settle_s: float) -> None:
        """Returns once no call was in flight for `settle_s` seconds, one that came and went included."""
        while True:
            if self._begun != self._ended:
                self._quiet = asyncio.get_running_loop().create_future()
                await self._quiet
            before = self._begun
            await asyncio.sleep(settle_s)
            if before == self._begun == self._ended:
                return

    def _end(self, _: object) -> None:
        self._ended += 1
        if self._begun == self._ended and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)
