"""WAV whose samples are numbers, without a decoder.

libav looks at the first 64 KiB of such a file before it hands on a sample: two seconds of speech at 16 kHz, which a
live caller would wait for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from trunkline_speech.decode import Block, Decoder, RawDecoder, check_rate, undecodable
from trunkline_speech.libav import LibavDecoder

KINDS: Final = MappingProxyType(
    {(1, 8): "u1", (1, 16): "i2", (1, 24): "i3", (1, 32): "i4", (3, 32): "f4", (3, 64): "f8"}
)
"""Tag and bits of a sample, to what it is."""
EXTENSIBLE: Final = 0xFFFE
UNKNOWN_SIZE: Final = 0x7FFFF000
"""Writers to a pipe do not know the size, and state 0 or something from here up."""
MOST_HEADER: Final = 1 << 20


class WavDecoder:
    """RIFF/WAVE and RF64. What is no plain number (such as A-law) goes to libav."""

    def __init__(self) -> None:
        self._header = b""
        self._samples: Decoder | None = None
        self._left: int | None = None
        self._promised_s: float | None = None

    @property
    def promised_s(self) -> float | None:
        return self._promised_s

    def feed(self, data: bytes) -> Iterator[Block]:
        if self._samples is None:
            self._header += data
            opened = self._open()
            if opened is None:
                return
            self._samples, begin = opened
            data, self._header = self._header[begin:], b""
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        yield from self._samples.feed(data)

    def finish(self) -> Iterator[Block]:
        if self._samples is None:
            raise undecodable("it ends inside its header; send the recording whole")
        yield from self._samples.finish()

    def close(self) -> None:
        self._header = b""
        if self._samples is not None:
            self._samples.close()

    def _open(self) -> tuple[Decoder, int] | None:
        """Who decodes the samples, and from which byte on, once the header is there."""
        header = self._header
        at, kind, channels, rate_hz = 12, "", 0, 0
        while at + 8 <= len(header):
            name, size = header[at : at + 4], int.from_bytes(header[at + 4 : at + 8], "little")
            body = at + 8
            if name == b"data":
                if not kind:
                    raise undecodable("its samples come before their format; write the WAV file anew")
                if 0 < size < UNKNOWN_SIZE:
                    self._left = size
                    self._promised_s = size / (int(kind[1]) * channels * rate_hz)
                return RawDecoder(kind, channels, rate_hz), body
            if body + size > MOST_HEADER:
                raise undecodable("its header is longer than 1 MiB; leave out pictures and metadata")
            if body + size > len(header):
                return None
            if name == b"fmt ":
                tag, channels, rate_hz, bits = _format(header[body : body + size])
                check_rate(rate_hz)
                if channels == 0:
                    raise undecodable("its header says that it has no channels; write the WAV file anew")
                kind = KINDS.get((tag, bits), "")
                if not kind:
                    return LibavDecoder("wav"), 0
            at = body + size + size % 2
        return None


def _format(body: bytes) -> tuple[int, int, int, int]:
    """Tag, channels, rate and bits of a sample."""
    if len(body) < 16:
        raise undecodable("its header is damaged; write the WAV file anew")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)
    return tag, channels, rate_hz, bits
