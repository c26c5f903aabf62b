"""Live sessions on the model that ships: what comes back, whatever way the audio comes in."""

from __future__ import annotations

import asyncio

import numpy as np
import psycopg
import pytest
import pytest_asyncio
import speech_suite as parts
from speech_suite import BOUND_S, LINEAR16, MODEL, audio, config, finals, kinds, outline, said, text, update

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.errors import BadRequest, NotFound

pytestmark = pytest.mark.asyncio(loop_scope="module")
TWO = ("en-10", "en-06")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def speech(valkey, postgres, tmp_path_factory):
    name = "speech_streaming"
    with psycopg.connect(postgres.dsn_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    directory = tmp_path_factory.mktemp("speech")
    async with parts.opened(valkey.url, postgres.dsn_of(name), directory) as suite:
        yield await suite.start(pipelines=2)


async def test_a_session_says_when_speech_begins_what_it_hears_and_when_it_ends(speech):
    events = await said(speech, parts.sentences(*TWO))
    assert kinds(events)[:2] == ["started", "configured"]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert {event.provenance.model_version for event in events} == {f"{MODEL}/versions/1"}
    assert {event.provenance.device for event in events} == {"CPU"}
    assert not any(event.provenance.degradations for event in events)
    assert len(finals(events)) >= 2
    assert kinds(events).count("speech_started") == kinds(events).count("end_of_utterance") == 2
    assert kinds(events).count("interim") >= 2
    assert events[0].started.resume_token
    assert not events[0].started.resumed
    await speech.quiet()


async def test_what_is_stable_stays_and_revisions_grow(speech):
    stable: dict[int, str] = {}
    revisions: dict[int, int] = {}
    for event in await said(speech, parts.sentences("en-12", "en-08", pause_s=0.6)):
        segment = event.segment_final.segment if event.HasField("segment_final") else event.interim.segment
        if not segment.segment_id:
            continue
        number = segment.segment_id
        assert segment.text.startswith(stable.get(number, ""))
        assert segment.revision > revisions.get(number, 0)
        revisions[number] = segment.revision
        stable[number] = segment.text[: event.interim.stable_length]


@pytest.mark.parametrize("size", [1, 7, 999, 3200, 1 << 20])
async def test_however_the_audio_is_cut_the_events_are_the_same(speech, size):
    # A message a byte is slow, and says as much about half a second of speech.
    pcm = parts.sentences("en-10", pause_s=0.7)
    pcm = pcm[16_000:48_000] if size == 1 else pcm
    whole = await said(speech, pcm)
    cut = await said(speech, pcm, size=size)
    assert outline(cut) == outline(whole)


@pytest.mark.parametrize("codec", parts.CODECS)
async def test_a_stream_in_any_codec_is_cut_anywhere(speech, codec):
    data = parts.encoded(parts.sentences("en-10"), codec)
    first = config(audio_format=pb.AudioFormat())
    cut = await said(speech, data, first, size=333)
    assert outline(cut) == outline(await said(speech, data, first, size=1 << 20))
    assert text(cut)
    if codec in parts.LOSSLESS:
        assert text(cut) == text(await said(speech, parts.sentences("en-10")))


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 22_050, 32_000, 44_100, 48_000])
async def test_a_stream_at_any_rate_is_heard_to_its_end(speech, rate_hz):
    data = parts.encoded(parts.sentences("en-10"), "wav", rate_hz)
    events = await said(speech, data, config(audio_format=pb.AudioFormat()))
    assert text(events)
    exact = await said(speech, parts.sentences("en-10"))
    ends = [parts.position(each[-1].end_of_utterance.time) for each in (events, exact)]
    assert abs(ends[0] - ends[1]) < 32_000 * 0.2


