"""What a session or a request was told."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from trunkline_hop.errors import BadRequest
from trunkline_speech.recogniser import Task


class Encoding(Enum):
    """How audio is encoded."""

    CONTAINER = "container"
    """It names its own format: WAV, FLAC, Ogg, MP3, WebM."""
    LINEAR16 = "linear16"
    FLOAT32 = "float32"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """The format of audio."""

    encoding: Encoding = Encoding.CONTAINER
    rate_hz: int = 0
    """8000 to 48000 of LINEAR16 and FLOAT32, else 0."""
    channels: int = 1


class Detector(Enum):
    """Which detector tells speech from everything else."""

    SILERO = "silero"
    WEBRTC = "webrtc"


@dataclass(frozen=True, slots=True)
class Options:
    """How to recognise."""

    model: str = ""
    """`models/{model}`, one of its versions, `engines/{engine}`, or empty for the server's choice."""
    language: str = ""
    """ISO 639-1; empty to detect it."""
    task: Task = Task.TRANSCRIBE
    word_times: bool = False
    max_speakers: int = 0
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameters:
    """When a session listens and answers. In seconds of audio."""

    buffer_s: float = 6.0
    """Longest piece that is heard at once."""
    interval_s: float = 3.0
    """Between two passes over a segment that goes on."""
    first_interval_s: float = 0.8
    """Speech after which the first pass of an utterance runs."""
    min_interval_s: float = 0.2
    """Least between two passes."""
    segment_silence_s: float = 0.5
    """Silence that ends a segment."""
    utterance_silence_s: float = 0.8
    """Silence that ends an utterance."""
    voice_threshold: float = 0.5
    """Least probability of speech."""

    def checked(self) -> Parameters:
        """Itself, if all is within bounds.

        Raises:
            BadRequest: FIELD_INVALID, naming the field.
        """
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise BadRequest.field(
                    f"parameters.{name.removesuffix('_s')}", f"must be {least:g} to {most:g}, not {value:g}"
                )
        if self.utterance_silence_s < self.segment_silence_s:
            raise BadRequest.field(
                "parameters.utterance_silence",
                f"must be at least segment_silence, {self.segment_silence_s:g} s",
            )
        return self

    def changed(self, **given: float | None) -> Parameters:
        """With the values that are given, in place of those it has; checked."""
        known = {field.name for field in fields(self)}
        return replace(
            self, **{name: value for name, value in given.items() if value is not None and name in known}
        ).checked()


BOUNDS: Final = MappingProxyType(
    {
        "buffer_s": (2.0, 28.0),
        "interval_s": (0.2, 10.0),
        "first_interval_s": (0.2, 3.0),
        "min_interval_s": (0.1, 2.0),
        "segment_silence_s": (0.2, 3.0),
        "utterance_silence_s": (0.2, 10.0),
        "voice_threshold": (0.05, 0.95),
    }
)
"""Least and most of each parameter."""


class Preset(Enum):
    """Parameters by name."""

    BALANCED = Parameters()
    LOW_LATENCY = Parameters(
        interval_s=1.0,
        first_interval_s=0.5,
        min_interval_s=0.2,
        segment_silence_s=0.35,
        utterance_silence_s=0.6,
    )
    DICTATION = Parameters(buffer_s=12.0, interval_s=3.0, segment_silence_s=1.0, utterance_silence_s=2.0)
    ECONOMY = Parameters(interval_s=10.0, first_interval_s=3.0, min_interval_s=1.0)


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session was told."""

    options: Options = Options()
    audio: AudioFormat = AudioFormat()
    parameters: Parameters = Parameters()
    detector: Detector = Detector.SILERO
    final_only: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """Changes a session. None leaves as it is."""

    language: str | None = None
    parameters: Parameters | None = None
    hints: tuple[str, ...] | None = None

    def of(self, config: SessionConfig) -> SessionConfig:
        """The configuration after it."""
        options = config.options
        if self.language is not None:
            options = replace(options, language=self.language)
        if self.hints is not None:
            options = replace(options, hints=self.hints)
        return replace(config, options=options, parameters=self.parameters or config.parameters)
