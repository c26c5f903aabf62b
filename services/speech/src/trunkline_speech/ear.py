"""Bytes of audio to frames of 32 ms at 16 kHz, each with the probability that somebody speaks in it.

    decode -> resample -> frames of 512 samples -> voice activity

Positions count samples at 16 kHz. What comes out, and in which order, depends on the bytes alone: not on how they
were cut into messages, nor on when they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from trunkline_hop.errors import BadRequest
from trunkline_speech import containers, vad
from trunkline_speech.config import AudioFormat, Detector, Encoding
from trunkline_speech.decode import Block, Decoder, RawDecoder, check_format, undecodable
from trunkline_speech.events import AudioDropped, DropReason
from trunkline_speech.gaps import Gaps
from trunkline_speech.recogniser import Samples
from trunkline_speech.resample import Resampler
from trunkline_speech.transcript import RATE_HZ
from trunkline_speech.vad import FRAME

STEP: Final = 64
"""Frames made in one visit to a thread: 2 s of audio, some 40 ms of work."""


@dataclass(frozen=True, slots=True)
class Frame:
    """32 ms of audio."""

    position: int
    """Of its first sample, on the session's clock."""
    samples: Samples
    """[512]. The last of a stream is filled up with silence: `Ear.heard` says where the audio ends."""
    probability: float
    """That somebody speaks in it."""


Heard: TypeAlias = Frame | AudioDropped
"""A drop comes before the first frame that lies wholly behind it; its place in the audio is silence."""


class Ear:
    """The intake of one session. One call of `hear` or `finish` at a time.

    Both are iterators and must be exhausted: a small message may hold hours of audio, so only a little of it is
    decoded ahead of the reader. Breaking off or cancelling loses nothing, the next call goes on there. `close` must
    be called in the end, whatever happened.

    Args:
        audio: what the bytes are.
        detector: tells speech from the rest.
        start: position of the first sample.
        executor: where the work is done; the loop's own threads by default.

    Raises:
        BadRequest: FIELD_INVALID, the format is impossible.
    """

    def __init__(
        self,
        audio: AudioFormat,
        detector: Detector = Detector.SILERO,
        *,
        start: int = 0,
        executor: Executor | None = None,
    ) -> None:
        self._decoder = decoder(audio)
        self._timeline = Timeline(start)
        self._vad = vad.detector(detector)
        self._executor = executor
        self._rest = np.zeros(0, np.float32)
        self._position = start
        self._heard = start
        self._work: deque[Iterator[Heard]] = deque()
        self._ready: deque[Heard] = deque()
        self._step: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._closed = False

    @property
    def heard(self) -> int:
        """Position after the last sample handed out."""
        return self._heard

    async def hear(self, data: bytes) -> AsyncIterator[Heard]:
        """What the next bytes complete.

        Raises:
            BadRequest: AUDIO_FORMAT_UNKNOWN or AUDIO_UNDECODABLE; what came before it was handed out, nothing will
                be after it.
        """
        yield  # type: ignore

    async def finish(self) -> AsyncIterator[Heard]:
        """What is left once all bytes were heard.

        Raises:
            BadRequest: AUDIO_FORMAT_UNKNOWN or AUDIO_UNDECODABLE.
        """
        yield  # type: ignore

    async def close(self) -> None:
        """Frees everything, the decoder's thread included. May be called twice."""
