"""Translation in Triton's Python backend: a batch of prompts, each answered once.

The tensors are those of the vLLM backend, so that a client asks both models alike. Runs on the interpreter of the
server, with numpy and openvino-genai beside it; `triton_python_backend_utils` is the server's.
"""

import json
from pathlib import Path

import numpy as np
import openvino_genai as genai
import triton_python_backend_utils as pb_utils

MAX_TOKENS = 512
"""Of an answer, where a request does not say."""


class TritonPythonModel:
    """One instance: its batches come one after the other."""

    def initialize(self, args):
        """Loads the model, at the server's start.

        Args:
            args: of Triton: `model_config` as JSON, `model_repository`, `model_version` and more.
        """
        parameters = json.loads(args["model_config"])["parameters"]
        directory = Path(args["model_repository"]) / _parameter(parameters, "model_directory")
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = max(1, round(int(_parameter(parameters, "cache_mb")) / 1024))
        scheduler.max_num_seqs = int(json.loads(args["model_config"])["max_batch_size"])
        self._pipeline = genai.ContinuousBatchingPipeline(str(directory), scheduler, "CPU")
        self._tokenizer = self._pipeline.get_tokenizer()
        self._end = self._tokenizer.get_eos_token_id()
        self._longest = json.loads((directory / "config.json").read_bytes())["max_position_embeddings"]

    def execute(self, requests):
        """One response for every request, in order; what was cancelled meanwhile is not translated."""
        responses = [None] * len(requests)
        places, prompts, tokens, configs = [], [], [], []
        for place, request in enumerate(requests):
            if request.is_cancelled():
                responses[place] = _failed("the request was cancelled", pb_utils.TritonError.CANCELLED)
                continue
            try:
                prompt = _text(request, "text_input")
                config = _config(json.loads(_text(request, "sampling_parameters", "{}")))
            except (TypeError, ValueError, UnicodeDecodeError):
                responses[place] = _failed(
                    "sampling_parameters are malformed", pb_utils.TritonError.INVALID_ARG
                )
                continue
            # The prompt has its control tokens already.
            read = self._tokenizer.encode(prompt, add_special_tokens=False).input_ids
            room = self._longest - read.shape[1]
            if room <= 0:
                # In vLLM's words, which clients know.
                responses[place] = _failed(
                    f"The prompt (length {read.shape[1]}) is longer than the maximum model length of {self._longest}.",
                    pb_utils.TritonError.INVALID_ARG,
                )
                continue
            config.max_new_tokens = min(config.max_new_tokens, room)
            places.append(place)
            prompts.append(prompt)
            tokens.append(read)
            configs.append(config)
        answers = self._pipeline.generate(tokens, configs) if tokens else []
        for place, prompt, read, config, answer in zip(
            places, prompts, tokens, configs, answers, strict=True
        ):
            responses[place] = self._response(requests[place], prompt, read, config, answer)
        return responses

    def _response(self, request, prompt, read, config, answer):
        said = list(answer.m_generation_ids[0])
        finish = "length" if len(said) >= config.max_new_tokens and said[-1] != self._end else "stop"
        text = self._tokenizer.decode(
            said[:-1] if said and said[-1] == self._end else said, skip_special_tokens=False
        )
        whole = text if _flag(request, "exclude_input_in_output") else prompt + text
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("text_output", np.array([[whole.encode()]], dtype=np.object_)),
                pb_utils.Tensor("finish_reason", np.array([[finish.encode()]], dtype=np.object_)),
                pb_utils.Tensor("num_input_tokens", np.array([[read.shape[1]]], dtype=np.uint32)),
                pb_utils.Tensor("num_output_tokens", np.array([[len(said)]], dtype=np.uint32)),
            ]
        )

    def finalize(self):
        """Lets the model go, at the server's end."""
        self._pipeline = None


def _config(sampling):
    config = genai.GenerationConfig()
    config.max_new_tokens = int(sampling.get("max_tokens") or MAX_TOKENS)
    config.do_sample = False
    config.apply_chat_template = False
    return config


def _parameter(parameters, name):
    return parameters[name]["string_value"]


def _text(request, name, default=None):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return default
    return tensor.as_numpy().reshape(-1)[0].decode()


def _flag(request, name):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return tensor is not None and bool(tensor.as_numpy().reshape(-1)[0])


def _failed(message, code):
    return pb_utils.InferenceResponse([], error=pb_utils.TritonError(message, code))
