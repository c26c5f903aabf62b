"""HTTP to a server that may send anything, and so much of it as it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import httpx

from trunkline_translate.engine import EngineFailed

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of one answer. The longest translation comes in some hundred kilobytes of events."""


class BoundedTransport(httpx.AsyncHTTPTransport):
    """Reads at most so much of an answer.

    What reads events keeps a line until its end comes: a server that never sends one would fill the memory.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Bounded(response.stream)
        return response


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for part in self._stream:
            left -= len(part)
            if left < 0:
                raise EngineFailed("the server sent more than an answer can have")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