async def test_half_closing_gets_everything_in_flight(speech):
    pcm = parts.sample("en-10").tobytes()[: -32_000 // 2]  # it ends in the middle of a word
    events = await said(speech, pcm)
    assert kinds(events)[-2:] == ["segment_final", "end_of_utterance"]
    assert text(events)


async def test_a_session_without_audio_ends_well(speech):
    events = await said(speech, b"")
    assert kinds(events) == ["started", "configured"]


async def test_silence_and_noise_say_nothing(speech):
    noise = np.random.default_rng(3).normal(0, 200, 3 * 16_000).astype(np.int16).tobytes()
    events = await said(speech, bytes(64_000) + noise)
    assert not text(events)


async def test_two_sessions_at_once_say_what_each_says_alone(speech):
    recordings = (parts.sentences("en-10", "en-06"), parts.sentences("en-01"))
    alone = [outline(await said(speech, pcm, size=3200)) for pcm in recordings]
    together = await asyncio.gather(*(said(speech, pcm, size=3200) for pcm in recordings))
    assert [outline(events) for events in together] == alone


async def test_words_have_times_on_the_sessions_clock_and_speakers(speech):
    events = await said(
        speech,
        parts.sentences(*TWO),
        config(options={"word_times": True, "max_speakers": 2}),
    )
    words = [word for segment in finals(events) for word in segment.words]
    times = [parts.position(time) for word in words for time in (word.start_time, word.end_time)]
    assert times == sorted(times)
    assert times[-1] <= len(parts.sentences(*TWO))
    assert words[0].speaker_tag == 1
    assert {word.speaker_tag for word in words} <= {1, 2}
    assert text(events) == " ".join(word.text for word in words)
    assert not any(segment.words for segment in finals(await said(speech, parts.sentences(*TWO))))


async def test_hints_that_do_not_fit_are_said_to_be_cut(speech):
    hints = [f"improbable vocabulary {number}" for number in range(100)]
    events = await said(speech, parts.sentences("en-10"), config(options={"hints": hints}))
    degraded = [event.degraded.degradation for event in events if event.HasField("degraded")]
    assert degraded == ["hints_cut"]
    assert "hints_cut" in events[-1].provenance.degradations


async def test_final_only_says_no_interim_results_and_the_same_text(speech):
    pcm = parts.sentences(*TWO)
    events = await said(speech, pcm, config(final_only=True))
    assert "interim" not in kinds(events)
    assert text(events) == text(await said(speech, pcm))


@pytest.mark.parametrize("preset", [value for value in pb.Preset.values() if value])
async def test_a_preset_is_in_force_and_said_so(speech, preset):
    pcm = parts.sentences("en-10", pause_s=2.5)
    events = await said(speech, pcm, config(preset=preset, voice_detector=pb.VOICE_DETECTOR_WEBRTC))
    told = events[1].configured
    assert told.options.language_code == "en"
    assert told.options.task == pb.TASK_TRANSCRIBE
    buffer_s = {pb.PRESET_DICTATION: 12}.get(preset, 6)
    assert told.parameters.buffer.seconds == buffer_s
    assert told.parameters.HasField("voice_threshold")
    assert text(events)


async def test_the_configuration_changes_while_it_runs(speech):
    one, two = parts.sentences("en-10"), parts.sentences("es-04")
    async with speech.stream(config()) as call, asyncio.timeout(BOUND_S):
        await call.write(audio(one))
        await call.write(
            update(
                language_code="es", parameters={"interval": {"seconds": 1}}, hints={"phrases": ["espejos"]}
            )
        )
        await call.write(audio(two))
        await call.done_writing()
        events = [event async for event in call]
    configured = [event.configured for event in events if event.HasField("configured")]
    assert [each.options.language_code for each in configured] == ["en", "es"]
    assert configured[1].parameters.interval.seconds == 1
    assert configured[1].parameters.buffer == configured[0].parameters.buffer
    assert list(configured[1].options.hints) == ["espejos"]
    assert abs(parts.position(configured[1].time) - len(one)) <= 1024
    before = [segment for segment in finals(events) if parts.position(segment.end_time) <= len(one)]
    after = [segment for segment in finals(events) if parts.position(segment.start_time) >= len(one) - 1024]
    assert {segment.language_code for segment in before} == {"en"}
    assert {segment.language_code for segment in after} == {"es"}
    assert before + after == finals(events)


async def test_samples_that_are_no_numbers_are_told_of_and_the_rest_is_heard(speech):
    samples = np.frombuffer(parts.sentences("en-10"), np.int16) / 32768
    samples = np.concatenate([samples, np.full(1600, np.nan), samples]).astype("<f4").tobytes()
    raw = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_FLOAT32, sample_rate_hertz=16_000)
    events = await said(speech, samples, config(audio_format=raw))
    (dropped,) = [event.audio_dropped for event in events if event.HasField("audio_dropped")]
    assert dropped.reason == pb.DROP_REASON_NOT_FINITE
    assert parts.position(dropped.duration) == 2 * 1600
    assert parts.position(dropped.start_time) == len(parts.sentences("en-10"))
    assert len(finals(events)) >= 2


