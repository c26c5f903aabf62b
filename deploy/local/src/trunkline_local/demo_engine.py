"""The demo's translation engine: a model directory behind OpenAI's chat interface, in a process that can be killed.

    python -m trunkline_local.demo_engine --model models/phrase-translator/artifact --port 8000 --pause-ms 150

It has what a client of vLLM uses: `GET /v1/models` and `POST /v1/chat/completions`, streamed as server-sent events or
whole. It is no server for work: one sentence at a time, and slower than it has to be. Use vLLM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import h11

from trunkline_local.demo_model import Ended, Message, Model, TooLong

HOST = "127.0.0.1"
BODY_BYTES = 1024 * 1024
READ_BYTES = 64 * 1024
MODELS, CHAT = "/v1/models", "/v1/chat/completions"


class Answers(Protocol):
    """What is behind the interface; `demo_model.Model` is one."""

    limit: int

    def answer(
        self, messages: Sequence[Message], max_tokens: int | None = None
    ) -> AsyncGenerator[str | Ended, None]: ...


class _Refused(Exception):
    """A request that is answered with an error's status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Connection:
    """One connection: one request after the other."""

    def __init__(
        self, model: Answers, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._model = model
        self._name = name
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        """Until the client goes."""
        try:
            while True:
                request, body = await self._request()
                if request is None:
                    return
                try:
                    await self._respond(request, body)
                except _Refused as refused:
                    error = {"message": str(refused), "type": "invalid_request_error"}
                    await self._whole(refused.status, {"error": error})
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
        except (ConnectionError, h11.RemoteProtocolError):
            return  # it is gone, or speaks something else
        finally:
            self._writer.close()
            with suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _request(self) -> tuple[h11.Request | None, bytes]:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            match self._http.next_event():
                case h11.NEED_DATA:
                    self._http.receive_data(await self._reader.read(READ_BYTES))
                case h11.Request() as request:
                    pass
                case h11.Data(data=data):
                    body += data
                    if len(body) > BODY_BYTES:
                        raise h11.RemoteProtocolError("too large")
                case h11.EndOfMessage():
                    return request, bytes(body)
                case _:
                    return None, b""

    async def _respond(self, request: h11.Request, body: bytes) -> None:
        match request.method, request.target.partition(b"?")[0].decode("ascii"):
            case b"GET", path if path == MODELS:
                card = {"id": self._name, "object": "model", "owned_by": "trunkline"}
                listed = [card | {"max_model_len": self._model.limit}]
                await self._whole(200, {"object": "list", "data": listed})
            case b"POST", path if path == CHAT:
                await self._chat(_given(body))
            case _, path if path in (MODELS, CHAT):
                raise _Refused(405, f"{path} is not for {request.method.decode()}")
            case _, path:
                raise _Refused(404, f"there is no {path}")

    async def _chat(self, given: Mapping[str, Any]) -> None:
        if given.get("model", self._name) != self._name:
            raise _Refused(404, f"The model `{given['model']}` does not exist.")
        pieces = self._model.answer(
            given["messages"], given.get("max_completion_tokens", given.get("max_tokens"))
        )
        answering = asyncio.create_task(self._answer(given, pieces))
        # Whoever goes away stops the model.
        leaving = asyncio.create_task(self._reader.read(READ_BYTES))
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            self._http.receive_data(leaving.result())
            if not leaving.result():
                answering.cancel()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        try:
            await answering
        except asyncio.CancelledError:
            if not leaving.done() or leaving.cancelled():
                raise
            raise ConnectionResetError from None
        except TooLong as error:
            raise _Refused(400, str(error)) from error

    async def _answer(self, given: Mapping[str, Any], pieces: AsyncGenerator[str | Ended, None]) -> None:
        about = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": self._name}
        async with aclosing(pieces):
            first = await anext(pieces)  # before anything is sent: it may be refused
            if given.get("stream"):
                await self._stream(given, about, first, pieces)
                return
            text = ""
            async for piece in _after(first, pieces):
                if isinstance(piece, Ended):
                    message = {"role": "assistant", "content": text}
                    choice = {"index": 0, "message": message, "finish_reason": _reason(piece)}
                    kind = {"object": "chat.completion"}
                    await self._whole(200, about | kind | {"choices": [choice], "usage": _usage(piece)})
                else:
                    text += piece

    async def _stream(
        self,
        given: Mapping[str, Any],
        about: Mapping[str, Any],
        first: str | Ended,
        pieces: AsyncIterator[str | Ended],
    ) -> None:
        self._send(
            h11.Response(status_code=200, headers=[("Content-Type", "text/event-stream; charset=utf-8")])
        )
        kind = {**about, "object": "chat.completion.chunk"}

        async def chunk(delta: Mapping[str, str], reason: str | None = None) -> None:
            await self._event(kind | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

        await chunk({"role": "assistant", "content": ""})
        async for piece in _after(first, pieces):
            if isinstance(piece, str):
                await chunk({"content": piece})
                continue
            await chunk({}, _reason(piece))
            if (given.get("stream_options") or {}).get("include_usage"):
                await self._event(kind | {"choices": [], "usage": _usage(piece)})
        self._send(h11.Data(data=b"data: [DONE]\n\n"))
        self._send(h11.EndOfMessage())
        await self._writer.drain()

    async def _event(self, value: Mapping[str, Any]) -> None:
        self._send(h11.Data(data=b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"))
        await self._writer.drain()

    async def _whole(self, status: int, value: Mapping[str, Any]) -> None:
        body = json.dumps(value, ensure_ascii=False).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        self._send(h11.Response(status_code=status, headers=headers))
        self._send(h11.Data(data=body))
        self._send(h11.EndOfMessage())
        await self._writer.drain()

    def _send(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")


def _given(body: bytes) -> Mapping[str, Any]:
    """What a chat request asks for.

    Raises:
        _Refused: it asks for nothing, or for what there is not.
    """
    try:
        given = json.loads(body)
        messages = [(message["role"], message["content"]) for message in given["messages"]]
    except (ValueError, TypeError, KeyError):
        raise _Refused(400, "expected a JSON object with messages of role and content") from None
    if not messages or not all(isinstance(text, str) for message in messages for text in message):
        raise _Refused(400, "messages: expected one or more, of texts")
    most = given.get("max_completion_tokens", given.get("max_tokens", 1))
    if not isinstance(most, int) or most < 1:
        raise _Refused(400, "max_tokens: expected a number from 1")
    if given.get("temperature", 0) != 0 or given.get("n", 1) != 1:
        raise _Refused(400, "temperature must be 0 and n 1: answers are the likeliest one")
    return dict(given)


async def _after(first: str | Ended, rest: AsyncIterator[str | Ended]) -> AsyncIterator[str | Ended]:
    yield first
    async for piece in rest:
        yield piece


def _reason(ended: Ended) -> str:
    return "stop" if ended.complete else "length"


def _usage(ended: Ended) -> dict[str, int]:
    return {
        "prompt_tokens": ended.prompt_tokens,
        "completion_tokens": ended.completion_tokens,
        "total_tokens": ended.prompt_tokens + ended.completion_tokens,
    }


@asynccontextmanager
async def serving(model: Answers, name: str, port: int = 0) -> AsyncIterator[int]:
    """The interface on loopback, until the block ends; its port.

    Raises:
        OSError: the port is taken.
    """
    connections: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            connections.add(task)
            task.add_done_callback(connections.discard)
        await _Connection(model, name, reader, writer).serve()

    server = await asyncio.start_server(accepted, HOST, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _run(directory: Path, name: str, port: int, pause_s: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    model = await asyncio.to_thread(partial(Model, directory, pause_s))
    async with serving(model, name, port) as bound:
        print(f"serving {name} at http://{HOST}:{bound}/v1", flush=True)
        await stop.wait()
    model.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser("python -m trunkline_local.demo_engine", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="an OpenVINO export")
    parser.add_argument("--name", default="phrase-translator", help="of the model (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0: a free one (%(default)s)")
    parser.add_argument("--pause-ms", type=float, default=0.0, help="after every token (%(default)s)")
    given = parser.parse_args(arguments)
    asyncio.run(_run(given.model, given.name, given.port, given.pause_ms / 1000))


if __name__ == "__main__":
    main()
