"""A Triton server that translates: a program of .engines/triton, with PyTriton's real tritonserver.

    .engines/triton/bin/python triton_translator.py --model DIRECTORY --grpc-port PORT [--name translator]

It has the tensors of Triton's vLLM backend, decoupled, and what computes is OpenVINO GenAI on the files of a model
directory. It ends an answer as PyTriton does, with an empty final response; counts come with every response.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import queue
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino_genai as genai
from pytriton.model_config import ModelConfig, Tensor
from pytriton.proxy import communication
from pytriton.triton import Triton, TritonConfig

SEQUENCES = 16
"""Requests that are computed at once. They come through one instance, which waits for none of a decoupled model."""


class Generator:
    """One thread that steps a pipeline, and hands tokens to event loops."""

    def __init__(self, directory: str) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = 1
        scheduler.max_num_seqs = SEQUENCES
        self._pipeline = genai.ContinuousBatchingPipeline(
            directory, scheduler_config=scheduler, device="CPU", properties={"INFERENCE_NUM_THREADS": 1}
        )
        self._tokenizer = self._pipeline.get_tokenizer()
        self._end = self._tokenizer.get_eos_token_id()
        self._longest = json.loads(Path(directory, "config.json").read_text())["max_position_embeddings"]
        self._asked: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    async def texts(self, prompt: str, sampling: dict[str, Any]) -> AsyncIterator[tuple[str, int, int, str]]:
        """Text, tokens of it, tokens of the prompt, and why it ended: once for every token, and once more."""
        ids = self._tokenizer.encode(prompt, add_special_tokens=False).input_ids
        if ids.shape[1] >= self._longest:
            # As vLLM says it. The pipeline would take it without a word.
            raise ValueError(
                f"The decoder prompt (length {ids.shape[1]}) is longer than the maximum model length of {self._longest}"
            )
        config = genai.GenerationConfig()
        config.max_new_tokens = min(sampling["max_tokens"], self._longest - ids.shape[1])
        config.do_sample = False
        config.apply_chat_template = False
        config.set_eos_token_id(self._end)
        out: asyncio.Queue[tuple[int | None, str]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self._asked.put((ids, config, lambda *told: loop.call_soon_threadsafe(out.put_nowait, told)))
        tokens: list[int] = []
        said = ""
        while True:
            token, reason = await out.get()
            if reason == "error":
                raise RuntimeError("the pipeline failed")
            if token is not None and token != self._end:
                tokens.append(token)
            text = self._tokenizer.decode(tokens, skip_special_tokens=sampling["skip_special_tokens"])
            text = text if reason else text.rstrip("\ufffd")
            yield text[len(said) :], int(token is not None), ids.shape[1], reason
            said = text
            if reason:
                return

    def _run(self) -> None:
        numbers = itertools.count()
        live: list[tuple[Any, Any]] = []
        while True:
            while not live or not self._asked.empty():
                ids, config, tell = self._asked.get()
                live.append((self._pipeline.add_request(next(numbers), ids, config), tell))
            try:
                self._pipeline.step()
            except RuntimeError:
                for _, tell in live:
                    tell(None, "error")
                raise
            for each in list(live):
                for token, reason in _read(each[0]):
                    each[1](token, reason)
                    if reason:
                        live.remove(each)


def _read(handle: Any) -> Iterator[tuple[int | None, str]]:
    finished = {genai.GenerationFinishReason.STOP: "stop", genai.GenerationFinishReason.LENGTH: "length"}
    while handle.can_read():
        for output in handle.read().values():
            for token in output.generated_ids:
                yield token, ""
            if output.finish_reason in finished:
                yield None, finished[output.finish_reason]
                return


def answering(generator: Generator, *, stream: bool) -> Any:
    """What PyTriton calls with a request."""

    def response(text: str, completion: int, prompt: int, reason: str) -> list[dict[str, Any]]:
        return [
            {
                "text_output": np.array([text.encode()], dtype=object),
                "finish_reason": np.array([(reason or "None").encode()], dtype=object),
                "num_input_tokens": np.array([prompt], dtype=np.uint32),
                "num_output_tokens": np.array([completion], dtype=np.uint32),
            }
        ]

    async def infer(requests: list[Any]) -> AsyncIterator[list[dict[str, Any]]]:
        data = requests[0].data
        prompt = data["text_input"].item().decode()
        sampling = json.loads(data["sampling_parameters"].item())
        pieces = generator.texts(prompt, sampling)
        if stream:
            async for piece in pieces:
                yield response(*piece)
            return
        whole = [piece async for piece in pieces]
        text = "".join(piece[0] for piece in whole)
        yield response(prompt + text, sum(piece[1] for piece in whole), whole[-1][2], whole[-1][3])

    return infer


def main() -> None:
    # One second is not enough on a machine with much to do: the socket is there, and nobody has read it yet.
    communication.get_config_from_handshake_server.__defaults__ = (30.0,)
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--name", default="translator")
    parser.add_argument("--grpc-port", type=int, required=True)
    arguments = parser.parse_args()
    generator = Generator(arguments.model)
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=arguments.grpc_port,
        http_address="127.0.0.1",
        http_port=_free_port(),
        allow_metrics=False,
        exit_timeout_secs=5,
    )
    inputs = [
        Tensor(name="text_input", dtype=bytes, shape=(1,)),
        Tensor(name="stream", dtype=np.bool_, shape=(1,), optional=True),
        Tensor(name="sampling_parameters", dtype=bytes, shape=(1,)),
    ]
    outputs = [
        Tensor(name="text_output", dtype=bytes, shape=(1,)),
        Tensor(name="finish_reason", dtype=bytes, shape=(1,)),
        Tensor(name="num_input_tokens", dtype=np.uint32, shape=(1,)),
        Tensor(name="num_output_tokens", dtype=np.uint32, shape=(1,)),
    ]
    with (
        tempfile.TemporaryDirectory() as place,
        Triton(config=config, workspace=f"{place}/workspace") as triton,
    ):
        for name, stream in ((arguments.name, True), (f"{arguments.name}-unary", False)):
            triton.bind(
                model_name=name,
                infer_func=answering(generator, stream=stream),
                inputs=inputs,
                outputs=outputs,
                config=ModelConfig(batching=False, decoupled=stream),
                strict=False,
            )
        triton.serve()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
