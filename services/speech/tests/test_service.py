"""The service on the model that ships, between a real registry and a real session store: calls of one answer."""

from __future__ import annotations

import asyncio
import io
import json
import re
import struct

import av
import jiwer
import numpy as np
import psycopg
import pytest
import pytest_asyncio
import speech_suite as parts
from speech_suite import BOUND_S, LINEAR16, MODEL, SPHINX

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.errors import BadRequest, NotAllowed, NotFound, TooLate, Unavailable

pytestmark = pytest.mark.asyncio(loop_scope="module")
ENGLISH = pb.RecognitionOptions(language_code="en")
SENTENCE = "en-07"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def suite(valkey, postgres, tmp_path_factory):
    async with parts.opened(valkey.url, fresh(postgres), tmp_path_factory.mktemp("speech")) as suite:
        await suite.start()
        yield suite


def fresh(postgres):
    name = "speech_service"
    with psycopg.connect(postgres.dsn_of("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.dsn_of(name)


@pytest.fixture
def speech(suite):
    return suite.replicas["speech"]


def words(text):
    return re.sub(r"[^\w' ]", "", text.lower())


async def test_a_recording_is_recognised_and_the_answer_says_by_what(speech):
    call = speech.stub.Recognize(
        pb.RecognizeRequest(audio=parts.encoded(parts.sentences(SENTENCE), "flac"), options=ENGLISH),
        timeout=BOUND_S,
    )
    reply, trailers = await call, dict(await call.trailing_metadata())
    assert reply.text == " ".join(segment.text for segment in reply.segments)
    assert reply.text
    assert reply.language_code == "en"
    assert parts.position(reply.audio_duration) == len(parts.sentences(SENTENCE))
    assert reply.provenance.model_version == f"{MODEL}/versions/1"
    assert (reply.provenance.engine, reply.provenance.device) == ("openvino", "CPU")
    assert re.fullmatch("(sha256:)?[0-9a-f]{64}", reply.provenance.digest)
    assert trailers["x-trunkline-model-version"] == f"{MODEL}/versions/1"
    ids = [segment.segment_id for segment in reply.segments]
    assert ids == list(range(1, len(ids) + 1))


async def test_most_of_what_is_said_in_the_samples_is_understood(speech):
    names = ["en-01", "en-02", "en-06", "en-10"]
    heard = [
        (await speech.recognize((parts.SAMPLES / f"{name}.ogg").read_bytes(), options=ENGLISH)).text
        for name in names
    ]
    truth = [parts.json_of(name)["text"] for name in names]
    assert jiwer.wer([words(each) for each in truth], [words(each) for each in heard]) < 0.5, heard


async def test_a_recording_without_loss_gives_the_same_answer_in_every_codec(speech):
    pcm = parts.sentences(SENTENCE)
    floats = (np.frombuffer(pcm, np.int16) / 32768).astype("<f4")
    stereo = np.repeat(np.frombuffer(pcm, np.int16), 2).tobytes()
    raw32 = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_FLOAT32, sample_rate_hertz=16_000, channels=1)
    two = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000, channels=2)
    answers = [
        await speech.recognize(pcm, audio_format=LINEAR16, options=ENGLISH),
        await speech.recognize(floats.tobytes(), audio_format=raw32, options=ENGLISH),
        await speech.recognize(stereo, audio_format=two, options=ENGLISH),
        *[await speech.recognize(parts.encoded(pcm, codec), options=ENGLISH) for codec in parts.LOSSLESS],
    ]
    assert answers[0].text
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize(
    ("codec", "rate_hz"),
    [("opus", 48_000), ("webm", 48_000), ("mp3", 44_100), ("mp3", 16_000)]
    + [("wav", rate_hz) for rate_hz in (11_025, 22_050, 24_000, 32_000, 44_100, 48_000)],
)
async def test_codecs_and_rates_that_lose_little_change_little(speech, codec, rate_hz):
    pcm = parts.sentences(SENTENCE)
    exact = await speech.recognize(pcm, audio_format=LINEAR16, options=ENGLISH)
    reply = await speech.recognize(parts.encoded(pcm, codec, rate_hz), options=ENGLISH)
    assert jiwer.wer(words(exact.text), words(reply.text)) <= 0.5, reply.text
    # Lossy codecs put a frame or two in front or behind.
    assert abs(parts.position(reply.audio_duration) - len(pcm)) < 2 * 16_000 * 0.2


async def test_a_telephones_rate_is_heard(speech):
    reply = await speech.recognize(
        np.frombuffer(parts.sentences(SENTENCE), np.int16)[::2].tobytes(),
        audio_format=pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=8000),
        options=ENGLISH,
    )
    assert reply.text
    assert abs(parts.position(reply.audio_duration) - len(parts.sentences(SENTENCE))) <= 4


