"""Serve translation: python -m trunkline_translate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from trunkline_hop.serve import serve
from trunkline_hop.server import Server
from trunkline_hop.settings import CannotStart
from trunkline_modelstore import ModelStore
from trunkline_modelstore.grpc_registry import GrpcRegistry
from trunkline_translate.apertium import ApertiumEngine
from trunkline_translate.chain import Chain
from trunkline_translate.chat_template import ChatTemplate, TemplateFailed, special_tokens
from trunkline_translate.checks import Checks
from trunkline_translate.coalesce import Coalesced
from trunkline_translate.conversations import Conversations
from trunkline_translate.detect import Detector
from trunkline_translate.engine import Engine
from trunkline_translate.genai_engine import OpenVinoEngine
from trunkline_translate.loader import TranslatorLoader, verdicts
from trunkline_translate.meters import Meters
from trunkline_translate.openai_server import OpenAiEngine
from trunkline_translate.prompts import Prompt, Style
from trunkline_translate.redis_conversations import RedisConversations
from trunkline_translate.sentences import Sentences, split
from trunkline_translate.service import TranslateService
from trunkline_translate.settings import Settings
from trunkline_translate.texts import Texts
from trunkline_translate.translator import Translator
from trunkline_translate.triton import TritonEngine
from trunkline_translate.vllm_local import VllmEngine


async def build(server: Server, settings: Settings) -> None:
    """Wires the service."""
    meters = Meters(server.name, server.metrics)
    detector = await _detector(settings)
    chain: Chain | None = None

    def models_changed() -> None:
        server.refresh()
        if chain:
            chain.refresh()

    engines = await _engines(server, settings, meters, models_changed)
    chain = Chain(engines, server.clock, meters, probe_s=settings.probe_s, on_change=server.refresh)
    server.readiness("engines", chain.ready)
    await server.own(chain)
    translator = Translator(
        chain,
        Checks(detector),
        meters,
        first_token_s=settings.first_token_s,
        stall_s=settings.stall_s,
    )
    store = None
    if settings.redis_url:
        store = await server.own(
            RedisConversations(
                settings.redis_url, ttl_s=settings.conversation_ttl_s, timeout_s=settings.redis_timeout_s
            )
        )
    conversations = Conversations(
        translator=translator,
        detector=detector,
        sentences=Sentences,
        store=store,
        clock=server.clock,
        limit=settings.max_conversations,
    )
    server.add(
        TranslateService(Texts(Coalesced(translator), split, detector), conversations, detector, chain.states)
    )


async def _detector(settings: Settings) -> Detector:
    """In a thread, because its model takes seconds to load."""
    try:
        return await asyncio.to_thread(Detector, settings.language_codes)
    except ValueError as error:
        raise CannotStart(f"TRUNKLINE_LANGUAGES: {error}") from error


async def _engines(
    server: Server, settings: Settings, meters: Meters, models_changed: Callable[[], None]
) -> list[Engine]:
    """The chain, in order of preference."""
    engines: list[Engine] = []
    if settings.triton and settings.triton_tokenizer:
        prompt, template = _chat(
            "TRUNKLINE_TRITON_TOKENIZER", settings.triton_prompt, settings.triton_tokenizer
        )
        triton = TritonEngine(
            settings.triton,
            settings.triton_model,
            settings.triton_directions,
            prompt,
            template,
            ca=settings.triton_ca,
        )
        engines.append(await server.own(triton))
    if settings.vllm:
        vllm = OpenAiEngine(
            settings.vllm,
            settings.vllm_directions,
            Prompt(Style(settings.vllm_prompt)),
            model=settings.vllm_model,
            api_key=settings.vllm_api_key.get_secret_value(),
            ca=settings.vllm_ca,
        )
        engines.append(await server.own(vllm))
    elif settings.vllm_model_dir:
        prompt, _ = _chat("TRUNKLINE_VLLM_MODEL_DIR", settings.vllm_prompt, settings.vllm_model_dir)
        local = VllmEngine(settings.vllm_model_dir, settings.vllm_directions, prompt, settings.vllm_arguments)
        engines.append(await server.own(local))
    if settings.model_names:
        openvino = await _openvino(server, settings, models_changed)
        meters.count(openvino.name, lambda: openvino.live, lambda: openvino.waiting)
        engines.append(openvino)
    if settings.apertium_modes.is_dir():
        engines.append(await server.own(ApertiumEngine(settings.apertium_modes, queue=settings.queue)))
    return engines


async def _openvino(server: Server, settings: Settings, models_changed: Callable[[], None]) -> OpenVinoEngine:
    """The models of the registry."""
    models = ModelStore(
        TranslatorLoader(
            settings.device_names,
            sequences=settings.sequences,
            queue_limit=settings.queue,
            threads=settings.device_threads,
            verdicts=verdicts(settings.model_cache_dir / "checked"),
        ),
        GrpcRegistry(server.connect("registry", settings.registry)),
        models=settings.model_names,
        cache_dir=settings.model_cache_dir,
        budget_bytes=settings.model_budget_bytes,
        limit=settings.model_versions,
        on_change=models_changed,
    )
    server.readiness("models", models.ready)
    await server.own(models)
    return OpenVinoEngine(models, settings.model_names)


def _chat(variable: str, style: str, tokenizer: Path) -> tuple[Prompt, ChatTemplate]:
    """How a model is asked, by its tokenizer's files."""
    try:
        return Prompt(Style(style), special_tokens(tokenizer)), ChatTemplate.read(tokenizer)
    except (OSError, TemplateFailed) as error:
        raise CannotStart(f"{variable}: {error}") from error


if __name__ == "__main__":
    serve("translate", Settings, build)
