"""Translation by a model on a Triton inference server, over gRPC.

One stream of the server is one sentence: cancelling the call is what stops Triton's work on it, and Triton cannot
cancel one request of a stream that carries several. They share one connection.

The stubs are tritonclient's. Its own asyncio client is not used: it cannot ask for an empty final response, without
which a model that ends so cannot be told from one that broke off.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Collection
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc
import grpc.aio
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from trunkline_translate import engine
from trunkline_translate.answer_length import most_tokens
from trunkline_translate.chat_template import ChatTemplate, TemplateFailed
from trunkline_translate.engine import (
    Ask,
    Delta,
    Done,
    EngineFailed,
    FinishReason,
    Identity,
    Priority,
    SentenceTooLong,
)
from trunkline_translate.engine_names import model_version
from trunkline_translate.language import Direction
from trunkline_translate.overflow import too_long
from trunkline_translate.prompts import Prompt
from trunkline_translate.triton_model import Garbage, Mismatch, Piece, TritonModel

_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    # The better engine is to be back soon after its server is.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Of a connection whose other end is gone without a word. Only while something is asked: Triton takes pings of an
    # idle client for an attack.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
)
_PROBE_S: Final = 5.0
_PRIORITIES: Final = {Priority.INTERACTIVE: 1, Priority.DEFAULT: 2, Priority.BATCH: 2}
"""Of a model with two levels; 1 goes first."""
_FULL: Final = re.compile(r"maximum queue size|request timeout expired|too many requests", re.IGNORECASE)
_RESTRICTED: Final = "protocol is restricted"
_PATIENT: Final = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)
"""Codes that say nothing about the server's health."""
_NO_CONFIG: Final = (
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
)


