"""Messages become the service's own words and back, and what they cannot say is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.errors import BadRequest
from trunkline_speech import convert
from trunkline_speech.config import BOUNDS, Detector, Encoding, Preset, SessionConfig
from trunkline_speech.events import Configured, DropReason, Interim, Said
from trunkline_speech.recogniser import Task
from trunkline_speech.transcript import RATE_HZ, Segment, Word


def said(event):
    return Said(
        7, event, 2 * RATE_HZ, RATE_HZ, "models/m/versions/1", "d", "openvino", "CPU", ("device_lost",)
    )


def parameters_of(message):
    return convert.session(pb.StreamingConfig(parameters=message)).parameters


@given(st.integers(0, 24 * 366 * 3600 * RATE_HZ))
def test_a_position_survives_the_wire(samples):
    assert convert.audio_start(pb.Resume(audio_start=convert.duration(samples))) == samples


def test_what_is_absent_has_its_default():
    assert convert.session(pb.StreamingConfig()) == SessionConfig()
    assert convert.audio_start(pb.Resume()) is None


def test_a_region_is_ignored_and_hints_are_said_once():
    options = convert.options(
        pb.RecognitionOptions(
            language_code="en-GB", hints=[" oven ", "", "oven", "lamp"], task=pb.TASK_TRANSLATE
        )
    )
    assert (options.language, options.hints, options.task) == ("en", ("oven", "lamp"), Task.TRANSLATE)


@pytest.mark.parametrize("preset", pb.Preset.values())
def test_a_preset_gives_every_parameter_and_those_given_differ(preset):
    message = pb.StreamingConfig(preset=preset, parameters=pb.StreamingParameters(voice_threshold=0.25))
    before, after = convert.session(pb.StreamingConfig(preset=preset)), convert.session(message)
    assert after.parameters.voice_threshold == 0.25
    assert before.parameters in [each.value for each in Preset]
    assert before.parameters.changed(voice_threshold=0.25) == after.parameters


def test_everything_that_can_be_given_is_said_back():
    config = convert.session(
        pb.StreamingConfig(
            options=pb.RecognitionOptions(
                model="models/m",
                language_code="es",
                task=pb.TASK_TRANSCRIBE,
                word_times=True,
                max_speakers=3,
                hints=["a"],
            ),
            audio_format=pb.AudioFormat(
                encoding=pb.AUDIO_ENCODING_FLOAT32, sample_rate_hertz=8000, channels=2
            ),
            preset=pb.PRESET_DICTATION,
            voice_detector=pb.VOICE_DETECTOR_WEBRTC,
            final_only=True,
        )
    )
    assert (config.audio.encoding, config.audio.rate_hz, config.audio.channels) == (Encoding.FLOAT32, 8000, 2)
    assert (config.detector, config.final_only) == (Detector.WEBRTC, True)
    message = convert.said(said(Configured(config, RATE_HZ)), word_times=True)
    assert (message.sequence, message.audio_time.seconds, message.audio_needed_from.seconds) == (7, 2, 1)
    assert list(message.provenance.degradations) == ["device_lost"]
    assert message.configured.time.seconds == 1
    assert convert.options(message.configured.options) == config.options
    assert parameters_of(message.configured.parameters) == config.parameters


@pytest.mark.parametrize("name", BOUNDS)
def test_a_parameter_out_of_bounds_is_refused_by_name(name):
    field, (least, most) = name.removesuffix("_s"), BOUNDS[name]
    if field == name:
        return  # the contract's own rules are about this one
    for value in (least / 2, most * 2):
        seconds, nanos = int(value), round(value % 1 * 1e9)
        with pytest.raises(BadRequest) as refused:
            parameters_of(pb.StreamingParameters(**{field: {"seconds": seconds, "nanos": nanos}}))
        (violation,) = refused.value.violations
        assert violation.field == f"parameters.{field}"
        assert f"{most:g}" in violation.description


def test_an_utterance_does_not_end_before_its_segment():
    with pytest.raises(BadRequest) as refused:
        parameters_of(
            pb.StreamingParameters(segment_silence={"seconds": 2}, utterance_silence={"seconds": 1})
        )
    assert [each.field for each in refused.value.violations] == ["parameters.utterance_silence"]


@pytest.mark.parametrize("seconds", [-1, 10**9])
def test_a_session_does_not_go_on_before_its_beginning_or_after_years(seconds):
    with pytest.raises(BadRequest) as refused:
        convert.audio_start(pb.Resume(audio_start={"seconds": seconds}))
    assert [each.field for each in refused.value.violations] == ["audio_start"]


def test_an_update_changes_what_it_has_and_nothing_else():
    before = convert.session(pb.StreamingConfig(preset=pb.PRESET_DICTATION, options={"language_code": "en"}))
    nothing = convert.update(pb.ConfigUpdate(), before.parameters)
    assert nothing.of(before) == before
    detected = convert.update(pb.ConfigUpdate(language_code=""), before.parameters).of(before)
    assert detected.options.language == ""
    changed = convert.update(
        pb.ConfigUpdate(parameters={"interval": {"seconds": 1}}, hints={"phrases": ["a"]}), before.parameters
    ).of(before)
    assert changed.parameters == before.parameters.changed(interval_s=1.0)
    assert changed.options.hints == ("a",)
    assert changed.options.language == "en"


def test_hints_of_an_update_are_read_like_those_of_a_session():
    phrases = [" oven ", "", "oven"]
    updated = convert.update(pb.ConfigUpdate(hints={"phrases": phrases}), SessionConfig().parameters)
    assert updated.hints == convert.options(pb.RecognitionOptions(hints=phrases)).hints


def test_the_stable_part_is_counted_in_characters_of_the_text():
    words = (Word("¿Cuántos", 0, 1), Word("años", 1, 2), Word("tiene?", 2, 3))
    segment = Segment(1, 2, words, "es", 0, RATE_HZ)
    message = convert.said(said(Interim(segment, 2)), word_times=False).interim
    assert message.segment.text[: message.stable_length] == "¿Cuántos años"
    assert not message.segment.words


def test_every_reason_and_task_has_its_place_in_the_contract():
    assert {convert._REASONS[reason] for reason in DropReason} == set(pb.DropReason.values()) - {0}
    assert {convert.task_message(task) for task in Task} == set(pb.Task.values()) - {0}
