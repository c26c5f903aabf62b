"""An HTTP server for tests that speaks OpenAI's chat interface: real connections, and answers as a test tells it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import h11

Handler = Callable[["Reply"], Awaitable[None]]


class Reply:
    """One request, and what is answered to it."""

    def __init__(
        self, request: h11.Request, body: bytes, connection: h11.Connection, out: asyncio.StreamWriter
    ):
        self.method = request.method.decode()
        self.path = request.target.decode()
        self.headers = {name.decode(): value.decode() for name, value in request.headers}
        self.body: dict[str, Any] = json.loads(body) if body else {}
        self._connection = connection
        self._out = out

    async def start(self, status: int = 200, kind: str = "text/event-stream; charset=utf-8") -> None:
        await self._send(h11.Response(status_code=status, headers=[("content-type", kind)]))

    async def raw(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def event(self, value: object) -> None:
        await self.raw(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode())

    async def delta(self, text: str | None, finish: str | None = None) -> None:
        choice = {"index": 0, "delta": {"content": text} if text is not None else {}, "finish_reason": finish}
        await self.event({"object": "chat.completion.chunk", "choices": [choice]})

    async def usage(self, prompt: int, completion: int) -> None:
        await self.event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def json(self, status: int, value: object) -> None:
        await self.start(status, "application/json")
        await self.raw(json.dumps(value).encode())
        await self.end()

    def drop(self) -> None:
        """The connection breaks off without a word."""
        self._out.transport.abort()

    async def _send(self, event: h11.Event) -> None:
        self._out.write(self._connection.send(event) or b"")
        await self._out.drain()


class OpenAi:
    """A server. Its parts may be changed while it serves."""

    def __init__(self, chat: Handler, *models: str, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.chat = chat
        self.cards: list[dict[str, Any]] = [
            {"id": model, "object": "model", "owned_by": "vllm"} for model in models or ("translator",)
        ]
        self.listed: object = {"object": "list", "data": self.cards}
        self.key = ""
        self.asked: list[Reply] = []
        self.connections = 0
        self.live = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> OpenAi:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """On the port it had before, or a free one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """At once: what it is in the middle of breaks off."""
        if self._server is None:
            return
        self._server.close()
        for task, out in self._open.items():
            task.cancel()
            out.transport.abort()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, into: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open[task] = out
        self.connections += 1
        try:
            await self._converse(into, out)
        except (ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            # The client went, or the server stops.
            return
        finally:
            del self._open[task]
            out.close()

    async def _converse(self, into: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request: h11.Request | None = None
            body = b""
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await into.read(65536))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return
            assert request
            await self._answer(Reply(request, body, connection, out), into)
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _answer(self, reply: Reply, into: asyncio.StreamReader) -> None:
        """Until it is answered, or the client is gone."""
        answer = asyncio.ensure_future(self._route(reply))
        gone = asyncio.ensure_future(into.read(1))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await answer
        finally:
            for task in (answer, gone):
                task.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def _route(self, reply: Reply) -> None:
        self.live += 1
        self.idle.clear()
        try:
            if self.key and reply.headers.get("authorization") != f"Bearer {self.key}":
                await reply.json(401, {"error": "Unauthorized"})
            elif reply.path == "/v1/models":
                await reply.json(200, self.listed)
            elif reply.path == "/v1/chat/completions":
                self.asked.append(reply)
                await self.chat(reply)
            else:
                await reply.json(404, {"detail": "Not Found"})
        finally:
            self.live -= 1
            if not self.live:
                self.idle.set()


async def spoken(reply: Reply, *words: str) -> None:
    """An answer as vLLM streams it."""
    await reply.start()
    await reply.delta("")
    for word in words:
        await reply.delta(word)
    await reply.delta("", "stop")
    await reply.usage(11, len(words))
    await reply.event("[DONE]")
    await reply.end()
