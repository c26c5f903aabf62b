"""What is transcribed: a recording, or a microphone, as LINEAR16 at 16 kHz in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

RATE_HZ = 16_000
SAMPLE_BYTES = 2
LIVE_PIECE_S = 0.1
"""Audio that a live session sends at once."""
FAST_PIECE_S = 1.0
"""The same of one that goes as fast as it is heard."""


class NoAudio(ValueError):
    """There is nothing to hear. The message says why, and what to do."""


class Recording:
    """An audio or video file of any kind that FFmpeg reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped = 0
        """Packets that could not be decoded."""

    def pcm(self, piece_s: float) -> Iterator[bytes]:
        """Its first audio stream, mono; the last piece may be shorter.

        Raises:
            NoAudio: it is no audio file, or a damaged one.
        """
        import av  # a tenth of a second, which no other command needs

        decoded = heard = False
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.audio:
                    raise NoAudio(f"{self.path} holds no audio")
                resampler = av.AudioResampler("s16", "mono", RATE_HZ, round(piece_s * RATE_HZ))
                for packet in container.demux(audio=0):
                    try:
                        frames: list[Any] = packet.decode()
                    except av.FFmpegError:
                        self.skipped += 1
                        continue
                    for frame in frames:
                        decoded = True
                        for piece in resampler.resample(frame):
                            heard = True
                            yield piece.to_ndarray().tobytes()
                for piece in resampler.resample(None) if decoded else ():
                    heard = True
                    yield piece.to_ndarray().tobytes()
        except av.FFmpegError as error:
            raise NoAudio(f"{self.path} cannot be decoded: {error.strerror}") from error
        if not heard:
            raise NoAudio(f"{self.path} holds no audio that can be decoded")

    async def pieces(self, piece_s: float) -> AsyncIterator[bytes]:
        """The same, decoded in a thread.

        Raises:
            NoAudio: it is no audio file, or a damaged one.
        """
        pieces = self.pcm(piece_s)
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece


async def paced(
    pieces: AsyncIterator[bytes],
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[bytes]:
    """Each piece at the time at which somebody who speaks it has ended it."""
    began, sent = now(), 0
    async for piece in pieces:
        sent += len(piece)
        wait_s = began + sent / SAMPLE_BYTES / RATE_HZ - now()
        if wait_s > 0:
            await sleep(wait_s)
        yield piece


async def until_stopped(pieces: AsyncIterator[bytes], stop: asyncio.Event) -> AsyncIterator[bytes]:
    """The pieces that come before somebody says that it is enough."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        while not stop.is_set():
            following = asyncio.create_task(_next(pieces))
            try:
                await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    return
                piece = following.result()
            finally:
                following.cancel()
            if not piece:
                return
            yield piece
    finally:
        stopping.cancel()


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    return await anext(pieces, b"")


async def microphone(device: str | None) -> AsyncIterator[bytes]:
    """What a microphone hears, without end.

    Raises:
        NoAudio: there is no PortAudio, or no such device; the message says what to do.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise NoAudio(
            "the microphone needs sounddevice: pip install 'trunkline-local[microphone]'"
        ) from error
    except OSError as error:
        raise NoAudio("the microphone needs the PortAudio library: apt-get install libportaudio2") from error
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    def hear(data: Any, frames: int, time: Any, status: Any) -> None:
        loop.call_soon_threadsafe(heard.put_nowait, bytes(data))

    try:
        stream = sounddevice.RawInputStream(
            samplerate=RATE_HZ,
            channels=1,
            dtype="int16",
            device=_device(device),
            blocksize=round(LIVE_PIECE_S * RATE_HZ),
            callback=hear,
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise NoAudio(
            f"no microphone{f' {device!r}' if device else ''}: {error}. {_choice(sounddevice)}"
        ) from error
    try:
        while True:
            yield await heard.get()
    finally:
        stream.close()


def _device(device: str | None) -> str | int | None:
    """By name or by number."""
    return int(device) if device is not None and device.isdecimal() else device


def _choice(sounddevice: Any) -> str:
    try:
        devices = sounddevice.query_devices()
    except sounddevice.PortAudioError:
        devices = []
    names = [device["name"] for device in devices if device["max_input_channels"] > 0]
    if not names:
        return "This machine has none: give a FILE instead"
    return f"--device takes one of: {', '.join(names)}"
