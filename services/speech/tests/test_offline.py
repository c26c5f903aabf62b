"""One recording at once, in a world in which is known what is said when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_parts import BOUND_S, FRAME, Here, World, WorldRecogniser, at, committed, spoken

from trunkline_hop.errors import BadRequest, Overloaded, TooLate
from trunkline_speech.config import AudioFormat, Options
from trunkline_speech.ear import Recording
from trunkline_speech.events import AudioDropped, DropReason
from trunkline_speech.offline import Offline
from trunkline_speech.pieces import pieces
from trunkline_speech.recogniser import Device, Hearing, Recogniser, Samples
from trunkline_speech.transcript import Word

TALK = World(spoken("the quick brown fox jumps over | | the lazy dog and then | | | goes home"))
MONOLOGUE = World(
    spoken(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty and so on until nobody can hear it any more but me | but one two three four five "
        "six seven eight nine ten eleven twelve and that was that"
    )
)


class WorldVad:
    """Knows when somebody speaks."""

    def __init__(self, world: World, before: Callable[[], None]) -> None:
        self._world = world
        self._before = before
        self._position = 0

    def feed(self, frames: Samples) -> np.ndarray:
        self._before()
        found = [
            self._world.frame(self._position + index * FRAME).probability for index in range(len(frames))
        ]
        self._position += len(frames) * FRAME
        return np.array(found, np.float32)

    def reset(self) -> None:
        self._position = 0


class Recordings:
    """The recording of a world, and who listens to it."""

    def __init__(self, world: World, recogniser: WorldRecogniser | None = None) -> None:
        self.world = world
        self.recogniser = recogniser or WorldRecogniser(world)
        self.leases = 0
        self.dropped: tuple[AudioDropped, ...] = ()
        self.looked = 0
        self.look: Callable[[], None] = lambda: None
        self.offline = Offline(
            decode=self._decode,
            detect=lambda: WorldVad(world, self._look),
            choose=self._choose,
            tag=self._tag,
            limit_s=3600.0,
            at_once=3,
        )

    def _look(self) -> None:
        self.looked += 1
        self.look()

    def _decode(self, data: bytes, audio: AudioFormat, limit_s: float) -> Recording:
        if data == b"no audio":
            raise BadRequest("no audio", reason="AUDIO_UNDECODABLE")
        return Recording(np.concatenate([frame.samples for frame in self.world.frames()]), self.dropped)

    async def _tag(self, samples: Samples, words: Sequence[Word], most: int) -> tuple[Word, ...]:
        assert len(samples) == self.world.length
        if most == 9:
            raise RuntimeError
        return tuple(replace(word, speaker=1 + (word.start > at(2.5))) for word in words)

    @asynccontextmanager
    async def _choose(self, options: Options) -> AsyncIterator[Recogniser]:
        self.leases += 1
        try:
            yield self.recogniser
        finally:
            self.leases -= 1

    async def recognise(self, data: bytes = b"", **options: object):
        within_s = options.pop("within_s", None)
        async with asyncio.timeout(BOUND_S):
            return await self.offline.recognise(data, AudioFormat(), Options(**options), within_s=within_s)


async def test_every_piece_of_speech_is_a_segment():
    found = await Recordings(TALK).recognise()
    assert [each.text for each in found.segments] == [
        "the quick brown fox jumps over",
        "the lazy dog and then",
        "goes home",
    ]
    assert [(each.number, each.revision) for each in found.segments] == [(1, 1), (2, 1), (3, 1)]
    assert found.text == TALK.text
    assert (found.language, found.samples) == ("en", TALK.length)
    assert (found.model_version, found.digest, found.engine, found.device, found.degradations) == (
        "models/test/versions/1",
        "sha256:1",
        "openvino",
        "CPU",
        (),
    )
    assert [word for each in found.segments for word in each.words] == list(TALK.words)


async def test_a_recording_and_a_live_session_hear_the_same():
    live = await Here(MONOLOGUE).said()
    found = await Recordings(MONOLOGUE).recognise()
    assert found.text.split() == committed(live) == [word.text for word in MONOLOGUE.words]


async def test_silence_is_nothing():
    found = await Recordings(World((), length=at(20))).recognise()
    assert (found.segments, found.text, found.language, found.device) == ((), "", "", "CPU")


async def test_no_piece_is_longer_than_the_window_and_as_many_are_heard_at_once_as_there_are_pipelines():
    recogniser = WorldRecogniser(
        MONOLOGUE, window=at(3), devices=(Device("NPU", False, "gone", 9), Device("CPU", True, "", 2))
    )
    running, most = [0], [0]

    async def before(start: int, end: int, hearing: Hearing) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        for _ in range(3):
            await _turn()
        running[0] -= 1

    recogniser.before = before
    found = await Recordings(MONOLOGUE, recogniser).recognise()
    assert all(end - start <= at(3) for start, end, _ in recogniser.heard)
    assert most[0] == 2
    assert len(found.segments) >= 5
    assert all(before.end <= after.end for before, after in pairwise(found.segments))


async def test_speakers_are_told_apart_over_the_whole_recording():
    found = await Recordings(TALK).recognise(max_speakers=2)
    assert [each.speaker for each in found.segments] == [1, 2, 2]
    assert {word.speaker for word in found.segments[0].words} == {1}
    failed = await Recordings(TALK).recognise(max_speakers=9)
    assert failed.text == found.text and failed.degradations == ("speakers_unavailable",)


async def test_the_language_is_that_of_most_of_the_speech():
    recogniser = WorldRecogniser(TALK)

    async def before(start: int, end: int, hearing: Hearing) -> None:
        recogniser.language = "es" if start < at(2) else "en"

    recogniser.before = before
    found = await Recordings(TALK, recogniser).recognise()
    assert [each.language for each in found.segments] == ["es", "en", "en"]
    assert found.language == "en"


async def test_what_it_was_told_reaches_the_recogniser():
    recordings = Recordings(TALK)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await recordings.recognise(language="es", hints=("fox",), within_s=100.0)
    hearing = recordings.recogniser.heard[0][2]
    assert (hearing.language, hearing.hints) == ("es", ("fox",))
    assert before + 100 <= hearing.due <= loop.time() + 100
    await recordings.recognise()
    assert recordings.recogniser.heard[-1][2].due == float("inf")


async def test_what_the_recogniser_lacks_and_what_could_not_be_decoded_is_told_of():
    recogniser = WorldRecogniser(TALK, degradations=("hints_cut", "word_times_estimated"))
    recordings = Recordings(TALK, recogniser)
    recordings.dropped = (AudioDropped(1, 2, DropReason.UNDECODABLE),)
    assert (await recordings.recognise()).degradations == ("hints_cut", "audio_dropped")
    asked = await recordings.recognise(word_times=True)
    assert asked.degradations == ("hints_cut", "word_times_estimated", "audio_dropped")


async def test_a_pool_that_is_full_refuses_a_recording_at_once_but_not_in_its_middle():
    left = [1]

    async def before(start: int, end: int, hearing: Hearing) -> None:
        if left[0] and start > at(2):
            left[0] -= 1
            raise Overloaded("SHED", "full", retry_after=timedelta(milliseconds=1))

    in_the_middle = Recordings(TALK, WorldRecogniser(TALK, before=before))
    assert (await in_the_middle.recognise()).text == TALK.text

    async def full(start: int, end: int, hearing: Hearing) -> None:
        raise Overloaded("SHED", "full")

    with pytest.raises(Overloaded):
        await Recordings(TALK, WorldRecogniser(TALK, before=full)).recognise()


async def test_a_recording_that_comes_too_late_says_so():
    async def before(start: int, end: int, hearing: Hearing) -> None:
        raise TooLate("EXPIRED_IN_QUEUE", "late")

    with pytest.raises(TooLate):
        await Recordings(TALK, WorldRecogniser(TALK, before=before)).recognise()


async def test_what_is_no_audio_is_refused():
    recordings = Recordings(TALK)
    with pytest.raises(BadRequest):
        await recordings.recognise(b"no audio")
    assert recordings.leases == 0


async def test_cancelling_stops_the_detector():
    recordings = Recordings(World(spoken("hello there"), length=at(120)))
    looking, go = threading.Event(), threading.Event()

    def look() -> None:
        looking.set()
        go.wait(BOUND_S)

    recordings.look = look
    running = asyncio.create_task(recordings.recognise())
    await asyncio.to_thread(looking.wait, BOUND_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert recordings.leases == 0
    go.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # waits for the detector's thread
    assert recordings.looked == 1


async def test_cancelling_stops_the_recogniser():
    begun, cancelled = asyncio.Event(), []

    async def before(start: int, end: int, _: Hearing) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(start)
            raise

    recordings = Recordings(TALK, WorldRecogniser(TALK, before=before))
    tasks = asyncio.all_tasks()
    running = asyncio.create_task(recordings.recognise())
    async with asyncio.timeout(BOUND_S):
        await begun.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(cancelled) == 1
    assert asyncio.all_tasks() == tasks
    assert recordings.leases == 0


@st.composite
def speech(draw: st.DrawFn) -> World:
    words, now = [], 0.0
    for number in range(draw(st.integers(1, 30))):
        now += draw(st.sampled_from([0.0, 0.0, 0.1, 0.3, 0.7, 3.0]))
        length = draw(st.floats(0.1, 0.7))
        words.append(Word(f"w{number}", at(now), at(now + length)))
        now += length
    return World(tuple(words))


@given(speech(), st.integers(at(2), at(12)))
@settings(max_examples=settings.default.max_examples // 2)
def test_pieces_are_in_order_within_the_window_and_hold_all_speech(world, window):
    found = list(pieces(world.frames(), window))
    assert all(before.end <= after.start + FRAME * 10 for before, after in pairwise(found))
    assert all(before.start < after.start for before, after in pairwise(found))
    assert all(piece.end - piece.start <= window for piece in found)
    for position in range(0, world.length, FRAME):
        if world.speaks(position) and world.speaks(position + FRAME) and world.speaks(position - FRAME):
            assert any(piece.start <= position < piece.end for piece in found)


async def _turn() -> None:
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: passed.done() or passed.set_result(None))
    await passed


async def test_a_recording_too_many_is_refused_before_anybody_listens_to_it():
    recordings = Recordings(TALK)
    hearing, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def before(start: int, end: int, wanted: Hearing) -> None:
        hearing.release()
        await go_on.wait()

    recordings.recogniser.before = before
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(recordings.recognise()) for _ in range(3)]
        for _ in others:
            await hearing.acquire()
        looked = recordings.looked
        with pytest.raises(Overloaded) as refused:
            await recordings.recognise()
        assert (refused.value.reason, refused.value.retry_after is None) == ("SHED", False)
        assert recordings.looked == looked
        others.pop().cancel()
        go_on.set()
    assert [task.result().text for task in others] == [TALK.text] * 2
    assert (await recordings.recognise()).text == TALK.text
