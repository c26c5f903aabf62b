"""Translation by vLLM in this process: the engine of an image with GPUs (extra `vllm`).

Source: vllm/v1/engine/async_llm.py, 0.33.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections.abc import AsyncGenerator, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from trunkline_hop.settings import CannotStart
from trunkline_translate import engine
from trunkline_translate.answer_length import likely_tokens, most_tokens
from trunkline_translate.chat_template import ChatTemplate, TemplateFailed
from trunkline_translate.engine import (
    Ask,
    Delta,
    Done,
    EngineFailed,
    FinishReason,
    Identity,
    SentenceTooLong,
)
from trunkline_translate.engine_names import model_version
from trunkline_translate.language import Direction
from trunkline_translate.prompts import Prompt

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

DEFAULTS: Final[Mapping[str, Any]] = {
    "max_num_batched_tokens": 8192,
    "max_num_seqs": 256,
    "enable_chunked_prefill": True,
    "enable_prefix_caching": True,
    "scheduling_policy": "priority",
    "enable_log_requests": False,
}
"""Arguments of vLLM's engine, where nothing else is asked for."""
_STARTING: Final = "vLLM is starting: wait"


class VllmEngine:
    """Translates with a model directory in vLLM's own engine.

    It is entered at once and comes up in the background, which takes tens of seconds: until then probes fail.

    Args:
        directory: of the model: weights, configuration, tokenizer and chat template as `transformers` has them.
        directions: what the model translates.
        prompt: how it wants to be asked.
        arguments: of vLLM's `AsyncEngineArgs`, over `DEFAULTS`.

    Raises:
        CannotStart: vLLM is not installed.
        TemplateFailed: the directory has no chat template.
    """

    name = "vllm"
    takes_context = True

    def __init__(
        self,
        directory: Path,
        directions: Collection[Direction],
        prompt: Prompt,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise CannotStart(
                "TRUNKLINE_VLLM_MODEL_DIR needs vLLM: install trunkline-translate[vllm], "
                "or set TRUNKLINE_VLLM to the address of a server"
            )
        self.directions = frozenset(directions)
        self.error = _STARTING
        self._directory = directory
        self._prompt = prompt
        self._template = ChatTemplate.read(directory)
        self._arguments = {**DEFAULTS, **(arguments or {}), "model": str(directory)}
        self._ids = itertools.count(1)
        self._engine: AsyncLLM | None = None
        self._tokenizer: Any = None
        self._limit = 0
        self._device = ""
        self._starting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._starting:
            # A thread cannot be cancelled: what it starts is to be stopped too.
            await asyncio.gather(self._starting, return_exceptions=True)
        stopped, self._engine = self._engine, None
        if stopped is not None:
            await asyncio.to_thread(stopped.shutdown)

    def identity(self, model: str = "") -> Identity:
        return Identity(
            engine=self.name,
            model_version=model_version(self.name, self._directory.name),
            device=self._device,
        )

    async def probe(self) -> None:
        try:
            await self._alive()
        except EngineFailed as failed:
            self.error = failed.why
            raise
        self.error = ""

    async def translate(self, ask: Ask, model: str = "") -> AsyncGenerator[engine.Piece, None]:
        running = self._engine
        if running is None:
            raise EngineFailed(self.error or _STARTING)
        # An extra; loaded by now.
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        try:
            prompt = self._template.render(self._prompt.messages(ask))
        except TemplateFailed as failed:
            raise EngineFailed("its chat template does not take the conversation", counts=False) from failed
        # The template has the tokens that begin a prompt.
        tokens = self._tokenizer.encode(prompt, add_special_tokens=False)
        room = self._limit - len(tokens)
        if room < likely_tokens(ask):
            raise SentenceTooLong(len(tokens), self._limit)
        sampling = SamplingParams(
            temperature=0.0,
            max_tokens=min(room, most_tokens(ask)),
            # The marks that stand for phrases are tokens of their own.
            skip_special_tokens=False,
            spaces_between_special_tokens=False,
            output_kind=RequestOutputKind.DELTA,
        )
        outputs = running.generate(
            {"prompt_token_ids": tokens},
            sampling,
            request_id=f"translate-{next(self._ids)}",
            priority=ask.priority.value,
        )
        answer = self._prompt.answer()
        reason, completion_tokens = "", 0
        try:
            async for output in outputs:
                piece = output.outputs[0]
                completion_tokens += len(piece.token_ids)
                reason = piece.finish_reason or ""
                if piece.text and (text := answer.feed(piece.text)):
                    yield Delta(text)
                if answer.ended:
                    reason = "stop"
                if reason:
                    break
        except Exception as error:
            # Whatever vLLM raises, a dead engine process included: another engine may translate the sentence.
            raise EngineFailed(f"vLLM failed ({type(error).__name__}): see its log") from error
        finally:
            await outputs.aclose()
        if reason not in ("stop", "length"):
            raise EngineFailed("vLLM gave an answer up")
        if text := answer.end():
            yield Delta(text)
        finish = FinishReason.LENGTH if reason == "length" else FinishReason.STOP
        yield Done(finish, len(tokens), completion_tokens)

    async def _alive(self) -> None:
        """Asks whether the engine's processes are there; starts it anew when they are not.

        Raises:
            EngineFailed: it is not up.
        """
        if self._starting and not self._starting.done():
            raise EngineFailed(_STARTING)
        if self._starting and (failed := self._starting.exception()):
            self._start()
            raise EngineFailed(f"vLLM did not start ({type(failed).__name__}): see its log") from failed
        if self._engine is None:
            raise EngineFailed("vLLM is stopped")
        try:
            await self._engine.check_health()
        except Exception as error:
            # Its own EngineDeadError, or whatever it came to.
            self._start()
            raise EngineFailed("vLLM died and is started again: see its log") from error

    def _start(self) -> None:
        self._starting = asyncio.create_task(self._restarted(), name="start vLLM")

    async def _restarted(self) -> None:
        stopped, self._engine = self._engine, None
        if stopped is not None:
            await asyncio.to_thread(stopped.shutdown)
        started = await asyncio.to_thread(_engine, self._arguments)
        self._tokenizer = started.get_tokenizer()
        if asyncio.iscoroutine(self._tokenizer):
            self._tokenizer = await self._tokenizer
        self._limit = started.model_config.max_model_len
        self._device = str(started.vllm_config.device_config.device_type).upper()
        self._engine = started


def _engine(arguments: Mapping[str, Any]) -> AsyncLLM:
    """Loads vLLM and a model: tens of seconds, in a thread of its own."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
