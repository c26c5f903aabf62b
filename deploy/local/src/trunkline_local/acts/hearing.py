"""A recording played to the recogniser, as if somebody spoke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline.speech.v1.speech_pb2_grpc import SpeechServiceStub
from trunkline_local.transcribe_audio import LIVE_PIECE_S, RATE_HZ, SAMPLE_BYTES, Recording, paced
from trunkline_local.transcribe_session import Session
from trunkline_whisper_micro.samples import Sample

SILENCE_S = 1.0
"""What a microphone hears after the last word."""


async def play(
    stub: SpeechServiceStub,
    sample: Sample,
    heard: Callable[[pb.StreamingRecognizeResponse], None],
    speed: float = 1.0,
    language: str = "",
) -> None:
    """Plays a recording to a session, and returns when the last word on it is said.

    Args:
        stub: of the speech service.
        sample: the recording.
        heard: is told every event of the session.
        speed: so many times as fast as it was spoken.
        language: that the session is told; empty: none.

    Raises:
        SessionLost: the session broke, and was not taken up again.
        Fault: the server refused it.
    """
    loop = asyncio.get_running_loop()
    config = pb.StreamingConfig(
        options=pb.RecognitionOptions(language_code=language),
        audio_format=pb.AudioFormat(
            encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RATE_HZ, channels=1
        ),
    )
    await Session(stub, config, heard, lambda why: None).run(
        paced(
            _with_silence(Recording(sample.path).pieces(LIVE_PIECE_S)),
            lambda: loop.time() * speed,
            lambda wait_s: asyncio.sleep(wait_s / speed),
        )
    )


async def _with_silence(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield piece
    quiet = bytes(SAMPLE_BYTES * round(LIVE_PIECE_S * RATE_HZ))
    for _ in range(round(SILENCE_S / LIVE_PIECE_S)):
        yield quiet
