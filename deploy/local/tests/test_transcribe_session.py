"""A session over a stream that breaks anywhere: every word once, all of the audio."""

import asyncio
import random

import pytest
from conditions import tick, until
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_speech import RATE_HZ, Said, duration, serving

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline.speech.v1.speech_pb2_grpc import SpeechServiceStub
from trunkline_hop.errors import Internal, Overloaded
from trunkline_local.door import open_channel
from trunkline_local.transcribe_audio import NoAudio
from trunkline_local.transcribe_session import (
    PATIENCE_S,
    Session,
    SessionLost,
    Tape,
    samples,
    seconds,
)

SCRIPT = (
    Said("where is the station", 0.5, 2.0),
    Said("turn left at the church", 3.0, 4.5),
    Said("thank you", 6.0, 7.0),
)
LENGTH = 8 * RATE_HZ
AUDIO = random.Random(7).randbytes(2 * LENGTH)
PIECE = 2 * 1600
FORMAT = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RATE_HZ, channels=1)
CONFIG = pb.StreamingConfig(audio_format=FORMAT)


async def pieces(size=PIECE):
    for start in range(0, len(AUDIO), size):
        yield AUDIO[start : start + size]


async def no_wait(seconds):
    await tick(0)


class Heard:
    """What a client was told."""

    def __init__(self):
        self.events = []
        self.breaks = []

    def finals(self):
        return [event.segment_final.segment.text for event in self.events if event.HasField("segment_final")]

    def kinds(self):
        return [event.WhichOneof("event") for event in self.events]


async def listen(target, audio=None, **options):
    heard = Heard()
    async with asyncio.timeout(30), open_channel(target) as channel:
        session = Session(
            SpeechServiceStub(channel),
            CONFIG,
            heard.events.append,
            heard.breaks.append,
            **{"sleep": no_wait} | options,
        )
        await session.run(audio if audio is not None else pieces())
    return heard


async def test_a_session_that_nothing_happens_to_is_told_everything_in_order(speech):
    speech.script = SCRIPT
    heard = await listen(speech.target)
    assert heard.finals() == [said.text for said in SCRIPT]
    assert heard.kinds()[:2] == ["started", "configured"]
    assert heard.kinds().count("interim") >= 3
    assert [event.sequence for event in heard.events] == sorted({event.sequence for event in heard.events})
    assert speech.audio == AUDIO
    assert speech.configs == [CONFIG]
    assert heard.breaks == []


@settings(max_examples=15)
@given(
    breaks=st.lists(st.integers(1, LENGTH), max_size=3),
    drains=st.lists(st.integers(1, LENGTH), max_size=2),
    loses=st.sets(st.integers(1, len(SCRIPT)), max_size=3),
    size=st.sampled_from([PIECE, 2 * 16_000, 2 * 4_001]),
)
def test_wherever_streams_break_every_segment_is_told_once_and_no_audio_is_missing(
    breaks, drains, loses, size
):
    async def check():
        async with serving() as speech:
            speech.script, speech.breaks, speech.drains, speech.loses = SCRIPT, breaks, drains, loses
            heard = await listen(speech.target, pieces(size))
            assert heard.finals() == [said.text for said in SCRIPT]
            assert speech.audio == AUDIO
            assert speech.resumed == len(heard.breaks)

    asyncio.run(check())


async def test_a_final_that_was_lost_on_its_way_is_told_after_the_resumption(speech):
    speech.script, speech.loses = SCRIPT, {1, 3}
    heard = await listen(speech.target)
    assert heard.finals() == [said.text for said in SCRIPT]
    assert speech.resumed == 2


async def test_a_server_that_is_about_to_go_is_left_without_a_word_lost(speech):
    speech.script, speech.drains = SCRIPT, [3 * RATE_HZ, 6 * RATE_HZ]
    heard = await listen(speech.target)
    assert heard.finals() == [said.text for said in SCRIPT]
    assert heard.kinds().count("draining") == 2
    assert heard.breaks == ["the server is about to go"] * 2


