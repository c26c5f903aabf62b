"""One recording at once."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline_speech.config import AudioFormat, Options
from trunkline_speech.transcript import Segment


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was said in a recording, and what made it."""

    segments: tuple[Segment, ...]
    language: str
    """Of most of the speech; empty where nobody speaks."""
    samples: int
    """How long the recording is."""
    model_version: str
    digest: str
    engine: str
    device: str
    degradations: tuple[str, ...]


class Offline:
    """Recognises recordings. Its arguments follow: `decode`, `detect`, `choose`, `diarize`."""

    async def recognise(self, data: bytes, audio: AudioFormat, options: Options) -> Recognised:
        """What is said in a recording.

        Args:
            data: the recording.
            audio: its format.
            options: how to hear it.

        Raises:
            BadRequest: this is no audio, or too long.
            Overloaded, TooLate, Unavailable: as the recogniser.
        """
        ...
