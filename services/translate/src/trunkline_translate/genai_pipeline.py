"""OpenVINO GenAI's continuous batching on a device, as a batch uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import openvino
import openvino_genai

from trunkline_translate.facts import Facts
from trunkline_translate.genai_memory import kv_blocks
from trunkline_translate.genai_messages import State

_STEP_TOKENS: Final = 512
"""Most tokens of one step. A long prompt takes several, between which other sequences go on."""
_TOKENIZER: Final = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
"""Its graphs take microseconds. With more threads they are over before the others wake up, and those spin for longer."""
_UNKNOWN: Final = "\ufffd"
"""What bytes decode to that are no character, such as the first ones of one that is not complete."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as a model reads it."""

    ids: Any
    """OpenVINO's tensor, [1, count]."""
    count: int


class Generation(Protocol):
    """A sequence of a pipeline."""

    def read(self) -> tuple[list[int], State]:
        """Tokens that came since the last time, and what has become of it."""
        ...

    def cancel(self) -> None:
        """Ends it with the next step."""
        ...


class Pipeline(Protocol):
    """A model on a device, for one thread."""

    def encode(self, text: str) -> Prompt:
        """The tokens of a prompt."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of an answer, but for a last character that is not complete."""
        ...

    def add(self, prompt: Prompt, most: int) -> Generation:
        """Begins a sequence: `most` tokens at most, which fit into the model beside the prompt."""
        ...

    def step(self) -> None:
        """A token for every sequence, or a part of a prompt. Raises when the pipeline is broken, and for good."""
        ...

    @property
    def busy(self) -> bool:
        """True when a step has something to do."""
        ...


class NoSuchDevice(Exception):
    """The machine has no such device. The text says so."""


class GenaiPipeline:
    """A `ContinuousBatchingPipeline` on a device.

    Prefixes are not kept: a conversation's prompts differ from the first turn on, once it moves out.

    Args:
        directory: the model's files.
        device: such as NPU, GPU or CPU.
        facts: what is known of it.
        sequences: most at once.
        threads: of a CPU; 0 leaves it to OpenVINO.
        cache_mb: most memory for the KV cache. Where not all sequences fit into it at their longest, the last ones
            are begun again when it is full.

    Raises:
        NoSuchDevice: this machine has no such device.
        RuntimeError: OpenVINO refuses the files or the device.
    """

    def __init__(
        self, directory: Path, device: str, facts: Facts, *, sequences: int, threads: int, cache_mb: int
    ) -> None:
        if device.partition(".")[0] not in _devices():
            raise NoSuchDevice("this machine has none that OpenVINO knows")
        options: dict[str, Any] = {}
        if device == "CPU":
            # Processes on one machine would all be bound to the same first cores.
            options["ENABLE_CPU_PINNING"] = False
            if threads:
                options["INFERENCE_NUM_THREADS"] = threads
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.max_num_seqs = sequences
        scheduler.max_num_batched_tokens = _STEP_TOKENS
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = False
        scheduler.num_kv_blocks = kv_blocks(facts, sequences, cache_mb)
        self._pipeline: Any = openvino_genai.ContinuousBatchingPipeline(
            directory, scheduler, device, options, _TOKENIZER
        )
        self._tokenizer: Any = self._pipeline.get_tokenizer()
        self._ends = frozenset(facts.ends)
        self._requests = 0

    def encode(self, text: str) -> Prompt:
        """See `Pipeline.encode`. The chat template has put in what begins a prompt."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).input_ids
        return Prompt(ids, int(ids.shape[1]))

    def decode(self, tokens: Sequence[int]) -> str:
        """See `Pipeline.decode`. Tokens for control stay: some stand for phrases, and others end an answer."""
        while tokens and tokens[-1] in self._ends:
            tokens = tokens[:-1]
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False)).rstrip(_UNKNOWN)

    def add(self, prompt: Prompt, most: int) -> GenaiGeneration:
        """See `Pipeline.add`."""
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = most
        config.do_sample = False
        config.apply_chat_template = False
        config.stop_token_ids = set(self._ends)
        # Not the one that the pipeline reads from the files: the facts hold.
        config.ignore_eos = not self._ends
        # A number twice would break the pipeline.
        self._requests += 1
        return GenaiGeneration(self._pipeline.add_request(self._requests, prompt.ids, config))

    def step(self) -> None:
        """See `Pipeline.step`."""
        self._pipeline.step()

    @property
    def busy(self) -> bool:
        """See `Pipeline.busy`."""
        return bool(self._pipeline.has_non_finished_requests())


class GenaiGeneration:
    """A request of a `ContinuousBatchingPipeline`. See `Generation`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._length = False

    def read(self) -> tuple[list[int], State]:
        """See `Generation.read`."""
        # The status first: what it tells of is there to be read.
        status = self._handle.get_status()
        tokens: list[int] = []
        while self._handle.can_read():
            for output in self._handle.read().values():
                tokens += output.generated_ids
                self._length = output.finish_reason == openvino_genai.GenerationFinishReason.LENGTH
        statuses = openvino_genai.GenerationStatus
        if status == statuses.RUNNING:
            return tokens, State.RUNNING
        if status == statuses.FINISHED:
            return tokens, State.LENGTH if self._length else State.STOPPED
        return tokens, State.DROPPED

    def cancel(self) -> None:
        """See `Generation.cancel`."""
        self._handle.cancel()


@cache
def _devices() -> frozenset[str]:
    """What OpenVINO knows on this machine, several of one kind as one."""
    return frozenset(name.partition(".")[0] for name in openvino.Core().available_devices)
