"""The service as it is, between a real session store and engines that do as they are told: replicas, and their clients."""

from __future__ import annotations

import asyncio
import contextlib
import re
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations
from typing import Any, TypeAlias
from unittest.mock import patch

from google.protobuf.duration_pb2 import Duration

import trunkline_translate.__main__ as main
from trunkline.translate.v1 import translate_pb2 as pb
from trunkline.translate.v1.translate_pb2_grpc import TranslateServiceStub
from trunkline_hop import ClientSettings, connect, running
from trunkline_hop.server import Server
from trunkline_translate.detect import Detector
from trunkline_translate.engine import Ask, Delta, Done, EngineFailed, FinishReason, Identity, Piece
from trunkline_translate.language import Direction
from trunkline_translate.settings import Settings

BOUND_S = 60.0
"""How long a test waits for a condition before it is a failure. Nothing is asserted about time."""
VERSION = "models/phrases/versions/3"
DIGEST = "sha256:" + "ab" * 32
PHRASES: Sequence[dict[str, str]] = (
    {
        "en": "Good morning, and welcome to the station.",
        "es": "Buenos días y bienvenidos a la estación.",
        "de": "Guten Morgen und willkommen am Bahnhof.",
    },
    {
        "en": "Where can I buy a ticket?",
        "es": "¿Dónde puedo comprar un billete?",
        "de": "Wo kann ich eine Fahrkarte kaufen?",
    },
    {
        "en": "The next train leaves at noon.",
        "es": "El próximo tren sale al mediodía.",
        "de": "Der nächste Zug fährt am Mittag.",
    },
    {
        "en": "My brother lives in a small house near the sea.",
        "es": "Mi hermano vive en una casa pequeña cerca del mar.",
        "de": "Mein Bruder wohnt in einem kleinen Haus am Meer.",
    },
    {
        "en": "Tomorrow we are going to visit the old museum.",
        "es": "Mañana vamos a visitar el museo antiguo.",
        "de": "Morgen besuchen wir das alte Museum.",
    },
    {
        "en": "Please open \ue000 before \ue001 tomorrow.",
        "es": "Abra \ue000 antes de \ue001 mañana, por favor.",
        "de": "Bitte öffnen Sie \ue000 vor \ue001 morgen.",
    },
)
"""What the engines know, by language. The last one has two phrases that are kept."""
ENGLISH = [phrase["en"] for phrase in PHRASES[:5]]
SPANISH = [phrase["es"] for phrase in PHRASES[:5]]
GERMAN = [phrase["de"] for phrase in PHRASES[:5]]
EN_ES = Direction("en", "es")
EVERY = tuple(Direction(source, target) for source, target in permutations(("en", "es", "de"), 2))
_DETECTOR = cache(Detector)
"""The real one, loaded once a process."""

Step: TypeAlias = str | asyncio.Event | Done | Exception
"""What an engine does next: it says something, waits, is done or fails."""
Script: TypeAlias = Callable[[Ask], Iterable[Step]]
"""What an engine does with a sentence. When it does not say how it ends, it is done then."""


def known(ask: Ask) -> str:
    """The translation of a sentence that the engines know."""
    source, target = ask.direction.source, ask.direction.target
    return next(phrase[target] for phrase in PHRASES if phrase[source] == ask.text)


def words(ask: Ask) -> Iterable[Step]:
    """Says it word by word, so many words at most as there may be tokens."""
    said = re.findall(r"\s*\S+", known(ask))
    cut = ask.max_tokens or len(said)
    yield from said[:cut]
    reason = FinishReason.STOP if len(said) <= cut else FinishReason.LENGTH
    yield Done(reason, len(ask.text.split()), min(cut, len(said)))


def remembering(ask: Ask) -> Iterable[Step]:
    """Says it with a number at the end that is another one for every other context."""
    *said, done = words(ask)
    number = zlib.crc32(repr((ask.context, ask.formality)).encode()) % 10_000
    return [*said, f" [{number}]", done]


