"""Translation by a server that speaks OpenAI's chat interface over HTTP: vLLM, Ollama, llama.cpp and others.

Source: https://platform.openai.com/docs/api-reference/chat, and vLLM's additions to it
(vllm/entrypoints/openai/chat_completion/protocol.py, 0.33).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
from httpx_sse import EventSource, SSEError

from trunkline_translate import engine
from trunkline_translate.answer_length import likely_tokens, most_tokens
from trunkline_translate.engine import Ask, Delta, Done, EngineFailed, FinishReason, Identity
from trunkline_translate.engine_names import model_version
from trunkline_translate.language import Direction
from trunkline_translate.openai_chunk import Chunk, Garbage, read
from trunkline_translate.openai_transport import BoundedTransport
from trunkline_translate.overflow import too_long
from trunkline_translate.prompts import Prompt, Style

_CONNECT_S: Final = 2.0
_PROBE_S: Final = 5.0
_TAIL_S: Final = 0.5
"""Longest wait for what follows the last text: the counts of tokens, and the end."""
_ERROR_BYTES: Final = 64 * 1024
"""Read at most of an error's text."""


class OpenAiEngine:
    """Translates with one model of a server. Closed as a context manager.

    Args:
        url: base address of the interface, such as `http://127.0.0.1:8000/v1`.
        directions: what the model translates; a server does not say.
        prompt: how it wants to be asked.
        model: its name there; empty for the only one that the server has.
        api_key: for the server; empty for none.
        connections: to the server at once; more sentences wait.
        ca: certificate, PEM, that the one of an `https` server is signed by; None for the well-known ones.

    Raises:
        OSError: the certificate cannot be read.
    """

    name = "vllm"
    takes_context = True

    def __init__(
        self,
        url: str,
        directions: Collection[Direction],
        prompt: Prompt,
        *,
        model: str = "",
        api_key: str = "",
        connections: int = 256,
        ca: Path | None = None,
    ) -> None:
        self.directions = frozenset(directions)
        self._server = urlsplit(url).netloc.rpartition("@")[2]  # a password of the address is not for errors
        self.error = f"the server at {self._server} was not asked yet"
        self._prompt = prompt
        self._wanted = model
        self._model = ""
        self._limit: int | None = None
        self._is_vllm = False
        self._priorities = True
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(_PROBE_S, connect=_CONNECT_S),
            transport=BoundedTransport(
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
                verify=ssl.create_default_context(cafile=ca) if ca else True,
                trust_env=False,
            ),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    def identity(self, model: str = "") -> Identity:
        served = self._model or self._wanted or "unknown"
        return Identity(engine=self.name, model_version=model_version(self.name, served))

    async def probe(self) -> None:
        try:
            await self._learn()
        except EngineFailed as failed:
            # What comes back may be another one, and schedule otherwise.
            self._model, self._priorities = "", True
            self.error = failed.why
            raise
        self.error = ""

    async def translate(self, ask: Ask, model: str = "") -> AsyncGenerator[engine.Piece, None]:
        if not self._model:
            await self.probe()
        # Fixed now: a probe may find another one meanwhile, or none.
        served, made_by = self._model, self.identity()
        messages = self._prompt.messages(ask)
        most = most_tokens(ask, self._limit)
        while True:
            body = self._body(served, ask, messages, most)
            left = ask.due - asyncio.get_running_loop().time()
            if left <= 0:
                raise EngineFailed("no time is left to ask it", counts=False)
            request = self._client.build_request(
                "POST",
                "chat/completions",
                json=body,
                headers={"Accept": "text/event-stream"},
                timeout=_timeout(left),
            )
            response = await self._send(request)
            try:
                if response.status_code == 200:
                    async for piece in self._pieces(response, made_by, ask.due):
                        yield piece
                    return
                refusal = await _text(response)
            finally:
                await response.aclose()
            if response.status_code == 400 and "priority" in refusal and "priority" in body:
                # vLLM takes a priority only where it schedules by it, and says so only then.
                self._priorities = False
                continue
            longer = too_long(refusal) if response.status_code in (400, 413, 422) else None
            if longer and most > likely_tokens(ask):
                # It is prompt and answer together that do not fit: an answer need not be that long.
                most = likely_tokens(ask)
                continue
            raise longer or self._refused(response.status_code)

    def _body(self, served: str, ask: Ask, messages: list[dict[str, str]], most: int) -> dict[str, object]:
        body: dict[str, object] = {
            "model": served,
            "messages": messages,
            "temperature": 0,
            "max_tokens": most,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._is_vllm:
            if self._priorities:
                body["priority"] = ask.priority.value
            if self._prompt.style is Style.CODES:
                # The marks that stand for phrases are tokens of their own.
                body |= {"skip_special_tokens": False, "spaces_between_special_tokens": False}
        return body

    async def _pieces(
        self, response: httpx.Response, made_by: Identity, due: float
    ) -> AsyncGenerator[engine.Piece, None]:
        """The answer of a server that began one."""
        answer = self._prompt.answer()
        chunks = self._chunks(response)
        reason, last = "", Chunk()
        try:
            async for chunk in chunks:
                if chunk.text and (text := answer.feed(chunk.text)):
                    yield Delta(text)
                reason = "stop" if answer.ended else chunk.finish_reason
                last = chunk
                if reason:
                    break
            if not reason:
                raise EngineFailed("the server ended an answer before it was complete")
            if reason not in ("stop", "length"):
                raise EngineFailed("the server gave an answer up")
            if text := answer.end():
                yield Delta(text)
            last = await _tail(chunks, last, due)
        finally:
            await chunks.aclose()
        finish = FinishReason.LENGTH if reason == "length" else FinishReason.STOP
        yield Done(finish, last.prompt_tokens, last.completion_tokens, made_by=made_by)

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[Chunk, None]:
        """What the server sends, up to its end."""
        events = EventSource(response).aiter_sse()
        try:
            async for event in events:
                if event.data == "[DONE]":
                    # To its end: a connection with something left in it is not used again.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_TAIL_S):
                            async for _ in events:
                                pass
                    return
                if event.data:
                    # Others only set the time to wait before a new connection, or keep this one alive.
                    yield read(event.data)
        except SSEError:
            raise EngineFailed("the server sent no event stream") from None
        except Garbage as garbage:
            raise EngineFailed(f"the server sent {garbage}") from None
        except (httpx.HTTPError, UnicodeDecodeError) as error:
            raise self._unreached(error) from None
        finally:
            await events.aclose()

    async def _learn(self) -> None:
        """Which model the server has."""
        try:
            response = await self._client.get("models")
        except httpx.HTTPError as error:
            raise self._unreached(error) from None
        if response.status_code != 200:
            raise self._refused(response.status_code)
        try:
            models = _models(response.json())
        except (ValueError, TypeError, KeyError):
            raise EngineFailed(f"what answers at {self._server} is no OpenAI-compatible server") from None
        served = self._wanted
        if served and served not in models and f"{served}:latest" in models:
            served = f"{served}:latest"  # as Ollama spells it
        if served and served not in models:
            raise EngineFailed(
                f"the server at {self._server} has no model {served!r}: load it, or set its name"
            )
        if not served and len(models) != 1:
            raise EngineFailed(f"the server at {self._server} has {len(models)} models: set the name of one")
        self._model = served or next(iter(models))
        card = models[self._model]
        self._is_vllm = card.get("owned_by") == "vllm"
        limit = card.get("max_model_len")
        self._limit = limit if isinstance(limit, int) and limit > 0 else None

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._unreached(error) from None

    def _unreached(self, error: Exception) -> EngineFailed:
        match error:
            case httpx.PoolTimeout():
                return EngineFailed("all connections to the server are taken", counts=False)
            case httpx.ConnectError() | httpx.ConnectTimeout():
                return EngineFailed(f"the server at {self._server} cannot be reached: is it running?")
            case httpx.TimeoutException():
                # The sentence is due: how long one waits for a server is for others to say.
                return EngineFailed("the server did not go on in time", counts=False)
            case _:
                return EngineFailed("the connection to the server broke off")

    def _refused(self, status: int) -> EngineFailed:
        match status:
            case 401 | 403:
                return EngineFailed(f"the server at {self._server} refuses the key: set the right one")
            case 404:
                return EngineFailed(f"the server at {self._server} has no such model or interface")
            case 429:
                return EngineFailed("the server is full", counts=False)
            case 400 | 413 | 422:
                return EngineFailed(f"the server refused the sentence (HTTP {status})", counts=False)
            case _:
                return EngineFailed(f"the server at {self._server} fails (HTTP {status}): see its log")


def _timeout(left: float) -> httpx.Timeout:
    """Of a request that has so many seconds left."""
    if left == float("inf"):
        return httpx.Timeout(None, connect=_CONNECT_S)
    return httpx.Timeout(left, connect=min(left, _CONNECT_S))


async def _text(response: httpx.Response) -> str:
    """The beginning of an error's text. It may quote the prompt: it stays here."""
    read = bytearray()
    try:
        async for part in response.aiter_bytes():
            read += part
            if len(read) > _ERROR_BYTES:
                break
    except httpx.HTTPError:
        # The status says enough.
        return ""
    return read.decode(errors="replace")


async def _tail(chunks: AsyncGenerator[Chunk, None], last: Chunk, due: float) -> Chunk:
    """The counts, which come with the last text or after it. The answer is complete without them.

    Reads up to the end, so that the connection can be used again.
    """
    left = due - asyncio.get_running_loop().time()
    with suppress(TimeoutError, EngineFailed):
        # Less than anybody has patience who keeps half of the time for another engine.
        async with asyncio.timeout(min(_TAIL_S, left / 8)):
            async for chunk in chunks:
                if chunk.counted:
                    last = chunk
    return last


def _models(listed: Any) -> Mapping[str, Mapping[str, object]]:
    return {str(card["id"]): dict(card) for card in listed["data"]}
