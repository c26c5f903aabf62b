"""A Triton server for tests: a real gRPC server with its service, whose model says what a test tells it."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

Response = service_pb2.ModelStreamInferResponse
Script = Callable[["Triton", "Asked"], AsyncIterator[Response]]

INPUTS = {
    "text_input": "BYTES",
    "image": "BYTES",
    "stream": "BOOL",
    "sampling_parameters": "BYTES",
    "exclude_input_in_output": "BOOL",
    "return_finish_reason": "BOOL",
    "return_num_input_tokens": "BOOL",
    "return_num_output_tokens": "BOOL",
}
OUTPUTS = {
    "text_output": "BYTES",
    "finish_reason": "BYTES",
    "num_input_tokens": "UINT32",
    "num_output_tokens": "UINT32",
}
REQUIRED = ("text_input",)


class Asked:
    """A request, taken apart."""

    def __init__(self, request: service_pb2.ModelInferRequest) -> None:
        self.request = request
        self.shapes = {tensor.name: list(tensor.shape) for tensor in request.inputs}
        self.raw = {
            tensor.name: raw for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }

    @property
    def prompt(self) -> str:
        return _element(self.raw["text_input"])

    @property
    def sampling(self) -> dict[str, Any]:
        return dict(json.loads(_element(self.raw["sampling_parameters"])))


class Triton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """One model. Its parts may be changed while it serves."""

    def __init__(
        self,
        script: Script,
        *,
        model: str = "translator",
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._credentials = credentials
        self.script = script
        self.model = model
        self.version = "3"
        self.inputs = dict(INPUTS)
        self.outputs = dict(OUTPUTS)
        self.batches = False
        self.decoupled = True
        self.ready = True
        self.restricted: set[str] = set()
        self.asked: list[Asked] = []
        self.metadata_reads = 0
        self.live = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.port = 0
        self._server: grpc.aio.Server | None = None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Triton:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """On the port it had before, or a free one."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        place = f"127.0.0.1:{self.port}"
        self.port = (
            self._server.add_secure_port(place, self._credentials)
            if self._credentials
            else self._server.add_insecure_port(place)
        )
        await self._server.start()

    async def stop(self) -> None:
        """At once: what it is in the middle of breaks off."""
        if self._server:
            await self._server.stop(None)
            self._server = None

    async def ModelReady(self, request: Any, context: Any) -> service_pb2.ModelReadyResponse:
        await self._known("health", request, context)
        return service_pb2.ModelReadyResponse(ready=self.ready)

    async def ModelMetadata(self, request: Any, context: Any) -> service_pb2.ModelMetadataResponse:
        await self._known("metadata", request, context)
        self.metadata_reads += 1
        shape = [-1, 1] if self.batches else [1]
        return service_pb2.ModelMetadataResponse(
            name=self.model,
            versions=["1", self.version],
            inputs=[self._tensor(name, kind, shape) for name, kind in self.inputs.items()],
            outputs=[self._tensor(name, kind, [-1]) for name, kind in self.outputs.items()],
        )

    async def ModelConfig(self, request: Any, context: Any) -> service_pb2.ModelConfigResponse:
        await self._known("model-config", request, context)
        config = model_config_pb2.ModelConfig(name=self.model)
        config.model_transaction_policy.decoupled = self.decoupled
        config.instance_group.add(kind=model_config_pb2.ModelInstanceGroup.KIND_GPU)
        for name in self.inputs:
            config.input.add(name=name, optional=name in INPUTS and name not in REQUIRED)
        return service_pb2.ModelConfigResponse(config=config)

    async def ModelInfer(self, request: Any, context: Any) -> service_pb2.ModelInferResponse:
        if self.decoupled:
            await context.abort(
                grpc.StatusCode.UNIMPLEMENTED, "ModelInfer RPC doesn't support decoupled models"
            )
        async for response in self._run(request):
            if response.error_message:
                await context.abort(grpc.StatusCode.INTERNAL, response.error_message)
            return response.infer_response
        return service_pb2.ModelInferResponse()

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Response]:
        async for request in requests:
            async for response in self._run(request):
                yield response

    async def _run(self, request: service_pb2.ModelInferRequest) -> AsyncIterator[Response]:
        asked = Asked(request)
        self.asked.append(asked)
        self.live += 1
        self.idle.clear()
        try:
            async for response in self.script(self, asked):
                yield response
        finally:
            self.live -= 1
            if not self.live:
                self.idle.set()

    async def _known(self, protocol: str, request: Any, context: Any) -> None:
        if protocol in self.restricted:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE,
                f"This protocol is restricted, expecting header 'triton-grpc-protocol-{protocol}'",
            )
        if request.name != self.model:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found"
            )

    @staticmethod
    def _tensor(name: str, kind: str, shape: Sequence[int]) -> Any:
        return service_pb2.ModelMetadataResponse.TensorMetadata(name=name, datatype=kind, shape=shape)


def said(
    text: str | bytes | None = None,
    *,
    finish: str = "",
    prompt_tokens: int = 0,
    tokens: int = 0,
    final: bool | None = None,
) -> Response:
    """A response as the vLLM backend sends it: raw tensors; no tensors without a text."""
    response = Response()
    answer = response.infer_response
    if text is not None:
        encoded = text.encode() if isinstance(text, str) else text
        _add(answer, "text_output", "BYTES", struct.pack("<I", len(encoded)) + encoded)
        if finish:
            _add(answer, "finish_reason", "BYTES", struct.pack("<I", len(finish)) + finish.encode())
        if tokens:
            _add(answer, "num_input_tokens", "UINT32", struct.pack("<I", prompt_tokens))
            _add(answer, "num_output_tokens", "UINT32", struct.pack("<I", tokens))
    if final is not None:
        answer.parameters["triton_final_response"].bool_param = final
    return response


def refused(message: str) -> Response:
    """An error in the stream."""
    return Response(error_message=message)


def raw(name: str, kind: str, content: bytes) -> Response:
    """A response with one tensor, whatever is in it."""
    response = Response()
    _add(response.infer_response, name, kind, content)
    return response


def _add(answer: service_pb2.ModelInferResponse, name: str, kind: str, content: bytes) -> None:
    answer.outputs.add(name=name, datatype=kind, shape=[1])
    answer.raw_output_contents.append(content)


def _element(content: bytes) -> str:
    (length,) = struct.unpack_from("<I", content)
    return content[4 : 4 + length].decode()
