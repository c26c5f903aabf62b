"""Audio that names its own format: which one it is, and who decodes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trunkline_speech.config import AudioFormat, Encoding
from trunkline_speech.decode import Block, Decoder, RawDecoder, check_format, unknown_format
from trunkline_speech.libav import LibavDecoder
from trunkline_speech.wav import WavDecoder

SIGNATURE: Final = 12
"""Bytes that tell formats apart."""
REMEDY: Final = "send WAV, FLAC, Ogg, MP3 or WebM, or state an encoding in audio_format for raw samples"


def decoder(audio: AudioFormat) -> Decoder:
    """A decoder of one stream.

    Raises:
        BadRequest: FIELD_INVALID, naming the field of the format that is impossible.
    """
    check_format(audio)
    return ContainerDecoder() if audio.encoding is Encoding.CONTAINER else RawDecoder.of(audio)


class ContainerDecoder:
    """Waits for the signature, then leaves the rest to the format's own decoder."""

    def __init__(self) -> None:
        self._begin = b""
        self._inner: Decoder | None = None

    @property
    def promised_s(self) -> float | None:
        return None if self._inner is None else self._inner.promised_s

    def feed(self, data: bytes) -> Iterator[Block]:
        if self._inner is None:
            self._begin += data
            if len(self._begin) < SIGNATURE:
                return
            data, self._begin = self._begin, b""
            self._inner = _by_signature(data)
        yield from self._inner.feed(data)

    def finish(self) -> Iterator[Block]:
        if self._inner is not None:
            yield from self._inner.finish()
        elif self._begin:
            raise unknown_format(REMEDY)

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()


def _by_signature(begin: bytes) -> Decoder:
    if begin[:4] in (b"RIFF", b"RF64") and begin[8:12] == b"WAVE":
        return WavDecoder()
    for signature, name in (
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
        (b"ID3", "mp3"),
    ):
        if begin.startswith(signature):
            return LibavDecoder(name)
    # Eleven bits of frame sync, and a layer: AAC's frames begin alike, with none.
    if begin[0] == 0xFF and begin[1] & 0xE0 == 0xE0 and begin[1] & 0x06:
        return LibavDecoder("mp3")
    raise unknown_format(REMEDY)
