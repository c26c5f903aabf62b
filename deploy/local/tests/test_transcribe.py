"""The command against a scripted service behind the real gateway, as a process of its own."""

import asyncio
import json
import os
import sys
import wave

import pytest
from scripted_speech import MODEL, Said
from typer.testing import CliRunner

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_gateway.__main__ import build
from trunkline_gateway.settings import Settings
from trunkline_hop.server import running
from trunkline_local.__main__ import app
from trunkline_local.embedded import free_port
from trunkline_whisper_micro import samples

RECORDING = samples.load()[0].path
SCRIPT = (Said("Do I have to", 0.4, 1.0, speaker=1), Said("pick up the newspaper?", 1.2, 2.2, speaker=2))


async def transcribe(*argv, target=None):
    """Exit status, standard output and error."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trunkline_local",
        "transcribe",
        *map(str, argv),
        *(("--target", target) if target else ()),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_file_goes_as_it_is_with_what_was_asked_of_it_and_comes_back_as_lines(speech):
    speech.script = SCRIPT
    asked = ("--language", "en", "--speakers", "2", "--hints", "newspaper, Ängelholm", "--hints", "Aarhus")
    more = ("--model", "models/w/versions/2", "--task", "translate")
    status, out, err = await transcribe(RECORDING, *asked, *more, target=speech.target)
    assert (status, err) == (0, "")
    assert out == "speaker 1: Do I have to\nspeaker 2: pick up the newspaper?\n"
    (request,) = speech.recognised
    assert request.audio == RECORDING.read_bytes()
    assert not request.HasField("audio_format")
    assert request.options == pb.RecognitionOptions(
        model="models/w/versions/2",
        language_code="en",
        task=pb.TASK_TRANSLATE,
        max_speakers=2,
        hints=["newspaper", "Ängelholm", "Aarhus"],
    )


async def test_a_program_gets_the_answer_with_the_times_of_words(speech):
    speech.script = SCRIPT
    status, out, _ = await transcribe(RECORDING, "--json", "--word-times", target=speech.target)
    answer = json.loads(out)
    assert status == 0
    assert answer["segments"][0]["words"][0] == {"text": "Do", "start_time": "0.400s", "end_time": "0.550s"}
    assert answer["provenance"]["model_version"] == MODEL


async def test_subtitles_ask_for_the_times_of_words(speech):
    speech.script = SCRIPT
    status, out, _ = await transcribe(RECORDING, "--vtt", target=speech.target)
    assert (status, speech.recognised[0].options.word_times) == (0, True)
    assert out == (
        "WEBVTT\n\n00:00:00.400 --> 00:00:01.000\nDo I have to\n\n"
        "00:00:01.200 --> 00:00:02.200\npick up the newspaper?\n\n"
    )


async def test_live_words_come_while_they_are_spoken_and_a_broken_stream_loses_none(speech):
    speech.script, speech.breaks = SCRIPT, [20_000]
    status, out, _ = await transcribe(
        RECORDING, "--live", "--json", "--preset", "low-latency", target=speech.target
    )
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert {"interrupted": "the replica was killed"} in events
    finals = [event["segment_final"]["segment"]["text"] for event in events if "segment_final" in event]
    assert finals == [said.text for said in SCRIPT]
    assert sum("interim" in event for event in events) > len(SCRIPT)
    assert "secret" not in out
    (config,) = speech.configs
    assert config.preset == pb.PRESET_LOW_LATENCY
    assert config.audio_format == pb.AudioFormat(
        encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000, channels=1
    )


async def test_in_a_pipe_a_live_session_shows_finals_only(speech):
    speech.script = SCRIPT
    status, out, err = await transcribe(RECORDING, "--live", target=speech.target)
    assert (status, out, err) == (0, "Do I have to\npick up the newspaper?\n", "")


async def test_a_recording_too_long_for_one_message_is_streamed_as_fast_as_it_goes(speech, tmp_path):
    speech.script, speech.longest = SCRIPT, 100
    status, out, _ = await transcribe(RECORDING, target=speech.target)
    assert (status, out) == (0, "Do I have to\npick up the newspaper?\n")
    large = tmp_path / "large.wav"
    with wave.open(str(large), "wb") as file:
        file.setparams((8, 4, 48_000, 0, "NONE", "not compressed"))
        file.writeframes(bytes(17 * 1024 * 1024))
    speech.recognised.clear()
    status, out, _ = await transcribe(large, target=speech.target)
    assert (status, out) == (0, "Do I have to\npick up the newspaper?\n")
    assert speech.recognised == []


async def test_a_refusal_says_why_and_ends_with_1(speech, tmp_path):
    status, out, err = await transcribe(RECORDING, "--language", "xx", target=speech.target)
    assert (status, out) == (1, "")
    assert "nobody speaks xx (INVALID_ARGUMENT FIELD_INVALID)" in err
    letter = tmp_path / "letter.txt"
    letter.write_text("no audio")
    status, _, err = await transcribe(letter, "--live", target=speech.target)
    assert status == 1
    assert "letter.txt cannot be decoded" in err


async def test_where_nothing_answers_the_way_out_is_told_with_3(tmp_path):
    status, out, err = await transcribe(RECORDING, target=f"127.0.0.1:{free_port()}")
    assert (status, out) == (3, "")
    assert "trunkline up --detach" in err
    status, _, err = await transcribe(RECORDING, "--live", target=f"127.0.0.1:{free_port()}")
    assert status == 3
    assert "trunkline up --detach" in err


async def test_a_gateway_without_speech_or_with_a_dead_one_is_nothing_to_talk_to_either():
    async with running("gateway", Settings(port=0, metrics_port=0, features="127.0.0.1:1"), build) as gateway:
        status, _, err = await transcribe(RECORDING, target=gateway.target)
        assert status == 3
        assert "has no speech service" in err
    async with running("gateway", Settings(port=0, metrics_port=0, speech="127.0.0.1:1"), build) as gateway:
        for argv in ((), ("--live",)):
            status, _, err = await transcribe(RECORDING, *argv, target=gateway.target)
            assert status == 3
            assert "trunkline status" in err


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        ((), "FILE"),
        ((str(RECORDING), "--microphone"), "not both"),
        ((str(RECORDING), "--json", "--srt"), "one of"),
        ((str(RECORDING), "--device", "webcam"), "--microphone"),
        ((str(RECORDING), "--preset", "economy"), "--live"),
        ((str(RECORDING), "--word-times"), "--json"),
        ((str(RECORDING), "--speakers", "11"), "speakers"),
        (("/nowhere/talk.mp3",), "does not exist"),
    ],
)
def test_what_would_be_ignored_is_refused(argv, what):
    answer = CliRunner().invoke(app, ["transcribe", *argv])
    assert answer.exit_code == 2
    assert what in answer.output