@dataclass
class ScriptedEngine:
    """Does with each sentence what a script says."""

    name: str = "openvino"
    script: Script = words
    directions: Collection[Direction] = EVERY
    takes_context: bool = True
    error: str = ""
    down: str = ""
    """Why it does not answer probes."""
    asks: list[Ask] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    live: int = 0
    """Answers that are being given."""
    stopped: int = 0
    """Answers that were stopped before their end."""

    def identity(self, model: str = "") -> Identity:
        if self.name == "openvino":
            return Identity(self.name, VERSION, DIGEST, "CPU")
        return Identity(self.name, f"engines/{self.name}/phrases")

    async def translate(self, ask: Ask, model: str = "") -> AsyncGenerator[Piece, None]:
        self.asks.append(ask)
        self.models.append(model)
        self.live += 1
        over = False
        try:
            for step in self.script(ask):
                if isinstance(step, str):
                    yield Delta(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    over = True
                    yield step
                    return
            over = True
            yield Done(FinishReason.STOP)
        except (GeneratorExit, asyncio.CancelledError):
            self.stopped += not over
            raise
        finally:
            self.live -= 1

    async def probe(self) -> None:
        if self.down:
            raise EngineFailed(self.down)


def engine(name: str = "openvino", script: Script = words, **more: Any) -> ScriptedEngine:
    """An engine that is up."""
    return ScriptedEngine(name, script, **more)


def steps(*said: Step) -> Script:
    """Does the same with every sentence."""
    return lambda ask: said


def held(until_set: asyncio.Event, script: Script = words) -> Script:
    """Says the first word, and the others when an event is set."""

    def steps_of(ask: Ask) -> Iterable[Step]:
        first, *rest = script(ask)
        return [first, until_set, *rest]

    return steps_of


async def until(condition: Callable[[], Any]) -> Any:
    """Waits for a condition; returns what it was."""
    async with asyncio.timeout(BOUND_S):
        while not (found := condition()):
            await tick()
        return found


async def tick() -> None:
    """Lets a little time pass between two looks at a condition."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.005)


def tasks() -> Counter[str]:
    """Tasks of this process, by what they do."""
    return Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())


class Replica:
    """A server of translations, its engines, and a stub through hop's own client."""

    def __init__(self, server: Server, service: Any, engines: Sequence[ScriptedEngine], stub: Any) -> None:
        self.server = server
        self.conversations = service._conversations
        self.engines = engines
        self.stub: Any = stub

    async def translate(self, *texts: str, timeout: float = BOUND_S, **options: Any) -> list[pb.Translation]:
        reply = await self.stub.Translate(request(*texts, **options), timeout=timeout)
        return list(reply.translations)

    async def sentence(self, text: str, timeout: float = BOUND_S, **options: Any) -> pb.Sentence:
        """The translation of a text of one sentence."""
        (translation,) = await self.translate(text, timeout=timeout, **options)
        (sentence,) = translation.translated.sentences
        return sentence

    def streamed(self, text: str, **options: Any) -> Any:
        return self.stub.StreamTranslate(stream_request(text, **options), timeout=BOUND_S)

    @asynccontextmanager
    async def stream(self, *first: pb.ConverseRequest) -> AsyncIterator[Any]:
        """A conversation, in which something was said already; cancelled after the block, if it is not over."""
        call = self.stub.Converse()
        try:
            for message in first:
                await call.write(message)
            yield call
        finally:
            call.cancel()

    async def quiet(self) -> None:
        """Returns when nothing is served any more."""
        await until(
            lambda: (
                not self.conversations.live
                and not self.server.sessions
                and not self.server.admission.running
                and not any(engine.live for engine in self.engines)
            )
        )


class Suite:
    """Replicas by name."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._stacks: dict[str, AsyncExitStack] = {}
        self._channels = AsyncExitStack()

    async def start(
        self, *engines: ScriptedEngine, name: str = "translate", ready: bool = True, **settings: Any
    ) -> Replica:
        """Starts a replica whose chain is these engines, and which is patient with them."""
        stack = self._stacks[name] = AsyncExitStack()
        added: list[Any] = []

        async def build(server: Server, given: Settings) -> None:
            async def chain(*_: Any) -> list[ScriptedEngine]:
                return list(engines)

            add = server.add
            with (
                patch.object(main, "_engines", chain),
                patch.object(main, "Detector", _DETECTOR),
                patch.object(server, "add", lambda service: (added.append(service), add(service))),
            ):
                await main.build(server, given)

        given: dict[str, Any] = {
            "redis_url": self._redis_url,
            # Tests are not about how fast a machine is that is busy with others.
            "redis_timeout_s": 10.0,
            "first_token_s": 2 * BOUND_S,
            "stall_s": 2 * BOUND_S,
            "port": 0,
            "metrics_port": 0,
            "drain_grace_s": BOUND_S,
        }
        server = await stack.enter_async_context(running("translate", Settings(**(given | settings)), build))
        if ready:
            await until(server.health.serving)
        # One attempt: what a client does about a fault is its own matter.
        alone = ClientSettings(attempts=1, health_check=ready, breaker_failures=1000, breaker_calls=1000)
        channel = await self._channels.enter_async_context(connect("translate", server.target, alone))
        return Replica(server, added[0], engines, TranslateServiceStub(channel))

    async def stop(self, name: str) -> None:
        """Drains a replica."""
        await self._stacks.pop(name).aclose()

    async def close(self) -> None:
        await self._channels.aclose()
        for name in reversed(list(self._stacks)):
            await self.stop(name)


@asynccontextmanager
async def opened(redis_url: str) -> AsyncIterator[Suite]:
    """A suite without a replica yet."""
    suite = Suite(redis_url)
    try:
        yield suite
    finally:
        await suite.close()


# ---- messages


def spoken(**options: Any) -> pb.TranslationOptions:
    """English into Spanish, unless it is said otherwise."""
    given = {"source_language_code": "en", "target_language_code": "es"} | options
    return pb.TranslationOptions(**given)


def request(*texts: str, **options: Any) -> pb.TranslateRequest:
    return pb.TranslateRequest(options=spoken(**options), texts=texts)


def stream_request(text: str, **options: Any) -> pb.StreamTranslateRequest:
    return pb.StreamTranslateRequest(options=spoken(**options), text=text)


def config(options: dict[str, Any] | None = None, **fields: Any) -> pb.ConverseRequest:
    """The first message of a conversation: no pause of a busy machine ends a sentence of it."""
    given = {"pause": seconds(60), "sentence_timeout": seconds(60)} | fields
    return pb.ConverseRequest(config=pb.ConverseConfig(options=spoken(**(options or {})), **given))


def resume(token: str, last: int = 0) -> pb.ConverseRequest:
    return pb.ConverseRequest(resume=pb.ConverseResume(resume_token=token, last_sequence=last))


def piece(text: str, piece_id: str = "") -> pb.ConverseRequest:
    return pb.ConverseRequest(piece=pb.TextPiece(text=text, piece_id=piece_id))


def segment(text: str, segment_id: str = "", **fields: Any) -> pb.ConverseRequest:
    return pb.ConverseRequest(segment=pb.TranscriptSegment(text=text, segment_id=segment_id, **fields))


def flush() -> pb.ConverseRequest:
    return pb.ConverseRequest(flush=pb.Flush())


def change(**options: Any) -> pb.ConverseRequest:
    return pb.ConverseRequest(options=spoken(**options))


def seconds(time: float) -> Duration:
    return Duration(seconds=int(time), nanos=round(time % 1 * 1e9))


async def sent(call: Any, messages: Iterable[pb.ConverseRequest]) -> None:
    """Messages, and their end."""
    for message in messages:
        await call.write(message)
    await call.done_writing()


async def said(
    replica: Replica, *messages: pb.ConverseRequest, first: pb.ConverseRequest | None = None
) -> list[pb.ConverseResponse]:
    """Everything that a conversation says."""
    async with speaking(replica, first or config(), *messages) as call:
        return [event async for event in call]


@asynccontextmanager
async def speaking(replica: Replica, *messages: pb.ConverseRequest) -> AsyncIterator[Any]:
    """A conversation in which somebody says something, up to the end."""
    async with replica.stream() as call, asyncio.timeout(BOUND_S):
        sending = asyncio.create_task(sent(call, messages))
        try:
            yield call
        finally:
            call.cancel()
            sending.cancel()
            await asyncio.wait([sending])
            sending.cancelled() or sending.exception()


# ---- events


async def events_of(call: Any) -> list[Any]:
    """Everything that a stream says."""
    async with asyncio.timeout(BOUND_S):
        return [event async for event in call]


async def trailers(call: Any) -> dict[str, list[str]]:
    """Trailing metadata of a call that is over, with every value of a key."""
    found: dict[str, list[str]] = {}
    for key, value in await call.trailing_metadata():
        found.setdefault(key, []).append(value)
    return found


def kinds(events: Iterable[pb.ConverseResponse]) -> list[str]:
    return [str(event.WhichOneof("event")) for event in events]


def sentences(events: Iterable[pb.ConverseResponse]) -> list[pb.Sentence]:
    """What was translated. Without its revision, which depends on how often a stream broke off."""
    found = []
    for event in events:
        if event.HasField("sentence"):
            copy = pb.Sentence()
            copy.CopyFrom(event.sentence)
            copy.ClearField("revision")
            found.append(copy)
    return found


def texts(events: Iterable[pb.ConverseResponse]) -> list[str]:
    return [sentence.text for sentence in sentences(events)]


def sources(events: Iterable[pb.ConverseResponse]) -> list[str]:
    return [sentence.source_text for sentence in sentences(events)]


def shown(events: Iterable[Any]) -> dict[int, str]:
    """What a client shows of each sentence that draws deltas and discards what a higher revision makes void."""
    drawn: dict[int, tuple[int, str]] = {}
    for event in events:
        if event.HasField("delta"):
            revision, before = drawn.get(event.delta.sentence_id, (0, ""))
            assert event.delta.text
            assert event.delta.revision >= revision
            before = before if event.delta.revision == revision else ""
            drawn[event.delta.sentence_id] = event.delta.revision, before + event.delta.text
    return {number: text for number, (_, text) in drawn.items()}
