"""A world in which is known what is said when: an ear and a recogniser that live in it, and a clock that stands.

Audio is written as bytes of 64 samples each. A sample tells its own position, so the recogniser knows where the
audio is from that it is given, and says what is said there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from trunkline_hop.errors import BadRequest, Overloaded
from trunkline_speech.config import AudioFormat, Detector, Options, Parameters, SessionConfig
from trunkline_speech.ear import Frame
from trunkline_speech.events import (
    AudioDropped,
    EndOfUtterance,
    Interim,
    Said,
    SegmentFinal,
    SpeechStarted,
    Started,
)
from trunkline_speech.loops import Span, merged
from trunkline_speech.recogniser import Device, Heard, Hearing, Recogniser, Samples, Task
from trunkline_speech.session import Session
from trunkline_speech.sessions import Sessions
from trunkline_speech.snapshot import SessionStore
from trunkline_speech.transcript import RATE_HZ, Hypothesis, Word

BOUND_S = 30.0
"""How long a test waits for a condition before it is a failure. Nothing is asserted about time."""
SAMPLES_A_BYTE = 64
FRAME = 512
_SCALE = float(1 << 24)


class StandingClock:
    """Moves when told."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def monotonic(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time_s)

    def advance(self, seconds: float) -> None:
        self.time_s += seconds


def at(seconds: float) -> int:
    return round(seconds * RATE_HZ)


def spoken(text: str, start_s: float = 0.5, *, word_s: float = 0.3) -> tuple[Word, ...]:
    """The words of a text one after the other; `|` is a pause of half a second each."""
    words, now = [], start_s
    for token in text.split():
        if token == "|":
            now += 0.5
        else:
            words.append(Word(token, at(now), at(now + word_s)))
            now += word_s
    return tuple(words)