async def test_words_have_times_in_order_inside_their_segment_only_when_asked_for(speech):
    pcm = parts.sentences("en-01", "en-10")
    plain = await speech.recognize(pcm, audio_format=LINEAR16, options=ENGLISH)
    assert not any(segment.words for segment in plain.segments)
    timed = await speech.recognize(
        pcm,
        audio_format=LINEAR16,
        options=pb.RecognitionOptions(language_code="en", word_times=True),
    )
    assert timed.text == plain.text
    assert timed.segments
    for segment in timed.segments:
        assert " ".join(word.text for word in segment.words) == segment.text
        times = [parts.position(time) for word in segment.words for time in (word.start_time, word.end_time)]
        assert times == sorted(times)
        assert parts.position(segment.start_time) <= times[0]
        assert times[-1] <= parts.position(segment.end_time)


async def test_speakers_are_numbered_in_the_order_in_which_they_speak(speech):
    reply = await speech.recognize(
        (parts.SAMPLES / "en-conversation.ogg").read_bytes(),
        options=pb.RecognitionOptions(language_code="en", word_times=True, max_speakers=2),
    )
    tags = [word.speaker_tag for segment in reply.segments for word in segment.words]
    assert tags[0] == 1
    assert set(tags) <= {1, 2}
    assert all(segment.speaker_tag in (1, 2) for segment in reply.segments)
    assert "speakers_unavailable" not in reply.provenance.degradations


async def test_the_language_is_detected_or_given(speech):
    audio = (parts.SAMPLES / "es-04.ogg").read_bytes()
    given = await speech.recognize(audio, options=pb.RecognitionOptions(language_code="es-MX"))
    assert given.language_code == "es"
    detected = await speech.recognize(audio)
    assert detected.language_code in ("en", "es")
    assert detected.provenance.model_version == f"{MODEL}/versions/1"


async def test_hints_that_do_not_fit_are_cut_and_said_to_be(speech):
    pcm = parts.sentences(SENTENCE)
    few = pb.RecognitionOptions(language_code="en", hints=["oven"])
    many = pb.RecognitionOptions(language_code="en", hints=[f"improbable vocabulary {i}" for i in range(100)])
    heard = await speech.recognize(pcm, audio_format=LINEAR16, options=few)
    assert "hints_cut" not in heard.provenance.degradations
    cut = await speech.recognize(pcm, audio_format=LINEAR16, options=many)
    assert "hints_cut" in cut.provenance.degradations


async def test_an_engine_that_is_named_serves(speech):
    reply = await speech.recognize(
        parts.sentences(SENTENCE),
        audio_format=LINEAR16,
        options=pb.RecognitionOptions(model=SPHINX, language_code="en", word_times=True),
    )
    assert (reply.provenance.model_version, reply.provenance.engine) == (SPHINX, "pocketsphinx")
    assert reply.text
    assert all(segment.words for segment in reply.segments)


async def test_where_nobody_speaks_nothing_is_said(speech):
    noise = np.random.default_rng(0).normal(0, 200, 4 * 16_000).astype(np.int16).tobytes()
    for pcm in (bytes(4 * 32_000), noise):
        reply = await speech.recognize(pcm, audio_format=LINEAR16)
        assert (list(reply.segments), reply.text, reply.language_code) == ([], "", "")
        assert parts.position(reply.audio_duration) == len(pcm)


RAW = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16)
FLOATS = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_FLOAT32, sample_rate_hertz=16_000)


