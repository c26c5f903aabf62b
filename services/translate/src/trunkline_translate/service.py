"""trunkline.translate.v1.TranslateService: decode, one domain call, encode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_hop.call import Call
from trunkline_hop.errors import BadRequest
from trunkline_hop.pages import page
from trunkline_translate import convert
from trunkline_translate.chain import EngineState
from trunkline_translate.conversation import Conversation
from trunkline_translate.conversations import Conversations
from trunkline_translate.detect import Detector
from trunkline_translate.engine import Identity
from trunkline_translate.language import base
from trunkline_translate.texts import Texts, TranslatedText
from trunkline_translate.translation import Translated


class TranslateService:
    """Texts, conversations, and what translates them.

    Args:
        texts: translates texts.
        conversations: the live ones.
        detector: tells languages apart.
        engines: the engines in order of preference, as they are now.
    """

    descriptor = pb.DESCRIPTOR.services_by_name["TranslateService"]

    def __init__(
        self,
        texts: Texts,
        conversations: Conversations,
        detector: Detector,
        engines: Callable[[], Iterable[EngineState]],
    ) -> None:
        self._texts = texts
        self._conversations = conversations
        self._detector = detector
        self._engines = engines

    async def Translate(self, request: pb.TranslateRequest, call: Call) -> pb.TranslateResponse:
        """Texts at once."""
        options, priority = convert.options(request.options), convert.priority(call.priority)
        found = await self._texts.several(request.texts, options, priority=priority, due=_due(call))
        trail = _Trail(call)
        for text in found:
            for sentence in text.sentences if isinstance(text, TranslatedText) else ():
                trail.left_by(sentence.translated)
        return pb.TranslateResponse(translations=map(convert.translation, found))

    async def StreamTranslate(self, request: pb.StreamTranslateRequest, call: Call) -> None:
        """One text, in pieces as they are produced."""
        options, priority = convert.options(request.options), convert.priority(call.priority)
        trail = _Trail(call)
        async with aclosing(
            self._texts.stream(request.text, options, priority=priority, due=_due(call))
        ) as events:
            async for event in events:
                if isinstance(event.outcome, Translated):
                    trail.left_by(event.outcome)
                await call.write(convert.text_event(event))

    async def Converse(self, requests: AsyncIterator[pb.ConverseRequest], call: Call) -> None:
        """A conversation."""
        async with self._opened(await anext(requests, None), call) as conversation:
            try:
                async with asyncio.TaskGroup() as tasks:
                    hearing = tasks.create_task(_hear(conversation, requests))
                    leaving = tasks.create_task(_leave(conversation, call.draining))
                    async for event in conversation.events():
                        await call.write(convert.said(event))
                    hearing.cancel()
                    leaving.cancel()
            except ExceptionGroup as group:
                # The first is the reason; the others only followed from it.
                raise group.exceptions[0] from group

    async def DetectLanguage(
        self, request: pb.DetectLanguageRequest, call: Call
    ) -> pb.DetectLanguageResponse:
        """Which language texts are in."""
        detected = await asyncio.to_thread(lambda: [self._detector.detect(text) for text in request.texts])
        return pb.DetectLanguageResponse(detections=map(convert.detection, detected))

    async def ListLanguages(self, request: pb.ListLanguagesRequest, call: Call) -> pb.ListLanguagesResponse:
        """What can be translated into what, and by which engine."""
        listed, following = page(
            convert.pairs(self._engines()),
            lambda pair: f"{pair.source_language_code} {pair.target_language_code}",
            request.page_size,
            request.page_token,
            ("languages",),
        )
        return pb.ListLanguagesResponse(pairs=listed, next_page_token=following)

    def _opened(
        self, first: pb.ConverseRequest | None, call: Call
    ) -> AbstractAsyncContextManager[Conversation]:
        priority = convert.priority(call.priority)
        if first is not None and first.HasField("config"):
            return self._conversations.start(convert.conversation(first.config), priority=priority)
        if first is not None and first.HasField("resume"):
            return self._conversations.resume(
                first.resume.resume_token, last_sequence=first.resume.last_sequence, priority=priority
            )
        raise BadRequest.field("request", "must be config or resume in the first message of a stream")


async def _hear(conversation: Conversation, requests: AsyncIterator[pb.ConverseRequest]) -> None:
    async for request in requests:
        match request.WhichOneof("request"):
            case "piece":
                await conversation.piece(request.piece.text, request.piece.piece_id)
            case "segment":
                segment = request.segment
                await conversation.segment(
                    segment.text,
                    segment.segment_id,
                    language=base(segment.language_code),
                    end_of_utterance=segment.end_of_utterance,
                )
            case "flush":
                await conversation.flush()
            case "options":
                await conversation.change(convert.options(request.options))
            case kind:
                raise BadRequest.field(str(kind), "may only be the first message of a stream")
    await conversation.finish()


async def _leave(conversation: Conversation, draining: asyncio.Event) -> None:
    await draining.wait()
    conversation.drain()


def _due(call: Call) -> float:
    """When the answer is wanted, on the event loop's clock."""
    remaining = call.remaining()
    return float("inf") if remaining is None else asyncio.get_running_loop().time() + remaining


class _Trail:
    """Puts what made the answer into a call's trailers, each once."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._told: set[Identity] = set()

    def left_by(self, translated: Translated) -> None:
        if translated.made_by not in self._told:
            self._told.add(translated.made_by)
            self._call.provenance(translated.made_by.model_version)
        for degradation in translated.degradations:
            self._call.degraded(degradation)