class TritonEngine:
    """Translates with one model of a Triton server. Made in a running event loop, and closed as a context manager.

    Args:
        target: `host:port` of its gRPC endpoint.
        model: its name there.
        directions: what it translates; a server does not say.
        prompt: how it wants to be asked.
        template: of its chat.
        ca: certificate, PEM, that the server's is signed by; None for a connection in plain text.

    Raises:
        OSError: the certificate cannot be read.
    """

    name = "triton"
    takes_context = True

    def __init__(
        self,
        target: str,
        model: str,
        directions: Collection[Direction],
        prompt: Prompt,
        template: ChatTemplate,
        *,
        ca: Path | None = None,
    ) -> None:
        self.directions = frozenset(directions)
        self.error = f"the Triton server at {target} was not asked yet"
        self._target = target
        self._name = model
        self._prompt = prompt
        self._template = template
        self._channel = (
            grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca.read_bytes()), options=_OPTIONS)
            if ca
            else grpc.aio.insecure_channel(target, options=_OPTIONS)
        )
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._model: TritonModel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    def identity(self, model: str = "") -> Identity:
        known = self._model
        return self._identity(known.version, known.device) if known else self._identity("", "")

    def _identity(self, version: str, device: str) -> Identity:
        named = (self._name, version) if version else (self._name,)
        return Identity(engine=self.name, model_version=model_version(self.name, *named), device=device)

    async def probe(self) -> None:
        await self._probe()

    async def _probe(self) -> TritonModel:
        try:
            await self._ready()
            known = self._model = self._model or await self._learn()
        except EngineFailed as failed:
            self._model = None  # what comes back may be another one
            self.error = failed.why
            raise
        self.error = ""
        return known

    async def translate(self, ask: Ask, model: str = "") -> AsyncGenerator[engine.Piece, None]:
        known = self._model or await self._probe()
        try:
            prompt = self._template.render(self._prompt.messages(ask))
        except TemplateFailed as failed:
            raise EngineFailed("its chat template does not take the conversation", counts=False) from failed
        most = most_tokens(ask)
        left = ask.due - asyncio.get_running_loop().time()
        if left <= 0:
            raise EngineFailed("no time is left to ask it", counts=False)
        timeout_s = left if left < float("inf") else None
        sampling = {
            "temperature": 0.0,
            "max_tokens": most,
            # The marks that stand for phrases are tokens of their own.
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
        }
        request = known.request(prompt, sampling, priority=_PRIORITIES[ask.priority], timeout_s=timeout_s)
        pieces = self._answer(known, request, prompt, timeout_s)
        answer = self._prompt.answer()
        reason, prompt_tokens, completion_tokens = "", 0, 0
        version = known.version
        try:
            async for piece in pieces:
                version = piece.version or version
                reason = piece.finish_reason or reason
                prompt_tokens = piece.prompt_tokens or prompt_tokens
                completion_tokens += piece.completion_tokens
                if piece.text and (text := answer.feed(piece.text)):
                    yield Delta(text)
                if answer.ended:
                    reason = "stop"
                    break
        except EngineFailed as failed:
            if failed.counts and self._model is known:
                self._model = None  # it may have been replaced by one that is asked otherwise
            raise
        finally:
            await pieces.aclose()
        if text := answer.end():
            yield Delta(text)
        cut = reason == "length" or (not reason and completion_tokens >= most)
        yield Done(
            FinishReason.LENGTH if cut else FinishReason.STOP,
            prompt_tokens,
            completion_tokens,
            made_by=self._identity(version, known.device),
        )

    async def _answer(
        self,
        model: TritonModel,
        request: service_pb2.ModelInferRequest,
        prompt: str,
        timeout_s: float | None,
    ) -> AsyncGenerator[Piece, None]:
        """What the server answers, to its end. Closing it cancels the request there."""
        call = (
            self._stub.ModelInfer(request, timeout=timeout_s)
            if model.unary
            else self._stub.ModelStreamInfer(timeout=timeout_s)
        )
        try:
            if model.unary:
                yield model.read(await call, prompt)
                return
            await call.write(request)
            await call.done_writing()
            piece, flagged = None, False
            async for response in call:
                if response.error_message:
                    raise _refused(response.error_message)
                piece = model.read(response.infer_response, prompt)
                yield piece
                if piece.final:
                    return
                flagged = flagged or piece.final is not None
            if piece is None or flagged:
                raise EngineFailed("Triton ended an answer before it was complete")
        except Garbage as garbage:
            raise EngineFailed(f"Triton sent {garbage}") from None
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from None
        finally:
            call.cancel()

    async def _ready(self) -> None:
        """Asks whether the server has the model and serves it."""
        try:
            answer = await self._stub.ModelReady(
                service_pb2.ModelReadyRequest(name=self._name), timeout=_PROBE_S
            )
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from None
        if not answer.ready:
            raise EngineFailed(f"Triton at {self._target} does not serve {self._name!r} now: see its log")

    async def _learn(self) -> TritonModel:
        """Asks what tensors the model has."""
        try:
            metadata = await self._stub.ModelMetadata(
                service_pb2.ModelMetadataRequest(name=self._name), timeout=_PROBE_S
            )
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from None
        try:
            return TritonModel.of(metadata, await self._config())
        except Mismatch as mismatch:
            raise EngineFailed(
                f"{self._name!r} on Triton is no model of the vLLM backend's interface: {mismatch}"
            ) from None

    async def _config(self) -> model_config_pb2.ModelConfig | None:
        """The model's configuration; None where it is not shown."""
        try:
            answer = await self._stub.ModelConfig(
                service_pb2.ModelConfigRequest(name=self._name), timeout=_PROBE_S
            )
        except grpc.aio.AioRpcError as error:
            if error.code() in _NO_CONFIG or _RESTRICTED in (error.details() or ""):
                return None
            raise self._failed(error) from None
        config: model_config_pb2.ModelConfig = answer.config
        return config

    def _failed(self, error: grpc.aio.AioRpcError) -> EngineFailed | SentenceTooLong:
        """What a status of the server, or of the connection to it, means.

        Its text may quote the prompt: it stays here.
        """
        code = error.code()
        details = error.details() or ""
        if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
            return _refused(details, code.name)
        if code is grpc.StatusCode.NOT_FOUND or "unknown model" in details:
            return EngineFailed(
                f"Triton at {self._target} has no model {self._name!r}: load it, or set its name"
            )
        if _RESTRICTED in details:
            return EngineFailed(
                f"Triton at {self._target} does not let clients in: see its restricted endpoints"
            )
        if code is grpc.StatusCode.UNAVAILABLE:
            if _FULL.search(details):
                return EngineFailed("Triton is full", counts=False)
            return EngineFailed(f"Triton at {self._target} cannot be reached: is it running?")
        return EngineFailed(f"Triton answered {code.name}", counts=code not in _PATIENT)


def _refused(message: str, code: str = "") -> EngineFailed | SentenceTooLong:
    """What an error in words means."""
    if longer := too_long(message):
        return longer
    if _FULL.search(message):
        return EngineFailed("Triton is full", counts=False)
    return EngineFailed(f"Triton refused a request{f' as {code}' if code else ''}: see its log")
