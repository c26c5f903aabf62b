"""What a person sees, and what a program reads."""

import io
import json

import pytest
from rich.console import Console
from scripted_speech import RATE_HZ, duration

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_local.transcribe_cues import Format
from trunkline_local.transcribe_views import CuesView, JsonView, LinesView, TerminalView

PROVENANCE = pb.Provenance(model_version="models/w/versions/3", engine="openvino", device="CPU")


def segment(text, at_s=65.25, speaker=0, number=1):
    start, end = duration(round(at_s * RATE_HZ)), duration(round((at_s + 2) * RATE_HZ))
    return pb.Segment(
        segment_id=number, text=text, language_code="en", start_time=start, end_time=end, speaker_tag=speaker
    )


def event(**given):
    return pb.StreamingRecognizeResponse(sequence=7, provenance=PROVENANCE, **given)


def final(text, **options):
    return event(segment_final=pb.SegmentFinal(segment=segment(text, **options)))


DROPPED = event(
    audio_dropped=pb.AudioDropped(
        start_time=duration(RATE_HZ), duration=duration(RATE_HZ // 2), reason=pb.DROP_REASON_RECOGNISER_FAILED
    )
)
DEGRADED = event(degraded=pb.Degraded(degradation="device_lost", active=True, message="goes on on CPU"))
WHOLE = pb.RecognizeResponse(
    segments=[segment("one"), segment("two", 70.0, number=2)],
    provenance=pb.Provenance(model_version="engines/pocketsphinx", degradations=["fallback_engine"]),
)


@pytest.fixture
def terminal():
    return Console(
        file=io.StringIO(), width=60, force_terminal=True, color_system="standard", highlight=False
    )


@pytest.fixture
def notes():
    return Console(file=io.StringIO(), width=200)


def test_in_a_terminal_what_is_stable_is_plain_and_the_rest_is_dim(terminal):
    with TerminalView(terminal) as view:
        view.heard(event(configured=pb.Configured()))
        view.heard(event(speech_started=pb.SpeechStarted(time=duration(RATE_HZ))))
        view.heard(event(interim=pb.Interim(segment=segment("turn off the fan"), stable_length=8)))
        terminal.file.truncate(0)
        view._live.refresh()
        shown = terminal.file.getvalue()
    assert "turn off\x1b[2m the fan\x1b[0m" in shown
    assert "1:05.2" in shown or "1:05.3" in shown


def test_in_a_terminal_finals_stay_with_time_language_and_speaker_and_partials_go(terminal):
    with TerminalView(terminal) as view:
        view.heard(event(configured=pb.Configured()))
        view.heard(event(interim=pb.Interim(segment=segment("turn of"), stable_length=4)))
        view.heard(final("Turn off the fan.", speaker=2))
        view.heard(DROPPED)
        view.heard(DEGRADED)
        view.interrupted("the replica was killed")
    shown = terminal.file.getvalue()
    assert shown.count("Turn off the fan.") == 1
    line = next(line for line in shown.splitlines() if "Turn off the fan." in line)
    assert "en" in line
    assert "\x1b[35m2" in line
    for note in (
        "models/w/versions/3 on CPU",
        "not heard: 0.50 s from 1.00 s (recogniser failed)",
        "device_lost: goes on on CPU",
        "the stream broke (the replica was killed); the session goes on where it was",
    ):
        assert note in shown


def test_text_that_looks_like_markup_is_text(terminal):
    with TerminalView(terminal) as view:
        view.heard(final("a [bold]word[/bold]"))
        view.interrupted("[red]")
    assert "a [bold]word[/bold]" in terminal.file.getvalue()
    assert "([red])" in terminal.file.getvalue()


def test_in_a_pipe_there_are_final_lines_and_nothing_else(notes):
    lines = []
    with LinesView(lines.append, notes) as view:
        view.heard(event(interim=pb.Interim(segment=segment("turn of"))))
        view.heard(final("Turn off the fan."))
        view.heard(final("Which one?", speaker=2))
        view.heard(DROPPED)
        view.whole(WHOLE)
    assert lines == ["Turn off the fan.\n", "speaker 2: Which one?\n", "one\n", "two\n"]
    assert notes.file.getvalue() == "not heard: 0.50 s from 1.00 s (recogniser failed)\nfallback_engine\n"


def test_json_is_an_object_a_line_without_the_secret():
    lines = []
    with JsonView(lines.append) as view:
        view.heard(event(started=pb.SessionStarted(session_id="s1", resume_token="secret")))
        view.heard(event(draining=pb.Draining(resume_token="secret")))
        view.heard(final("Año nuevo"))
        view.whole(WHOLE)
        view.interrupted("killed")
    values = [json.loads(line) for line in lines]
    assert "secret" not in "".join(lines)
    assert values[0]["started"] == {"session_id": "s1"}
    assert values[2]["segment_final"]["segment"]["text"] == "Año nuevo"
    assert "Año nuevo" in lines[2]
    assert values[3]["segments"][1]["text"] == "two"
    assert values[4] == {"interrupted": "killed"}
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)


def test_cues_are_numbered_over_segments(notes):
    written = []
    with CuesView(written.append, notes, Format.SRT) as view:
        view.heard(final("one", at_s=1.0))
        view.heard(final("two", at_s=4.0))
    assert "".join(written) == (
        "1\n00:00:01,000 --> 00:00:03,000\none\n\n2\n00:00:04,000 --> 00:00:06,000\ntwo\n\n"
    )
