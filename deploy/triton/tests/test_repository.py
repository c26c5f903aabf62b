"""The model repository, as Triton and the service read it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

from trunkline_translate.triton_model import TritonModel

HERE = Path(__file__).parents[1]
MODELS = sorted((HERE / "models").iterdir())
VLLM = HERE / "models" / "translator"
BATCHED = HERE / "models" / "translator-batched"


def config(model: Path) -> model_config_pb2.ModelConfig:
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def arguments(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_bytes()))


def metadata(said: model_config_pb2.ModelConfig) -> service_pb2.ModelMetadataResponse:
    """What a server says of a model with this configuration."""
    answer = service_pb2.ModelMetadataResponse(name=said.name, versions=["1"])
    batch = [-1] if said.max_batch_size else []
    for tensors, to in ((said.input, answer.inputs), (said.output, answer.outputs)):
        for tensor in tensors:
            kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
            to.add(
                name=tensor.name,
                datatype={"STRING": "BYTES"}.get(kind, kind),
                shape=[*batch, *tensor.dims],
            )
    return answer


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_is_named_as_its_directory_and_has_a_first_version(model: Path) -> None:
    assert config(model).name == model.name
    assert (model / "1").is_dir()


def test_vllm_is_left_to_batch_and_streams() -> None:
    said = config(VLLM)
    assert said.backend == "vllm"
    assert said.max_batch_size == 0
    assert said.model_transaction_policy.decoupled
    assert not said.HasField("dynamic_batching")


@pytest.mark.parametrize("file", [VLLM / "1" / "model.json", HERE / "speculative" / "model.json"], ids=str)
def test_vllm_runs_as_large_as_it_is_said_to(file: Path) -> None:
    said = arguments(file)
    assert said["max_num_batched_tokens"] == 8192
    assert said["max_num_seqs"] == 256
    assert said["enable_chunked_prefill"] is True
    assert said["kv_offloading_size"] > 0


def test_speculative_decoding_changes_nothing_but_that_a_draft_model_guesses() -> None:
    said = arguments(HERE / "speculative" / "model.json")
    draft = said.pop("speculative_config")
    assert said == arguments(VLLM / "1" / "model.json")
    assert draft["method"] == "draft_model"
    assert draft["model"] != said["model"]
    assert draft["num_speculative_tokens"] > 0


def test_batches_go_at_their_sizes_or_after_100_ms_and_people_go_first() -> None:
    said = config(BATCHED)
    batching = said.dynamic_batching
    assert list(batching.preferred_batch_size) == [4, 8, 16]
    assert said.max_batch_size == 16
    assert batching.max_queue_delay_microseconds == 100_000
    assert batching.priority_levels == 2
    assert batching.default_priority_level == 2


def test_preferred_sizes_go_without_a_queue_policy() -> None:
    batching = config(BATCHED).dynamic_batching
    assert not batching.HasField("default_queue_policy")
    assert not batching.priority_queue_policy


def test_the_service_asks_the_batched_model_once_and_in_a_batch() -> None:
    said = config(BATCHED)
    model = TritonModel.of(metadata(said), said)
    assert model.unary
    assert model.device == "CPU"
    assert set(model.inputs.values()) == {2}
    assert {"text_input", "sampling_parameters", "exclude_input_in_output"} <= model.inputs.keys()


def test_the_batched_model_answers_every_output_of_its_configuration() -> None:
    source = ast.parse((BATCHED / "1" / "model.py").read_text(encoding="utf-8"))
    made = {
        call.args[0].value
        for call in ast.walk(source)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "Tensor"
        and isinstance(call.args[0], ast.Constant)
    }
    assert made == {output.name for output in config(BATCHED).output}
