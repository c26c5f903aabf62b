"""The intake of a session: frames in order, whatever happens."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trunkline_hop.errors import BadRequest
from trunkline_speech import vad
from trunkline_speech.config import AudioFormat, Detector, Encoding
from trunkline_speech.ear import STEP, Ear, Frame, Heard, whole
from trunkline_speech.events import AudioDropped, DropReason
from trunkline_speech.vad import FRAME

AUDIO = Path(__file__).parent / "audio"
WAV = (AUDIO / "sentence.wav").read_bytes()
OPUS = (AUDIO / "sentence-opus.ogg").read_bytes()
CONTAINER = AudioFormat()
FLOATS = AudioFormat(Encoding.FLOAT32, 16_000, 1)


async def take(heard: AsyncIterator[Heard]) -> list[Heard]:
    return [one async for one in heard]


async def listen(
    pieces: Iterable[bytes], audio: AudioFormat = CONTAINER, start: int = 0, **options: Detector
) -> list[Heard]:
    ear = Ear(audio, start=start, **options)
    try:
        heard = [one for piece in pieces for one in await take(ear.hear(piece))]
        return heard + await take(ear.finish())
    finally:
        await ear.close()


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


def plain(heard: list[Heard]) -> list[object]:
    """Comparable."""
    return [
        (one.position, one.probability, one.samples.tobytes()) if isinstance(one, Frame) else one
        for one in heard
    ]


def frames(heard: list[Heard]) -> list[Frame]:
    return [one for one in heard if isinstance(one, Frame)]


async def test_frames_follow_each_other_from_the_start_given() -> None:
    heard = frames(await listen([WAV], start=80_000))
    assert [frame.position for frame in heard] == list(range(80_000, 80_000 + 93 * FRAME, FRAME))
    truth = whole(WAV, CONTAINER, 60).samples
    assert np.array_equal(np.concatenate([frame.samples for frame in heard])[: len(truth)], truth)
    assert [frame.probability for frame in heard] == vad.probabilities(truth).tolist()


async def test_the_end_is_known_although_the_last_frame_is_filled_up() -> None:
    ear = Ear(FLOATS, start=100)
    await take(ear.hear(np.zeros(700, "<f4").tobytes()))
    assert ear.heard == 100 + FRAME
    (last,) = frames(await take(ear.finish()))
    assert (last.position, len(last.samples), ear.heard) == (100 + FRAME, FRAME, 800)
    await ear.close()


@pytest.mark.parametrize("size", [1, 640, 1 << 20])
@pytest.mark.parametrize("detector", list(Detector))
async def test_the_size_of_messages_changes_nothing(size: int, detector: Detector) -> None:
    data = OPUS if size > 1 else OPUS[:5_000]
    pieces = cut(data, [size] * (len(data) // size))
    assert plain(await listen(pieces, detector=detector)) == plain(await listen([data], detector=detector))


@example(rate_hz=22_050, sizes=[4], bad=[0, 1])
@settings(max_examples=15)
@given(
    rate_hz=st.sampled_from([8_000, 11_025, 22_050, 44_100, 48_000]),
    sizes=st.lists(st.integers(0, 9_000), max_size=30),
    bad=st.lists(st.integers(0, 19_999), max_size=20),
)
async def test_nor_for_raw_samples_of_which_some_are_no_numbers(
    rate_hz: int, sizes: list[int], bad: list[int]
) -> None:
    samples = np.random.default_rng(rate_hz).normal(0, 0.1, 20_000).astype("<f4")
    samples[bad] = np.nan
    audio = AudioFormat(Encoding.FLOAT32, rate_hz, 1)
    data = samples.tobytes()
    assert plain(await listen(cut(data, sizes), audio)) == plain(await listen([data], audio))


async def test_samples_that_are_no_numbers_are_silence_and_told_of_in_order() -> None:
    samples = np.full(16_000, 0.25, "<f4")
    samples[4_000:4_800] = np.inf
    heard = await listen([samples.tobytes()], FLOATS, start=16_000)
    (drop,) = (one for one in heard if isinstance(one, AudioDropped))
    assert drop == AudioDropped(20_000, 800, DropReason.NOT_FINITE)
    after = heard[heard.index(drop) + 1]
    assert isinstance(after, Frame)
    assert after.position <= 20_800 + 1_600 < after.position + FRAME
    everything = np.concatenate([frame.samples for frame in frames(heard)])
    assert np.all(everything[4_000:4_800] == 0.0)


async def test_two_sessions_in_turns_hear_what_each_hears_alone() -> None:
    other = np.random.default_rng(3).normal(0, 0.3, len(WAV) // 2).astype("<f4").tobytes()
    first, second = Ear(CONTAINER), Ear(FLOATS)
    said: tuple[list[Heard], list[Heard]] = ([], [])
    for one, two in zip(cut(WAV, [3_000] * 30), cut(other, [6_000] * 30), strict=True):
        mine, its = await asyncio.gather(take(first.hear(one)), take(second.hear(two)))
        said[0].extend(mine)
        said[1].extend(its)
    said[0].extend(await take(first.finish()))
    said[1].extend(await take(second.finish()))
    await first.close()
    await second.close()
    assert plain(said[0]) == plain(await listen([WAV]))
    assert plain(said[1]) == plain(await listen([other], FLOATS))


async def test_a_large_message_is_decoded_no_further_ahead_than_a_step() -> None:
    ear = Ear(FLOATS)
    hour = np.zeros(3_600 * 16_000 // 60, "<f4").tobytes()
    async for _ in ear.hear(hour):
        assert len(ear._ready) <= STEP
    await ear.close()


@pytest.mark.parametrize("name", ["sentence.wav", "sentence.mp3"])
async def test_memory_is_flat_however_long_it_runs(name: str) -> None:
    """Five minutes, after one to warm up."""
    data = (AUDIO / name).read_bytes()
    some_seconds = data if name.endswith("mp3") else data[44:]
    ear = Ear(
        AudioFormat() if name.endswith("mp3") else AudioFormat(Encoding.LINEAR16, 16_000, 1), Detector.WEBRTC
    )
    held = []
    tracemalloc.start()
    try:
        for _ in range(6):
            for _ in range(20):
                async for one in ear.hear(some_seconds):
                    assert one is not None
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        await ear.close()
    assert max(held[1:]) - held[0] < 64 << 10


async def test_breaking_off_loses_nothing() -> None:
    ear, said = Ear(CONTAINER), []
    for piece in cut(WAV, [20_000] * 3):
        hearing = ear.hear(piece)
        async for one in hearing:
            said.append(one)
            break
        await hearing.aclose()
    said += await take(ear.finish())
    await ear.close()
    assert plain(said) == plain(await listen([WAV]))


class Gate(ThreadPoolExecutor):
    """Threads that wait until told."""

    def __init__(self) -> None:
        super().__init__(1)
        self.opened = threading.Event()
        self.entered = threading.Event()

    def submit(self, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        def wait() -> Any:
            self.entered.set()
            self.opened.wait()
            return work(*args, **options)

        return super().submit(wait)


@pytest.mark.parametrize("data", [WAV, OPUS], ids=["wav", "opus"])
async def test_cancelled_in_the_middle_it_goes_on_where_it_was(data: bytes) -> None:
    with Gate() as gate:
        ear, said = Ear(CONTAINER, executor=gate), []

        async def hear() -> None:
            async for one in ear.hear(data):
                said.append(one)

        hearing = asyncio.create_task(hear())
        await asyncio.to_thread(gate.entered.wait)
        hearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hearing
        gate.opened.set()
        said += await take(ear.finish())
        await ear.close()
    assert plain(said) == plain(await listen([data]))


async def test_closed_in_the_middle_it_leaves_no_thread_and_no_work() -> None:
    with Gate() as gate:
        ear = Ear(CONTAINER, executor=gate)
        hearing = asyncio.create_task(take(ear.hear(OPUS)))
        await asyncio.to_thread(gate.entered.wait)
        hearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hearing
        closing = asyncio.create_task(ear.close())
        gate.opened.set()
        await closing
        await ear.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode-")]


async def test_what_came_before_damage_is_heard_before_the_fault() -> None:
    data = OPUS[:200] + b"\0" * 100
    ear = Ear(CONTAINER)
    await take(ear.hear(data))
    with pytest.raises(BadRequest) as refused:
        await take(ear.finish())
    assert refused.value.reason == "AUDIO_UNDECODABLE"
    with pytest.raises(BadRequest):
        await take(ear.hear(b"more"))
    await ear.close()


async def test_no_audio_at_all_is_no_fault_of_a_stream() -> None:
    assert await listen([]) == []
    assert await listen([b"", b""], FLOATS) == []


def test_an_impossible_format_is_refused_at_once() -> None:
    with pytest.raises(BadRequest) as refused:
        Ear(AudioFormat(Encoding.LINEAR16, 4_000, 1))
    assert refused.value.reason == "FIELD_INVALID"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (np.array([0.1, np.nan], "<f4").tobytes(), "FIELD_INVALID"),
        (np.array([np.inf] * 20_000, "<f4").tobytes(), "FIELD_INVALID"),
        (b"\0\0\0\0\0", "AUDIO_UNDECODABLE"),
        (b"", "AUDIO_UNDECODABLE"),
        (b"\0" * 4 * 16_000 * 61, "AUDIO_TOO_LONG"),
    ],
    ids=["nan", "infinity", "half a sample", "empty", "a minute and a second"],
)
def test_a_recording_that_cannot_be_heard_whole_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadRequest) as refused:
        whole(data, FLOATS, 60)
    assert refused.value.reason == reason
    assert [violation.field for violation in refused.value.violations] == ["audio"]