async def test_audio_that_was_heard_is_not_kept(speech):
    speech.script = SCRIPT
    tape = Tape()
    await tape.record(pieces())
    assert (tape.start, tape.end) == (0, LENGTH)
    while await tape.read(lambda: True):
        pass
    tape.forget(samples(duration(5 * RATE_HZ)))
    assert (tape.start, tape.end) == (5 * RATE_HZ, LENGTH)
    tape.rewind(5 * RATE_HZ)
    assert await tape.read(lambda: True) == AUDIO[10 * RATE_HZ : 10 * RATE_HZ + 64 * 1024]
    with pytest.raises(SessionLost, match=r"4\.99 s"):
        tape.rewind(round(4.99 * RATE_HZ))


async def test_a_recording_is_read_no_further_ahead_than_it_is_sent():
    tape = Tape(ahead_s=1.0)
    recording = asyncio.create_task(tape.record(pieces()))
    await until(lambda: tape.end >= RATE_HZ)
    await tick()
    assert tape.end <= 1.1 * RATE_HZ
    while await tape.read(lambda: True):
        pass
    await recording
    assert tape.end == LENGTH


async def test_a_session_that_nobody_takes_up_is_given_up_after_a_minute_and_says_how_far_it_came(speech):
    speech.script, speech.breaks = SCRIPT, [5 * RATE_HZ]
    time_s, waits = [0.0], []

    async def sleep(seconds):
        if not waits:
            speech.refuses = [Overloaded("SHED", "too many sessions") for _ in range(1000)]
        waits.append(seconds)
        time_s[0] += seconds

    with pytest.raises(SessionLost, match=r"too many sessions.*complete up to 4\.5 s"):
        await listen(speech.target, sleep=sleep, now=lambda: time_s[0])
    assert PATIENCE_S < sum(waits) < PATIENCE_S + 5
    assert waits == sorted(waits)


async def test_a_session_that_the_server_forgot_is_lost_at_once(speech):
    speech.script, speech.breaks, speech.forgets = SCRIPT, [5 * RATE_HZ], True
    with pytest.raises(SessionLost, match="no such session"):
        await listen(speech.target)


async def test_a_refusal_before_there_is_a_session_is_final(speech):
    speech.refuses = [Overloaded("SHED", "too many sessions")]
    with pytest.raises(Overloaded, match="too many sessions"):
        await listen(speech.target)
    speech.refuses = [Internal("INTERNAL", "a defect")]
    with pytest.raises(Internal):
        await listen(speech.target)


async def test_a_refusal_keeps_its_reason_however_soon_it_comes(speech):
    for _ in range(40):
        # The transport loses the reason now and then, when it is still writing: then it is asked for again.
        speech.refuses = [Overloaded("SHED", "too many sessions") for _ in range(5)]
        with pytest.raises(Overloaded, match="too many sessions"):
            await listen(speech.target)


async def test_what_was_said_before_the_source_failed_is_told_before_its_error(speech):
    speech.script = SCRIPT[:1]

    async def torn():
        yield AUDIO[: 2 * 4 * RATE_HZ]
        raise NoAudio("the disc is gone")

    heard = Heard()
    async with asyncio.timeout(30), open_channel(speech.target) as channel:
        session = Session(SpeechServiceStub(channel), CONFIG, heard.events.append, heard.breaks.append)
        with pytest.raises(NoAudio, match="the disc is gone"):
            await session.run(torn())
    assert heard.finals() == [SCRIPT[0].text]


async def test_a_session_that_is_cancelled_leaves_no_task(speech):
    speech.script = SCRIPT
    begun = asyncio.Event()

    async def endless():
        yield AUDIO
        await asyncio.Event().wait()

    async with open_channel(speech.target) as channel:
        session = Session(
            SpeechServiceStub(channel), CONFIG, lambda event: begun.set(), lambda why: None, sleep=no_wait
        )
        running = asyncio.create_task(session.run(endless()), name="session")
        async with asyncio.timeout(30):
            await begun.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        await until(
            lambda: not any("transcribe_session" in repr(task.get_coro()) for task in asyncio.all_tasks())
        )


def test_durations_are_exact_samples():
    for count in (0, 1, 7, 16_001, 3600 * RATE_HZ + 13):
        assert samples(duration(count)) == count
    assert seconds(duration(RATE_HZ * 3 // 2)) == 1.5
