"""The demo's translation model: a directory on OpenVINO, a sentence at a time, as slow as is wanted."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import openvino_genai

Message: TypeAlias = dict[str, str]
"""`role` and `content`."""

_KV_BLOCKS: Final = 32
"""Of 32 tokens: room for an answer at a time."""


class TooLong(ValueError):
    """Prompt and answer do not fit into the model. The message says by how much, as vLLM does."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of an answer."""

    complete: bool
    """False when it was as long as it may be, and was cut."""
    prompt_tokens: int
    completion_tokens: int


class Model:
    """Answers conversations, greedily, one after the other.

    Args:
        directory: an OpenVINO export with its tokenizer and chat template.
        pause_s: after every token, so that there is time for something to happen in the middle of a sentence.
    """

    def __init__(self, directory: Path, pause_s: float = 0.0) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = _KV_BLOCKS
        self._pipeline: Any = openvino_genai.ContinuousBatchingPipeline(
            directory, scheduler, "CPU", {"INFERENCE_NUM_THREADS": 1}
        )
        self._requests = 0
        self._tokenizer: Any = self._pipeline.get_tokenizer()
        config = self._pipeline.get_config()
        self._ends: set[int] = {config.eos_token_id, *config.stop_token_ids}
        self.limit: int = json.loads((directory / "config.json").read_bytes())["max_position_embeddings"]
        """Most tokens of prompt and answer together."""
        self._pause_s = pause_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def answer(
        self, messages: Sequence[Message], max_tokens: int | None = None
    ) -> AsyncGenerator[str | Ended, None]:
        """What comes next in a conversation: pieces of text, then exactly one `Ended`. Closing it stops the work.

        Raises:
            TooLong: it would not fit.
        """
        prompt = self._tokenizer.apply_chat_template(list(messages), add_generation_prompt=True)
        encoded = self._tokenizer.encode(prompt, add_special_tokens=False)
        length = encoded.input_ids.shape[1]
        room = self.limit - length
        if room < (max_tokens or 1):
            asked = length + (max_tokens or 1)
            raise TooLong(
                f"This model's maximum context length is {self.limit} tokens. However, you requested {asked} tokens"
            )
        config = self._pipeline.get_config()
        config.max_new_tokens = min(max_tokens or room, room)
        loop = asyncio.get_running_loop()
        came: asyncio.Queue[int | None] = asyncio.Queue()
        stopped = threading.Event()

        def token(number: int | None) -> None:
            loop.call_soon_threadsafe(came.put_nowait, number)

        def generate() -> None:
            try:
                self._generate(encoded.input_ids, config, token, stopped)
            finally:
                token(None)

        running = loop.run_in_executor(self._thread, generate)
        try:
            tokens: list[int] = []
            sent, complete = 0, False
            while (number := await came.get()) is not None:
                tokens.append(number)
                complete = number in self._ends
                text = self._tokenizer.decode(tokens)
                # A character may take several tokens.
                whole = text if complete else text.rstrip("\ufffd")
                if len(whole) > sent:
                    yield whole[sent:]
                    sent = len(whole)
            await running
            yield Ended(complete, length, len(tokens))
        finally:
            stopped.set()

    def _generate(
        self, prompt: Any, config: Any, token: Callable[[int], None], stopped: threading.Event
    ) -> None:
        """In the model's thread: every token as it comes, until the last one or until it is stopped."""
        if stopped.is_set():
            return
        self._requests += 1
        handle = self._pipeline.add_request(self._requests, prompt, config)
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            for output in handle.read().values() if handle.can_read() else ():
                for number in output.generated_ids:
                    token(number)
            if stopped.wait(self._pause_s):
                handle.cancel()

    def close(self) -> None:
        """Lets go of its thread."""
        self._thread.shutdown(cancel_futures=True)
