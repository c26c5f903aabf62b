"""What a session is put together from: the parts it asks for, as it sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from trunkline_speech.config import AudioFormat, Detector, Options
from trunkline_speech.events import AudioDropped
from trunkline_speech.recogniser import Recogniser, Samples
from trunkline_speech.transcript import Word


class Frame(Protocol):
    """A piece of audio as long as the voice detector looks at."""

    @property
    def position(self) -> int:
        """Its first sample, on the session's clock."""
        ...

    @property
    def samples(self) -> Samples:
        """[512]"""
        ...

    @property
    def probability(self) -> float:
        """That somebody speaks in it."""
        ...


class Ear(Protocol):
    """Turns the bytes of one stream into frames, in order and without gaps, whatever the bytes' cut."""

    @property
    def heard(self) -> int:
        """Position after the last sample: the last frame may be filled up with silence."""
        ...

    def hear(self, data: bytes) -> AsyncIterator[Frame | AudioDropped]:
        """The frames that the next bytes complete. To be read to its end.

        Raises:
            BadRequest: this is no audio.
        """
        ...

    def finish(self) -> AsyncIterator[Frame | AudioDropped]:
        """What is left when no more bytes come.

        Raises:
            BadRequest: as `hear`.
        """
        ...

    async def close(self) -> None:
        """Ends its thread. It may be called at any time, and again."""
        ...


class Diarizer(Protocol):
    """Tells the speakers of one session apart."""

    async def tag(self, samples: Samples, start: int, words: tuple[Word, ...]) -> tuple[Word, ...]:
        """The words with their speakers.

        Args:
            samples: of the segment.
            start: position of the first of them, on the clock of the words.
            words: of the segment.
        """
        ...

    def state(self) -> bytes:
        """What another one needs to go on from here."""
        ...


Listen: TypeAlias = Callable[[AudioFormat, Detector, int], Ear]
"""An ear for a stream of this format, heard through this detector, whose first sample is at that position."""

Choose: TypeAlias = Callable[[Options], AbstractAsyncContextManager[Recogniser]]
"""The recogniser for these options, under a lease as long as the block.

Entering raises BadRequest (LANGUAGE_UNSUPPORTED, MODEL_TASK), NotFound or Unavailable."""

Diarize: TypeAlias = Callable[[int, bytes], Diarizer]
"""A diarizer for at most so many speakers, that goes on from a state, or anew from an empty one."""
