"""A model on Triton with the text interface of the vLLM backend: its tensors, requests to it, and its answers.

Source: src/model.py and src/utils/request.py of triton-inference-server/vllm_backend.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tritonclient.grpc import model_config_pb2, service_pb2

TEXT: Final = "text_input"
ANSWER: Final = "text_output"
_TYPES: Final = {
    TEXT: "BYTES",
    "stream": "BOOL",
    "sampling_parameters": "BYTES",
    "exclude_input_in_output": "BOOL",
    "return_finish_reason": "BOOL",
    "return_num_input_tokens": "BOOL",
    "return_num_output_tokens": "BOOL",
}
"""Inputs that are set where the model has them."""
_REQUIRED: Final = (TEXT, "sampling_parameters")
_ANSWERS: Final = {
    ANSWER: "BYTES",
    "finish_reason": "BYTES",
    "num_input_tokens": "UINT32",
    "num_output_tokens": "UINT32",
}
_DEVICES: Final = {
    model_config_pb2.ModelInstanceGroup.KIND_CPU: "CPU",
    model_config_pb2.ModelInstanceGroup.KIND_GPU: "GPU",
}


class Mismatch(Exception):
    """The model does not have the interface. The text names the tensor."""


class Garbage(Exception):
    """An answer that cannot be read."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one response says."""

    text: str = ""
    finish_reason: str = ""
    """`stop` or `length`, with the last text; empty where it is not told."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of this response."""
    final: bool | None = None
    """True when nothing follows; None when the server does not say."""
    version: str = ""
    """Of the model that answered; empty where it is not told."""


@dataclass(frozen=True, slots=True)
class TritonModel:
    """A model and how it is asked."""

    name: str
    version: str
    inputs: Mapping[str, int]
    """Dimensions of each input that is to be set."""
    unary: bool
    """It answers once, and takes no streams."""
    device: str = ""

    @classmethod
    def of(
        cls, metadata: service_pb2.ModelMetadataResponse, config: model_config_pb2.ModelConfig | None
    ) -> TritonModel:
        """What a server says of a model.

        Args:
            metadata: names, types and shapes of its tensors.
            config: None where the server does not show it; then a stream serves for any model.

        Raises:
            Mismatch: it cannot be asked for a translation.
        """
        inputs = {tensor.name: tensor for tensor in metadata.inputs}
        outputs = {tensor.name: tensor for tensor in metadata.outputs}
        for name in _REQUIRED:
            if name not in inputs:
                raise Mismatch(f"it has no input {name!r}")
        if ANSWER not in outputs:
            raise Mismatch(f"it has no output {ANSWER!r}")
        for expected, tensors in ((_TYPES, inputs), (_ANSWERS, outputs)):
            for name, datatype in expected.items():
                if name in tensors and tensors[name].datatype != datatype:
                    raise Mismatch(f"{name!r} is of {tensors[name].datatype}, not {datatype}")
        for tensor in config.input if config else ():
            if tensor.name not in _TYPES and not tensor.optional:
                raise Mismatch(f"it asks for an input {tensor.name!r}")
        return cls(
            name=metadata.name,
            version=max(metadata.versions, key=_number, default=""),
            inputs={name: _dimensions(inputs[name]) for name in _TYPES if name in inputs},
            unary=config is not None and not config.model_transaction_policy.decoupled,
            device=_DEVICES.get(config.instance_group[0].kind, "")
            if config and config.instance_group
            else "",
        )

    def request(
        self,
        prompt: str,
        sampling: Mapping[str, object],
        *,
        priority: int,
        timeout_s: float | None,
    ) -> service_pb2.ModelInferRequest:
        """A request for an answer to a prompt.

        Args:
            prompt: as the model reads it.
            sampling: arguments of vLLM's `SamplingParams`.
            priority: from 1, the most urgent; a model without priorities ignores it.
            timeout_s: longest wait in the model's queue, where the model allows requests to set it.
        """
        request = service_pb2.ModelInferRequest(model_name=self.name)
        values = {
            TEXT: _bytes(prompt),
            "stream": struct.pack("?", not self.unary),
            "sampling_parameters": _bytes(json.dumps(sampling)),
        }
        for name, dimensions in self.inputs.items():
            request.inputs.add(name=name, datatype=_TYPES[name], shape=[1] * dimensions)
            request.raw_input_contents.append(values.get(name, b"\x01"))
        request.parameters["priority"].uint64_param = priority
        if timeout_s is not None:
            request.parameters["timeout"].int64_param = max(1, int(timeout_s * 1e6))
        if not self.unary:
            # Without it a backend that sends its last text without a flag leaves the end to be guessed.
            request.parameters["triton_enable_empty_final_response"].bool_param = True
        return request

    def read(self, response: service_pb2.ModelInferResponse, prompt: str) -> Piece:
        """What a response says. The prompt is taken off an answer that begins with it.

        Raises:
            Garbage: it cannot be read.
        """
        flag = response.parameters.get("triton_final_response")
        final = flag.bool_param if flag is not None else None
        values = dict(_values(response))
        if not values:
            return Piece(final=final, version=response.model_version)
        if ANSWER not in values:
            raise Garbage(f"a response without {ANSWER!r}")
        text = _text(values[ANSWER])
        if self.unary and "exclude_input_in_output" not in self.inputs:
            text = text.removeprefix(prompt)
        finish = _text(values["finish_reason"]) if "finish_reason" in values else ""
        return Piece(
            text=text,
            finish_reason="" if finish == "None" else finish,
            prompt_tokens=_count(values.get("num_input_tokens")),
            completion_tokens=_count(values.get("num_output_tokens")),
            final=final,
            version=response.model_version,
        )


def _dimensions(tensor: service_pb2.ModelMetadataResponse.TensorMetadata) -> int:
    """Of a single value: [1], or [batch, 1] of a model that batches."""
    shape = list(tensor.shape)
    if len(shape) not in (1, 2) or shape[-1] not in (1, -1) or (len(shape) == 2 and shape[0] not in (1, -1)):
        raise Mismatch(f"{tensor.name!r} has the shape {shape}, not [1] or [-1, 1]")
    return len(shape)


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0


def _bytes(text: str) -> bytes:
    """One element of a BYTES tensor."""
    encoded = text.encode()
    return struct.pack("<I", len(encoded)) + encoded


def _values(response: service_pb2.ModelInferResponse) -> Iterator[tuple[str, bytes]]:
    """The first value of each output, as raw bytes; the numbers of a tensor whole."""
    raw = response.raw_output_contents
    for place, output in enumerate(response.outputs):
        if output.datatype == "BYTES":
            if place < len(raw):
                yield output.name, _first(raw[place])
            else:
                yield output.name, b"".join(output.contents.bytes_contents[:1])
        elif place < len(raw):
            yield output.name, raw[place]


def _first(raw: bytes) -> bytes:
    if not raw:
        return b""
    if len(raw) < 4 or len(raw) < 4 + (length := int(struct.unpack_from("<I", raw)[0])):
        raise Garbage("a text that is cut off")
    return raw[4 : 4 + length]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Garbage("a text that is no UTF-8") from None


def _count(value: bytes | None) -> int:
    if not value:
        return 0
    if len(value) % 4:
        raise Garbage("a count that is no UINT32")
    return sum(struct.unpack(f"<{len(value) // 4}I", value))