def hours_of_silence():
    """Ten hours in a WAV file whose header says so, and whose data are few: FLAC keeps silence small."""
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono")
        silent = av.AudioFrame.from_ndarray(np.zeros((1, 4608), np.int16), "s16", "mono")
        silent.sample_rate = 8000
        for _ in range(2 * 3600 * 8000 // 4608):
            container.mux(stream.encode(silent))
        container.mux(stream.encode(None))
    return file.getvalue()


def opaque(seed, size=50_000):
    return np.random.default_rng(seed).bytes(size)


@pytest.mark.parametrize(
    ("what", "request_of", "reason", "field", "said"),
    [
        ("nothing", lambda: pb.RecognizeRequest(), "FIELD_INVALID", "audio", "must be set"),
        (
            "a text",
            lambda: pb.RecognizeRequest(audio=b"Do I have to pick up the newspaper?" * 50),
            "AUDIO_FORMAT_UNKNOWN",
            "audio",
            "WAV",
        ),
        (
            "half a header",
            lambda: pb.RecognizeRequest(audio=parts.encoded(parts.sentences(SENTENCE), "flac")[:20]),
            "AUDIO_UNDECODABLE",
            "audio",
            "",
        ),
        (
            "a header and noise",
            lambda: pb.RecognizeRequest(audio=b"fLaC" + opaque(2)),
            "AUDIO_UNDECODABLE",
            "audio",
            "",
        ),
        (
            "not a number",
            lambda: pb.RecognizeRequest(audio=struct.pack("<f", float("nan")) * 16_000, audio_format=FLOATS),
            "FIELD_INVALID",
            "audio",
            "finite",
        ),
        ("hours", lambda: pb.RecognizeRequest(audio=hours_of_silence()), "AUDIO_TOO_LONG", "audio", "1800"),
        (
            "raw without a rate",
            lambda: pb.RecognizeRequest(audio=b"12", audio_format=RAW),
            "FIELD_INVALID",
            "audio_format.sample_rate_hertz",
            "8000 to 48000",
        ),
        (
            "a rate of a file that has its own",
            lambda: pb.RecognizeRequest(audio=b"12", audio_format=pb.AudioFormat(sample_rate_hertz=16_000)),
            "FIELD_INVALID",
            "audio_format.sample_rate_hertz",
            "left out",
        ),
        (
            "nine channels",
            lambda: pb.RecognizeRequest(audio=b"12", audio_format=pb.AudioFormat(channels=9)),
            "FIELD_INVALID",
            "audio_format.channels",
            "8",
        ),
        (
            "a language that nobody hears",
            lambda: pb.RecognizeRequest(audio=b"12", options=pb.RecognitionOptions(language_code="tlh")),
            "LANGUAGE_UNSUPPORTED",
            "options.language_code",
            "en",
        ),
        (
            "what is no language",
            lambda: pb.RecognizeRequest(audio=b"12", options=pb.RecognitionOptions(language_code="English")),
            "FIELD_INVALID",
            "options.language_code",
            "",
        ),
        (
            "a translation",
            lambda: pb.RecognizeRequest(audio=b"12", options=pb.RecognitionOptions(task=pb.TASK_TRANSLATE)),
            "TASK_UNSUPPORTED",
            "options.task",
            "transcribe",
        ),
        (
            "a task unheard of",
            lambda: pb.RecognizeRequest(audio=b"12", options=pb.RecognitionOptions(task=9)),
            "FIELD_INVALID",
            "options.task",
            "TASK_TRANSCRIBE",
        ),
        (
            "what is no model",
            lambda: pb.RecognizeRequest(audio=b"12", options=pb.RecognitionOptions(model="whisper")),
            "FIELD_INVALID",
            "options.model",
            "models/{model}",
        ),
        (
            "eleven speakers",
            lambda: pb.RecognizeRequest(audio=b"12", options=pb.RecognitionOptions(max_speakers=11)),
            "FIELD_INVALID",
            "options.max_speakers",
            "10",
        ),
        (
            "a hint without end",
            lambda: pb.RecognizeRequest(audio=b"12", options=pb.RecognitionOptions(hints=["a" * 101])),
            "FIELD_INVALID",
            "options.hints[0]",
            "100",
        ),
    ],
)
async def test_a_wrong_request_is_refused_with_field_and_remedy(
    speech, what, request_of, reason, field, said
):
    with pytest.raises(BadRequest) as refused:
        await speech.stub.Recognize(request_of(), timeout=BOUND_S)
    assert refused.value.reason == reason, (what, refused.value)
    violations = {each.field: each.description for each in refused.value.violations}
    assert list(violations) == [field]
    assert said in violations[field]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("models/none", "MODEL_UNKNOWN"),
        (f"{MODEL}/versions/99", "VERSION_UNKNOWN"),
        ("engines/none", "MODEL_UNKNOWN"),
    ],
)
async def test_what_nobody_has_is_not_found_and_named(speech, model, reason):
    with pytest.raises(NotFound) as missing:
        await speech.recognize(b"1234", audio_format=LINEAR16, options=pb.RecognitionOptions(model=model))
    assert (missing.value.reason, missing.value.resource_name) == (reason, model)


