"""Between the contract's messages and the service's own words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.errors import BadRequest
from trunkline_modelstore import State
from trunkline_speech import events
from trunkline_speech.choice import Listed
from trunkline_speech.config import (
    BOUNDS,
    AudioFormat,
    Detector,
    Encoding,
    Options,
    Parameters,
    Preset,
    SessionConfig,
    Update,
)
from trunkline_speech.offline import Recognised
from trunkline_speech.recogniser import Task
from trunkline_speech.transcript import RATE_HZ, Segment, Word

_NANOS_A_SAMPLE: Final = 1_000_000_000 // RATE_HZ
LONGEST_HOURS: Final = 24 * 366
"""Of audio that a resumed session may name."""

_TASKS: Final = MappingProxyType(
    {
        pb.TASK_UNSPECIFIED: Task.TRANSCRIBE,
        pb.TASK_TRANSCRIBE: Task.TRANSCRIBE,
        pb.TASK_TRANSLATE: Task.TRANSLATE,
    }
)
_ENCODINGS: Final = MappingProxyType(
    {
        pb.AUDIO_ENCODING_UNSPECIFIED: Encoding.CONTAINER,
        pb.AUDIO_ENCODING_LINEAR16: Encoding.LINEAR16,
        pb.AUDIO_ENCODING_FLOAT32: Encoding.FLOAT32,
    }
)
_PRESETS: Final = MappingProxyType(
    {
        pb.PRESET_UNSPECIFIED: Preset.BALANCED,
        pb.PRESET_BALANCED: Preset.BALANCED,
        pb.PRESET_LOW_LATENCY: Preset.LOW_LATENCY,
        pb.PRESET_DICTATION: Preset.DICTATION,
        pb.PRESET_ECONOMY: Preset.ECONOMY,
    }
)
_DETECTORS: Final = MappingProxyType(
    {
        pb.VOICE_DETECTOR_UNSPECIFIED: Detector.SILERO,
        pb.VOICE_DETECTOR_SILERO: Detector.SILERO,
        pb.VOICE_DETECTOR_WEBRTC: Detector.WEBRTC,
    }
)
_STATES: Final = MappingProxyType(
    {
        State.LOADING: pb.MODEL_STATE_LOADING,
        State.READY: pb.MODEL_STATE_READY,
        State.IN_FORCE: pb.MODEL_STATE_IN_FORCE,
        State.FAILED: pb.MODEL_STATE_FAILED,
        State.REFUSED: pb.MODEL_STATE_REFUSED,
    }
)
_REASONS: Final = MappingProxyType(
    {reason: pb.DropReason.Value(f"DROP_REASON_{reason.name}") for reason in events.DropReason}
)


def options(message: pb.RecognitionOptions) -> Options:
    """How to recognise."""
    return Options(
        message.model,
        _language(message.language_code),
        _TASKS[message.task],
        message.word_times,
        message.max_speakers,
        _hints(message.hints),
    )


def audio_format(message: pb.AudioFormat) -> AudioFormat:
    """The format of audio.

    Raises:
        BadRequest: FIELD_INVALID.
    """
    encoding = _ENCODINGS[message.encoding]
    if encoding is Encoding.CONTAINER:
        for field in ("sample_rate_hertz", "channels"):
            if getattr(message, field):
                raise BadRequest.field(
                    f"audio_format.{field}",
                    "must be left out where the audio names its own format, or set "
                    "audio_format.encoding to LINEAR16 or FLOAT32",
                )
        return AudioFormat()
    if not 8000 <= message.sample_rate_hertz <= 48000:
        raise BadRequest.field(
            "audio_format.sample_rate_hertz",
            f"must be 8000 to 48000 for raw samples, not {message.sample_rate_hertz}",
        )
    return AudioFormat(encoding, message.sample_rate_hertz, message.channels or 1)


def session(message: pb.StreamingConfig) -> SessionConfig:
    """What a session is told first.

    Raises:
        BadRequest: FIELD_INVALID.
    """
    return SessionConfig(
        options(message.options),
        audio_format(message.audio_format),
        _parameters(_PRESETS[message.preset].value, message.parameters),
        _DETECTORS[message.voice_detector],
        message.final_only,
    )


def update(message: pb.ConfigUpdate, before: Parameters) -> Update:
    """What changes, given the parameters until now.

    Raises:
        BadRequest: FIELD_INVALID.
    """
    parameters = None
    if message.preset or message.HasField("parameters"):
        base = _PRESETS[message.preset].value if message.preset else before
        parameters = _parameters(base, message.parameters)
    return Update(
        _language(message.language_code) if message.HasField("language_code") else None,
        parameters,
        _hints(message.hints.phrases) if message.HasField("hints") else None,
    )


def audio_start(message: pb.Resume) -> int | None:
    """Where the audio begins that a client is about to send, if it says.

    Raises:
        BadRequest: FIELD_INVALID.
    """
    if not message.HasField("audio_start"):
        return None
    given = message.audio_start
    if given.seconds < 0 or given.nanos < 0 or given.seconds > LONGEST_HOURS * 3600:
        raise BadRequest.field("audio_start", "must be a time since the session's first sample")
    return given.seconds * RATE_HZ + given.nanos // _NANOS_A_SAMPLE


def segment(found: Segment, word_times: bool) -> pb.Segment:
    """A piece of speech."""
    return pb.Segment(
        segment_id=found.number,
        revision=found.revision,
        text=found.text,
        words=[_word(word) for word in found.words] if word_times else (),
        language_code=found.language,
        start_time=duration(found.start),
        end_time=duration(found.end),
        speaker_tag=found.speaker,
    )


def recognised(found: Recognised, word_times: bool) -> pb.RecognizeResponse:
    """What was said in a recording."""
    return pb.RecognizeResponse(
        segments=[segment(each, word_times) for each in found.segments],
        text=" ".join(each.text for each in found.segments),
        language_code=found.language,
        audio_duration=duration(found.samples),
        provenance=_provenance(found),
    )


def listed(model: Listed) -> pb.LoadedModel:
    """A model, or an engine."""
    return pb.LoadedModel(
        name=model.name,
        digest=model.digest,
        state=_STATES[model.state],
        error=model.error,
        engine=model.engine,
        devices=[
            pb.Device(name=each.name, active=each.active, error=each.error, pipelines=each.pipelines)
            for each in model.devices
        ],
        language_codes=model.languages,
        size_bytes=model.size_bytes,
        window=duration(model.window) if model.window else None,
        word_times=model.word_times,
        tasks=[task_message(task) for task in model.tasks],
    )


def said(event: events.Said, word_times: bool) -> pb.StreamingRecognizeResponse:
    """One event of a session."""
    name, message = _EVENTS[type(event.event)](event.event, word_times)
    return pb.StreamingRecognizeResponse(
        sequence=event.sequence,
        provenance=_provenance(event),
        audio_time=duration(event.heard),
        audio_needed_from=duration(event.needed_from),
        **{name: message},
    )


def duration(samples: int) -> Duration:
    """Samples as a duration."""
    return Duration(seconds=samples // RATE_HZ, nanos=samples % RATE_HZ * _NANOS_A_SAMPLE)


def task_message(task: Task) -> pb.Task.ValueType:
    """A task as the contract has it."""
    return pb.Task.Value(f"TASK_{task.name}")


def _language(code: str) -> str:
    return code.partition("-")[0]


def _hints(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (hint.strip() for hint in given))))


def _parameters(base: Parameters, message: pb.StreamingParameters) -> Parameters:
    given: dict[str, float] = {}
    for name in BOUNDS:
        field = name.removesuffix("_s")
        if message.HasField(field):  # type: ignore[arg-type]  # its stubs want a literal
            value = getattr(message, field)
            given[name] = value if name == field else value.seconds + value.nanos / 1e9
    return base.changed(**given)


def _provenance(made: Recognised | events.Said) -> pb.Provenance:
    return pb.Provenance(
        model_version=made.model_version,
        digest=made.digest,
        engine=made.engine,
        device=made.device,
        degradations=made.degradations,
    )


def _word(word: Word) -> pb.Word:
    return pb.Word(
        text=word.text,
        start_time=duration(word.start),
        end_time=duration(word.end),
        speaker_tag=word.speaker,
    )


def _configured(event: events.Configured) -> pb.Configured:
    told, parameters = event.config.options, event.config.parameters
    given: dict[str, Any] = {}
    for name in BOUNDS:
        value = getattr(parameters, name)
        field = name.removesuffix("_s")
        given[field] = value if name == field else _seconds(value)
    return pb.Configured(
        options=pb.RecognitionOptions(
            model=told.model,
            language_code=told.language,
            task=task_message(told.task),
            word_times=told.word_times,
            max_speakers=told.max_speakers,
            hints=told.hints,
        ),
        parameters=pb.StreamingParameters(**given),
        time=duration(event.position),
    )


def _seconds(value: float) -> Duration:
    nanos = round(value * 1e9)
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)


def _interim(event: events.Interim, word_times: bool) -> pb.Interim:
    stable = " ".join(word.text for word in event.segment.words[: event.stable_words])
    return pb.Interim(segment=segment(event.segment, word_times), stable_length=len(stable))


_EVENTS: Final[Mapping[type, Callable[[Any, bool], tuple[str, Any]]]] = MappingProxyType(
    {
        events.Started: lambda event, _: (
            "started",
            pb.SessionStarted(
                session_id=event.session_id,
                resume_token=event.resume_token,
                resumed=event.resumed,
                audio_start=duration(event.audio_start),
            ),
        ),
        events.Configured: lambda event, _: ("configured", _configured(event)),
        events.SpeechStarted: lambda event, _: (
            "speech_started",
            pb.SpeechStarted(time=duration(event.position)),
        ),
        events.Interim: lambda event, words: ("interim", _interim(event, words)),
        events.SegmentFinal: lambda event, words: (
            "segment_final",
            pb.SegmentFinal(segment=segment(event.segment, words)),
        ),
        events.EndOfUtterance: lambda event, _: (
            "end_of_utterance",
            pb.EndOfUtterance(
                time=duration(event.position),
                first_segment_id=event.first_segment,
                last_segment_id=event.last_segment,
            ),
        ),
        events.AudioDropped: lambda event, _: (
            "audio_dropped",
            pb.AudioDropped(
                start_time=duration(event.start),
                duration=duration(event.samples),
                reason=_REASONS[event.reason],
            ),
        ),
        events.Degraded: lambda event, _: (
            "degraded",
            pb.Degraded(degradation=event.degradation, active=event.active, message=event.message),
        ),
        events.Draining: lambda event, _: (
            "draining",
            pb.Draining(resume_token=event.resume_token, audio_start=duration(event.audio_start)),
        ),
    }
)
