"""Sessions that outlive streams, replicas, devices and stores; and those that are refused."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from functools import partial

import psycopg
import pytest
import pytest_asyncio
import speech_suite as parts
from redis.asyncio import Redis
from speech_suite import BOUND_S, audio, config, finals, kinds, outline, resume, said, seconds, text, until

import trunkline_speech.__main__ as main
from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.errors import BadRequest, Conflict, NotFound, Overloaded, Unavailable
from trunkline_local.embedded import Valkey
from trunkline_speech import whisper
from trunkline_valkey import keeper

pytestmark = pytest.mark.asyncio(loop_scope="module")
PCM = parts.sentences("en-10", "en-06")
TWO_SECONDS = 64_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def suite(valkey, postgres, tmp_path_factory):
    name = "speech_recovery"
    with psycopg.connect(postgres.dsn_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    directory = tmp_path_factory.mktemp("speech")
    async with parts.opened(valkey.url, postgres.dsn_of(name), directory) as suite:
        await suite.start("one")
        await suite.start("two")
        yield suite


@pytest.fixture
def one(suite):
    return suite.replicas["one"]


@pytest.fixture
def two(suite):
    return suite.replicas["two"]


@asynccontextmanager
async def speaking(replica, *first, chunk=3200, pcm=PCM):
    """A stream, into which somebody speaks."""
    async with replica.stream(*first) as call, asyncio.timeout(BOUND_S):
        sending = asyncio.create_task(parts.sent(call, pcm, chunk))
        try:
            yield call
        finally:
            call.cancel()
            sending.cancel()
            await asyncio.wait([sending])
            sending.cancelled() or sending.exception()


async def taken_up(replica, token, last, pcm=PCM):
    """All that a resumed session says, of which the audio is sent from where it asks for."""
    async with replica.stream(resume(token, last)) as call, asyncio.timeout(BOUND_S):
        started = await call.read()
        start = parts.position(started.started.audio_start)
        sending = asyncio.create_task(parts.sent(call, pcm[start:], 3200))
        try:
            return [started, *[event async for event in call]]
        finally:
            sending.cancel()
            await asyncio.wait([sending])


def whole_text(events):
    """The final text of a session, each segment as it was said last."""
    by_number = {segment.segment_id: segment.text for segment in finals(events)}
    return [by_number[number] for number in sorted(by_number)]


async def test_after_a_break_at_any_event_another_replica_says_every_word_once(one, two):
    undisturbed = await said(one, PCM, size=3200)
    for count in range(1, len(undisturbed) + 1):
        async with speaking(one, config()) as call:
            events = [await call.read() for _ in range(count)]
        rest = await taken_up(two, events[0].started.resume_token, events[-1].sequence)
        assert rest[0].started.resumed
        assert rest[0].sequence == events[-1].sequence
        numbers = [event.sequence for event in events + rest[1:]]
        assert numbers == sorted(set(numbers))
        assert parts.committed(events) == parts.committed(events + rest)[: len(parts.committed(events))]
        said_twice = [segment.segment_id for segment in finals(events) + finals(rest)]
        assert len(said_twice) == len(set(said_twice))
        assert whole_text(events + rest) == whole_text(undisturbed), count


async def test_a_session_that_broke_off_again_and_again_loses_no_word(one, two):
    undisturbed = await said(one, PCM, size=3200)
    events, replicas = [], itertools.cycle((two, one))
    async with speaking(one, config()) as call:
        events = [await call.read() for _ in range(3)]
    token = events[0].started.resume_token
    for _ in range(4):
        first = resume(token, events[-1].sequence)
        async with next(replicas).stream(first) as call, asyncio.timeout(BOUND_S):
            start = parts.position((await call.read()).started.audio_start)
            await call.write(audio(PCM[start : start + TWO_SECONDS]))
            events.append(await call.read())
    events += await taken_up(two, token, events[-1].sequence)
    assert whole_text(events) == whole_text(undisturbed)


async def test_who_got_everything_can_still_ask_for_what_was_final(one, two):
    events = await said(one, PCM)
    again = await taken_up(two, events[0].started.resume_token, 0)
    assert whole_text(again) == whole_text(events)


async def test_what_a_client_has_no_more_is_told_as_dropped(one):
    async with speaking(one, config()) as call:
        events = [await call.read() for _ in range(3)]
    token = events[0].started.resume_token
    first = resume(token, events[-1].sequence, audio_start=seconds(3))
    again = await said(one, PCM[96_000:], first)
    dropped = [event.audio_dropped for event in again if event.HasField("audio_dropped")]
    assert [each.reason for each in dropped] == [pb.DROP_REASON_NOT_RESENT]
    assert parts.position(dropped[0].start_time) + parts.position(dropped[0].duration) == 96_000
    assert text(again)


async def test_a_resumed_session_may_bring_its_audio_in_another_format(one, two):
    async with speaking(one, config()) as call:
        events = [await call.read() for _ in range(2)]
    token = events[0].started.resume_token
    again = await said(
        two,
        parts.encoded(PCM, "flac"),
        resume(token, events[-1].sequence, audio_start=seconds(0), audio_format=pb.AudioFormat()),
    )
    assert whole_text(again) == whole_text(await said(one, PCM))


@pytest.mark.parametrize("token", ["nonsense", "x" * 128])
async def test_a_token_that_nobody_knows_is_refused(one, token):
    with pytest.raises(NotFound) as missing:
        await said(one, b"", resume(token))
    assert missing.value.reason == "SESSION_UNKNOWN"
    await one.quiet()


async def test_a_session_is_forgotten_with_its_minute(suite, one, valkey):
    events = await said(one, parts.silence(0.1).tobytes())
    await one.quiet()
    async with Redis.from_url(valkey.url) as store:
        lives = [await store.pttl(key) async for key in store.scan_iter("*speech:*")]
        assert lives
        assert all(0 < life <= 60_000 for life in lives)
        await store.flushdb()
    with pytest.raises(NotFound, match="SESSION_UNKNOWN"):
        await said(one, b"", resume(events[0].started.resume_token, 1))


async def test_the_last_event_may_not_be_one_that_was_never_said(one):
    events = await said(one, b"")
    with pytest.raises(NotFound, match="SESSION_UNKNOWN"):
        await said(one, b"", resume(events[0].started.resume_token, 10**6))
    with pytest.raises(BadRequest):
        await said(one, b"", resume(events[0].started.resume_token, -1))


async def test_a_session_that_was_resumed_elsewhere_ends_where_it_was(one, two):
    async with one.stream(config()) as call, asyncio.timeout(BOUND_S):
        token = (await call.read()).started.resume_token
        await taken_up(two, token, 1)
        with pytest.raises(Conflict) as moved:
            await parts.sent(call, PCM)
            async for _ in call:
                pass
    assert moved.value.reason == "SESSION_MOVED"
    await one.quiet()


async def test_a_replica_that_stops_says_how_to_go_on_elsewhere(suite, one, two):
    undisturbed = await said(one, PCM, size=3200)
    leaving = await suite.start("leaving")
    async with leaving.stream(config()) as call, asyncio.timeout(BOUND_S):
        await call.write(audio(PCM[:TWO_SECONDS]))
        events = [await call.read() for _ in range(3)]
        stopping = asyncio.create_task(suite.stop("leaving"))
        events += [event async for event in call]
        await stopping
    last = events[-1]
    assert kinds(events)[-1] == "draining"
    assert last.draining.resume_token == events[0].started.resume_token
    assert parts.position(last.draining.audio_start) <= TWO_SECONDS
    assert leaving.sessions.live == 0
    rest = await taken_up(two, last.draining.resume_token, last.sequence)
    assert rest[0].started.audio_start == last.draining.audio_start
    assert whole_text(events + rest) == whole_text(undisturbed)


class Mortal:
    """A pipeline of the real engine on a device that can die."""

    def __init__(self, alive, device, directory, facts):
        if device not in alive:
            raise whisper.CannotOpen("there is none")
        self._alive, self._device = alive, device
        self._pipeline = whisper.OpenVinoPipeline(directory, "CPU", facts, 1)

    def run(self, work, stopped):
        if not self._alive[self._device]:
            raise RuntimeError("Infer request failed at /secret/plugin.cpp")
        return self._pipeline.run(work, stopped)

    def close(self):
        self._pipeline.close()


async def test_a_device_that_dies_meanwhile_is_told_of_and_no_word_is_lost(suite, one, monkeypatch):
    alive = {"GPU": True, "CPU": True}
    opens = lambda directory, facts: lambda device: Mortal(alive, device, directory, facts)  # noqa: E731
    monkeypatch.setattr(main, "WhisperLoader", partial(main.WhisperLoader, opens=opens))
    mortal = await suite.start("mortal")
    async with mortal.stream(config()) as call, asyncio.timeout(BOUND_S):
        await call.write(audio(PCM[:TWO_SECONDS]))
        events = []
        while not events or not events[-1].HasField("interim"):
            events.append(await call.read())
        assert {event.provenance.device for event in events} == {"GPU"}
        alive["GPU"] = False
        await parts.sent(call, PCM[TWO_SECONDS:])
        events += [event async for event in call]
    degraded = [event.degraded for event in events if event.HasField("degraded")]
    assert [(each.degradation, each.active) for each in degraded] == [("device_lost", True)]
    assert degraded[0].message
    assert events[-1].provenance.device == "CPU"
    assert "device_lost" in events[-1].provenance.degradations
    assert whole_text(events) == whole_text(await said(one, PCM))
    listed = (await mortal.stub.ListModels(pb.ListModelsRequest())).models
    (devices,) = [each.devices for each in listed if each.engine == "openvino"]
    used = {device.name: device for device in devices}
    assert [name for name in used if used[name].active] == ["CPU"]
    assert used["GPU"].error
    assert "secret" not in used["GPU"].error
    alive["CPU"] = False
    with pytest.raises(Unavailable) as lost:
        await mortal.recognize(PCM, audio_format=parts.LINEAR16, options={"model": parts.MODEL})
    assert lost.value.reason == "DEVICE_LOST"
    assert not mortal.server.ready()
    await suite.stop("mortal")


async def test_over_capacity_a_session_is_refused_with_a_time_to_come_back(suite):
    small = await suite.start("small", max_sessions=1)
    async with small.stream(config()) as call, asyncio.timeout(BOUND_S):
        await call.read()
        with pytest.raises(Overloaded) as full:
            await said(small, b"")
        assert full.value.reason == "SHED"
        assert full.value.retry_after.total_seconds() > 0
        call.cancel()
    await small.quiet()
    assert kinds(await said(small, b"")) == ["started", "configured"]
    await suite.stop("small")


async def test_without_a_store_sessions_run_and_cannot_be_resumed(suite):
    alone = await suite.start("alone", redis_url="")
    events = await said(alone, PCM)
    assert text(events)
    assert not events[0].started.resume_token
    assert "resume_unavailable" in events[-1].provenance.degradations
    with pytest.raises(NotFound, match="SESSION_UNKNOWN"):
        await said(alone, b"", resume("x" * 32))
    await suite.stop("alone")


async def test_a_store_that_goes_and_comes_back_costs_no_word_and_is_told_of(
    suite, one, tmp_path, monkeypatch
):
    monkeypatch.setattr(keeper, "RETRY_S", 0.01)
    store = Valkey(tmp_path / "valkey", persistent=False)
    await store.start()
    replica = await suite.start("stored", redis_url=store.url)
    try:
        async with replica.stream(config()) as call, asyncio.timeout(BOUND_S):
            events = [await call.read() for _ in range(2)]
            token = events[0].started.resume_token
            await store.stop()
            await call.write(audio(PCM[:TWO_SECONDS]))
            while not (events[-1].HasField("degraded")):
                events.append(await call.read())
            assert events[-1].degraded.degradation == "resume_unavailable"
            with pytest.raises(Unavailable) as down:
                await said(replica, b"", resume(token, 1))
            assert down.value.reason == "STORE_UNREACHABLE"
            await parts.sent(call, PCM[TWO_SECONDS:])
            events += [event async for event in call]
        assert whole_text(events) == whole_text(await said(one, PCM))
        assert "resume_unavailable" in events[-1].provenance.degradations
    finally:
        await suite.stop("stored")


async def test_a_call_that_is_cancelled_leaves_the_recogniser_free(one):
    alone = outline(await said(one, PCM))
    for _ in range(5):
        call = one.stub.Recognize(
            pb.RecognizeRequest(audio=PCM, audio_format=parts.LINEAR16), timeout=BOUND_S
        )
        await until(lambda: one.server.admission.running)
        call.cancel()
        await until(lambda: not one.server.admission.running)
    assert outline(await said(one, PCM)) == alone