async def test_a_recording_cut_off_in_the_middle_is_refused_or_heard_as_far_as_it_goes(speech):
    whole = parts.encoded(parts.sentences(SENTENCE), "flac")
    for codec in parts.CODECS:
        whole = parts.encoded(parts.sentences(SENTENCE), codec)
        try:
            reply = await speech.recognize(whole[: len(whole) * 2 // 3], options=ENGLISH)
        except BadRequest as refused:
            assert refused.reason == "AUDIO_UNDECODABLE"
        else:
            assert parts.position(reply.audio_duration) < len(parts.sentences(SENTENCE))


async def test_a_deadline_that_cannot_be_kept_is_said_so_and_leaves_nothing(speech):
    audio = (parts.SAMPLES / "en-conversation.ogg").read_bytes()
    with pytest.raises(TooLate):
        await speech.stub.Recognize(pb.RecognizeRequest(audio=audio, options=ENGLISH), timeout=0.05)
    assert (await speech.recognize(parts.sentences(SENTENCE), audio_format=LINEAR16, options=ENGLISH)).text


async def test_two_recordings_at_once_give_what_each_gives_alone(speech):
    one, two = parts.sentences("en-01"), parts.sentences("en-10")
    alone = [await speech.recognize(each, audio_format=LINEAR16, options=ENGLISH) for each in (one, two)]
    together = await asyncio.gather(
        *(speech.recognize(each, audio_format=LINEAR16, options=ENGLISH) for each in (one, two))
    )
    assert together == alone


async def test_what_is_loaded_is_listed_with_its_devices_and_why_others_are_not_used(speech):
    listed = {each.name: each for each in (await speech.stub.ListModels(pb.ListModelsRequest())).models}
    model, engine = listed[f"{MODEL}/versions/1"], listed[SPHINX]
    assert (model.state, model.engine, model.error) == (pb.MODEL_STATE_IN_FORCE, "openvino", "")
    assert {"en", "es"} <= set(model.language_codes)
    assert list(model.tasks) == [pb.TASK_TRANSCRIBE]
    assert model.window.seconds >= 8
    assert model.size_bytes > 1_000_000
    assert model.digest
    used = {device.name: device for device in model.devices}
    assert list(used) == ["NPU", "GPU", "CPU"]
    assert used["CPU"].active
    assert used["CPU"].pipelines == 1
    assert not used["CPU"].error
    for name in ("NPU", "GPU"):
        assert not used[name].active
        assert used[name].error
        assert used[name].pipelines == 0
    assert (engine.state, engine.engine) == (pb.MODEL_STATE_READY, "pocketsphinx")
    assert list(engine.language_codes) == ["en"]


async def test_the_list_comes_in_pages(speech):
    everything = (await speech.stub.ListModels(pb.ListModelsRequest())).models
    paged, token = [], ""
    while True:
        page = await speech.stub.ListModels(pb.ListModelsRequest(page_size=1, page_token=token))
        assert len(page.models) == 1
        paged += page.models
        if not (token := page.next_page_token):
            break
    assert paged == list(everything)
    with pytest.raises(BadRequest) as refused:
        await speech.stub.ListModels(pb.ListModelsRequest(page_token="nonsense"))
    assert [each.field for each in refused.value.violations] == ["page_token"]


async def test_a_broken_version_is_refused_with_its_reason_and_the_one_before_serves(suite, speech):
    files = parts.shipped()
    generation = json.loads(files["generation_config.json"]) | {"eos_token_id": 50257}
    broken = await suite.publish(files | {"generation_config.json": json.dumps(generation).encode()})

    async def refused():
        listed = (await speech.stub.ListModels(pb.ListModelsRequest())).models
        return [each for each in listed if each.name == broken and each.state == pb.MODEL_STATE_REFUSED]

    async with asyncio.timeout(BOUND_S):
        while not (found := await refused()):
            await parts.tick()
    assert "eos_token_id" in found[0].error
    reply = await speech.recognize(parts.sentences(SENTENCE), audio_format=LINEAR16, options=ENGLISH)
    assert reply.provenance.model_version == f"{MODEL}/versions/1"
    with pytest.raises(NotAllowed) as fault:
        await speech.recognize(b"1234", audio_format=LINEAR16, options=pb.RecognitionOptions(model=broken))
    assert fault.value.reason == "MODEL_REFUSED"
    assert "eos_token_id" in fault.value.message


async def test_without_the_registry_it_serves_on_and_starts_again(suite, speech):
    await suite.stop("registry")
    try:
        reply = await speech.recognize(parts.sentences(SENTENCE), audio_format=LINEAR16, options=ENGLISH)
        assert reply.provenance.model_version == f"{MODEL}/versions/1"
        with pytest.raises(Unavailable):
            await speech.recognize(
                b"1234", audio_format=LINEAR16, options=pb.RecognitionOptions(model=f"{MODEL}/versions/7")
            )
        again = await suite.start("again")
        second = await again.recognize(parts.sentences(SENTENCE), audio_format=LINEAR16, options=ENGLISH)
        assert second == reply
        await suite.stop("again")
    finally:
        await suite.start_registry()
