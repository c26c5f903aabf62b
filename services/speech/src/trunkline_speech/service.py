"""trunkline.speech.v1.SpeechService: decode, one domain call, encode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.call import Call
from trunkline_hop.errors import BadRequest
from trunkline_hop.pages import page
from trunkline_speech import convert
from trunkline_speech.choice import Recognisers
from trunkline_speech.offline import Offline
from trunkline_speech.session import Session
from trunkline_speech.sessions import Sessions


class SpeechService:
    """Recordings at once, live sessions, and what hears them."""

    descriptor = pb.DESCRIPTOR.services_by_name["SpeechService"]

    def __init__(self, offline: Offline, sessions: Sessions, recognisers: Recognisers) -> None:
        self._offline = offline
        self._sessions = sessions
        self._recognisers = recognisers

    async def Recognize(self, request: pb.RecognizeRequest, call: Call) -> pb.RecognizeResponse:
        """One recording at once."""
        audio, options = convert.audio_format(request.audio_format), convert.options(request.options)
        found = await self._offline.recognise(request.audio, audio, options, within_s=call.remaining())
        call.provenance(found.model_version)
        for degradation in found.degradations:
            call.degraded(degradation)
        return convert.recognised(found, options.word_times)

    async def StreamingRecognize(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest], call: Call
    ) -> None:
        """A live session."""
        async with self._opened(await anext(requests, None)) as session:
            try:
                async with asyncio.TaskGroup() as tasks:
                    hearing = tasks.create_task(_hear(session, requests))
                    leaving = tasks.create_task(_leave(session, call.draining))
                    async for event in session.events():
                        await call.write(convert.said(event, session.config.options.word_times))
                    hearing.cancel()
                    leaving.cancel()
            except ExceptionGroup as group:
                # The first is the reason; the others only followed from it.
                raise group.exceptions[0] from group

    async def ListModels(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        """What is loaded, and where."""
        listed, following = page(
            self._recognisers.listing(),
            lambda each: f"{each.name} {each.digest}",
            request.page_size,
            request.page_token,
            ("models",),
        )
        return pb.ListModelsResponse(
            models=[convert.listed(each) for each in listed], next_page_token=following
        )

    def _opened(self, first: pb.StreamingRecognizeRequest | None) -> AbstractAsyncContextManager[Session]:
        if first is not None and first.HasField("config"):
            return self._sessions.start(convert.session(first.config))
        if first is not None and first.HasField("resume"):
            resume = first.resume
            return self._sessions.resume(
                resume.resume_token,
                last_sequence=resume.last_sequence,
                audio_start=convert.audio_start(resume),
                audio=convert.audio_format(resume.audio_format) if resume.HasField("audio_format") else None,
            )
        raise BadRequest.field("request", "must be config or resume in the first message of a stream")


async def _hear(session: Session, requests: AsyncIterator[pb.StreamingRecognizeRequest]) -> None:
    async for request in requests:
        match request.WhichOneof("request"):
            case "audio":
                await session.feed(request.audio)
            case "update":
                await session.update(convert.update(request.update, session.config.parameters))
            case kind:
                raise BadRequest.field(str(kind), "may only be the first message of a stream")
    await session.finish()


async def _leave(session: Session, draining: asyncio.Event) -> None:
    await draining.wait()
    session.drain()