WRONG = {
    "audio first": ([audio(b"12")], "FIELD_INVALID", "request"),
    "an update first": ([update(language_code="en")], "FIELD_INVALID", "request"),
    "nothing": ([], "FIELD_INVALID", "request"),
    "an empty message": ([pb.StreamingRecognizeRequest()], "FIELD_INVALID", "request"),
    "a second config": ([config(), config()], "FIELD_INVALID", "config"),
    "a resumption later": ([config(), parts.resume("x")], "FIELD_INVALID", "resume"),
    "no token": ([parts.resume("")], "FIELD_INVALID", "resume.resume_token"),
    "a parameter out of bounds": (
        [config(parameters={"interval": {"seconds": 99}})],
        "FIELD_INVALID",
        "parameters.interval",
    ),
    "a wrong update": (
        [config(), update(parameters={"buffer": {"seconds": 99}})],
        "FIELD_INVALID",
        "parameters.buffer",
    ),
    "a language nobody hears": ([config(options={"language_code": "tlh"})], "LANGUAGE_UNSUPPORTED", ""),
    "another language nobody hears": ([config(), update(language_code="tlh")], "LANGUAGE_UNSUPPORTED", ""),
    "a translation": ([config(options={"task": pb.TASK_TRANSLATE})], "TASK_UNSUPPORTED", "options.task"),
    "raw without a rate": (
        [config(audio_format=pb.AudioFormat(encoding=pb.AUDIO_ENCODING_FLOAT32))],
        "FIELD_INVALID",
        "audio_format.sample_rate_hertz",
    ),
    "no audio": (
        [config(audio_format=pb.AudioFormat()), audio(b"This is no audio, but a text. " * 4000)],
        "AUDIO_FORMAT_UNKNOWN",
        "",
    ),
    "a header and nothing behind it": (
        [config(audio_format=pb.AudioFormat()), audio(b"fLaC" + bytes(100_000))],
        "AUDIO_UNDECODABLE",
        "",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_ends_the_stream_with_field_and_remedy(speech, what):
    messages, reason, field = WRONG[what]
    async with speech.stream() as call, asyncio.timeout(BOUND_S):
        with pytest.raises(BadRequest) as refused:
            for message in messages:
                await call.write(message)
            await call.done_writing()
            async for _ in call:
                pass
    assert refused.value.reason == reason, refused.value
    assert refused.value.message
    if field:
        assert [each.field for each in refused.value.violations] == [field]
    await speech.quiet()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("models/none", "MODEL_UNKNOWN"),
        (f"{MODEL}/versions/99", "VERSION_UNKNOWN"),
        ("engines/none", "MODEL_UNKNOWN"),
    ],
)
async def test_a_session_with_what_nobody_has_is_not_found_and_named(speech, model, reason):
    with pytest.raises(NotFound) as missing:
        await said(speech, b"", config(options={"model": model}))
    assert (missing.value.reason, missing.value.resource_name) == (reason, model)
    await speech.quiet()


async def test_a_client_that_goes_away_after_any_event_leaves_nothing(speech):
    pcm = parts.sentences("en-10", pause_s=0.7)
    events = await said(speech, pcm)
    await speech.quiet()
    before = parts.left_over()
    for count in range(len(events) + 1):
        async with speech.stream(config()) as call, asyncio.timeout(BOUND_S):
            sending = asyncio.create_task(parts.sent(call, pcm, 3200))
            for _ in range(count):
                await call.read()
            call.cancel()
            await asyncio.wait([sending])
            sending.cancelled() or sending.exception()
        await speech.quiet()
    await parts.until(lambda: not parts.left_over() - before)
    assert outline(await said(speech, pcm)) == outline(events)


async def test_a_format_is_that_of_the_stream_alone(speech):
    events = await said(
        speech,
        np.repeat(np.frombuffer(parts.sentences("en-10"), np.int16), 2).tobytes(),
        config(audio_format=pb.AudioFormat(encoding=LINEAR16.encoding, sample_rate_hertz=16_000, channels=2)),
    )
    assert outline(events) == outline(await said(speech, parts.sentences("en-10")))