@dataclass
class World:
    """What is said, and for how long anybody listens."""

    words: tuple[Word, ...]
    length: int = 0
    """Samples; a second behind the last word by default."""

    def __post_init__(self) -> None:
        last = self.words[-1].end if self.words else 0
        self.length = -(-(self.length or last + RATE_HZ) // FRAME) * FRAME

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def voiced(self) -> list[Span]:
        return merged([(word.start, word.end) for word in self.words], 1)

    def speaks(self, position: int) -> bool:
        middle = position + FRAME // 2
        return any(start <= middle < end for start, end in self.voiced)

    def audio(self, start: int = 0, end: int | None = None) -> bytes:
        return bytes((self.length if end is None else end) // SAMPLES_A_BYTE - start // SAMPLES_A_BYTE)

    def frame(self, position: int) -> Frame:
        samples = (np.arange(position, position + FRAME) / _SCALE).astype(np.float32)
        return Frame(position, samples, 0.9 if self.speaks(position) else 0.05)

    def frames(self, start: int = 0, end: int | None = None) -> Iterable[Frame]:
        return map(self.frame, range(start, self.length if end is None else end, FRAME))


TALK = World(spoken("the quick brown fox jumps over | | the lazy dog and then | | | goes home"))
MONOLOGUE = World(
    spoken(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty and so on until nobody can hear it any more but me"
    )
)
DENSE = SessionConfig(parameters=Parameters(buffer_s=3.0, interval_s=0.5, first_interval_s=0.4))
"""Many passes, and segments that are cut."""


class WorldEar:
    """Hears the world from a position on."""

    open = 0

    def __init__(self, world: World, start: int) -> None:
        self._world = world
        self._position = start
        self._bytes = 0
        self._closed = False
        WorldEar.open += 1

    @property
    def heard(self) -> int:
        return self._position

    async def hear(self, data: bytes) -> AsyncIterator[Frame | AudioDropped]:
        self._bytes += len(data)
        while self._bytes * SAMPLES_A_BYTE >= FRAME:
            self._bytes -= FRAME // SAMPLES_A_BYTE
            frame = self._world.frame(self._position)
            self._position += FRAME
            yield frame

    async def finish(self) -> AsyncIterator[Frame | AudioDropped]:
        if self._bytes:
            self._bytes = 0
            yield self._world.frame(self._position)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            WorldEar.open -= 1


@dataclass
class WorldRecogniser:
    """Says what is said in the world, but garbles a word that is cut by the end of the audio, or just before it."""

    world: World
    name: str = "models/test/versions/1"
    digest: str = "sha256:1"
    engine: str = "openvino"
    languages: tuple[str, ...] = ("en", "es")
    tasks: tuple[Task, ...] = (Task.TRANSCRIBE,)
    window: int = 10 * RATE_HZ
    word_times: bool = True
    size_bytes: int = 1
    devices: tuple[Device, ...] = (Device("CPU", True, "", 1),)
    language: str = "en"
    before: Callable[[int, int, Hearing], Awaitable[None]] | None = None
    """Called with what is about to be heard; it may wait, or fail."""
    heard: list[tuple[int, int, Hearing]] = field(default_factory=list)
    degradations: tuple[str, ...] = ()
    device: str = "CPU"

    async def hear(self, samples: Samples, hearing: Hearing) -> Heard:
        assert len(samples) <= self.window, "longer than the window"
        start = round(float(samples[0]) * _SCALE)
        end = start + len(samples)
        self.heard.append((start, end, hearing))
        if self.before is not None:
            await self.before(start, end, hearing)
        words = []
        for word in self.world.words:
            if start <= (word.start + word.end) // 2 and word.start < end - 800:
                unsure = end - word.end < 1600
                text = f"{word.text}{end % 7}x" if unsure else word.text
                words.append(Word(text, max(0, word.start - start), min(word.end, end) - start))
        return Heard(
            Hypothesis(tuple(words), hearing.language or self.language), self.device, self.degradations
        )


class Here:
    """Sessions in a world, and what was said in them."""

    def __init__(
        self,
        world: World,
        *,
        recogniser: WorldRecogniser | None = None,
        store: SessionStore | None = None,
        limit: int = 10,
        others: Sequence[Recogniser] = (),
        diarize: Callable[[int, bytes], object] | None = None,
        ear: type[WorldEar] = WorldEar,
    ) -> None:
        self.world = world
        self.clock = StandingClock()
        self.recogniser = recogniser or WorldRecogniser(world)
        self.leases = 0
        self._everyone = (self.recogniser, *others)
        self._ear = ear
        self.sessions = Sessions(
            listen=self._listen,
            choose=self._choose,
            diarize=diarize or (lambda most, state: None),  # type: ignore[arg-type]
            store=store,
            clock=self.clock,
            limit=limit,
        )

    def _listen(self, audio: AudioFormat, detector: Detector, start: int) -> WorldEar:
        return self._ear(self.world, start)

    @asynccontextmanager
    async def _choose(self, options: Options) -> AsyncIterator[Recogniser]:
        language = options.language
        fitting = [each for each in self._everyone if not language or language in each.languages]
        if not fitting:
            raise BadRequest("nobody hears it", reason="LANGUAGE_UNSUPPORTED")
        chosen = fitting[0]
        self.leases += 1
        try:
            yield chosen
        finally:
            self.leases -= 1

    async def said(
        self, config: SessionConfig | None = None, *, chunk: int = 50, audio: bytes | None = None
    ) -> list[Said]:
        """All that a session says about the whole world."""
        async with self.sessions.start(config or SessionConfig()) as session:
            return await through(session, self.world.audio() if audio is None else audio, chunk)


async def through(session: Session, audio: bytes, chunk: int = 50) -> list[Said]:
    """Feeds a session to its end; what it said."""
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(fed(session, audio, chunk))
        return [said async for said in session.events()]


async def fed(session: Session, audio: bytes, chunk: int = 50) -> None:
    for first in range(0, len(audio), chunk):
        await session.feed(audio[first : first + chunk])
    await session.finish()


async def everything(session: Session) -> list[Said]:
    """All that a session says while somebody else feeds it."""
    async with asyncio.timeout(BOUND_S):
        return [said async for said in session.events()]


async def turn() -> None:
    """One turn of the event loop."""
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: passed.done() or passed.set_result(None))
    await passed


async def until(condition: Callable[[], bool]) -> None:
    """Waits for it, with a bound."""
    async with asyncio.timeout(BOUND_S):
        while not condition():
            await turn()


def failing(
    error: Callable[[], Exception], *, times: int, when: Callable[[int, int], bool] = lambda *_: True
) -> Callable[[int, int, Hearing], Awaitable[None]]:
    """A `before` that raises so many times."""
    left = [times]

    async def before(start: int, end: int, hearing: Hearing) -> None:
        if left[0] and when(start, end):
            left[0] -= 1
            raise error()

    return before


def full() -> Exception:
    return Overloaded("SHED", "too many wait", retry_after=timedelta(milliseconds=1))


def events(said: Iterable[Said], kind: type) -> list:
    return [each.event for each in said if isinstance(each.event, kind)]


def finals(said: Iterable[Said]) -> list[str]:
    return [each.event.segment.text for each in said if isinstance(each.event, SegmentFinal)]


def committed(said: Iterable[Said]) -> list[str]:
    """What a client holds for sure after some events: the final segments, and the stable words of one that goes on."""
    words: list[str] = []
    stable: list[str] = []
    for each in said:
        if isinstance(each.event, SegmentFinal):
            words += [word.text for word in each.event.segment.words]
            stable = []
        elif isinstance(each.event, Interim):
            stable = [word.text for word in each.event.segment.words[: each.event.stable_words]]
    return words + stable


def outline(said: Iterable[Said]) -> list[str]:
    """What was said, in short: to compare by, whatever the numbers of the events."""
    lines = []
    for each in said:
        match each.event:
            case SpeechStarted(position):
                lines.append(f"began {position}")
            case Interim(segment, stable):
                lines.append(f"{segment.number}.{segment.revision} {segment.text} ({stable})")
            case SegmentFinal(segment):
                lines.append(
                    f"{segment.number}.{segment.revision} {segment.text}. {segment.start} {segment.end}"
                )
            case EndOfUtterance(position, first, last):
                lines.append(f"ended {position} {first}-{last}")
            case Started():
                lines.append("started")
            case other:
                lines.append(repr(other))
    return lines
