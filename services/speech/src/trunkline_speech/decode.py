"""Bytes in pieces of any size, to mono samples at the rate of their source.

What comes out never depends on how the bytes were cut. Raw samples are read here, everything that names its own
format in `containers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from trunkline_hop.errors import BadRequest, FieldViolation
from trunkline_speech.config import AudioFormat, Encoding
from trunkline_speech.events import DropReason
from trunkline_speech.recogniser import Samples

LEAST_RATE_HZ: Final = 8_000
MOST_RATE_HZ: Final = 48_000
MOST_CHANNELS: Final = 8
BLOCK: Final = 8_192
"""Most samples that raw audio is handed on in at once."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples of a block that are silence because the real ones are lost."""

    start: int
    """Counted from the block's first sample."""
    samples: int
    """0 when nobody can know how many there were; the block has none for them then."""
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive samples."""

    samples: Samples
    """[N] mono in [-1, 1]."""
    rate_hz: int
    gaps: tuple[Gap, ...] = ()


class Decoder(Protocol):
    """Decodes one stream. The iterators must be exhausted before the next call."""

    @property
    def promised_s(self) -> float | None:
        """How long the audio is by its own header; None while that is unknown. Nothing relies on it being true."""
        ...

    def feed(self, data: bytes) -> Iterator[Block]:
        """What the next bytes complete.

        Raises:
            BadRequest: AUDIO_FORMAT_UNKNOWN or AUDIO_UNDECODABLE.
        """
        ...

    def finish(self) -> Iterator[Block]:
        """What is left once all bytes were fed.

        Raises:
            BadRequest: AUDIO_FORMAT_UNKNOWN or AUDIO_UNDECODABLE.
        """
        ...

    def close(self) -> None:
        """Ends at once, and frees everything. May be called twice, and from an iterator's consumer."""
        ...


def unknown_format(remedy: str) -> BadRequest:
    """Nothing here reads such audio."""
    return BadRequest(
        f"the format of the audio is unknown: {remedy}",
        [FieldViolation("audio", remedy)],
        reason="AUDIO_FORMAT_UNKNOWN",
        metadata={"field": "audio"},
    )


def undecodable(remedy: str) -> BadRequest:
    """The audio cannot be decoded."""
    return BadRequest(
        f"the audio cannot be decoded: {remedy}",
        [FieldViolation("audio", remedy)],
        reason="AUDIO_UNDECODABLE",
        metadata={"field": "audio"},
    )


def check_rate(rate_hz: int) -> None:
    """Whether a header's rate is one of sound: one sample a second would swell to 16,000.

    Raises:
        BadRequest: AUDIO_UNDECODABLE.
    """
    if not LEAST_RATE_HZ <= rate_hz <= 192_000:
        raise undecodable(f"its header says {rate_hz} samples a second; send 8000 to 192000")


def check_format(audio: AudioFormat) -> None:
    """Whether audio of that format can be decoded.

    Raises:
        BadRequest: FIELD_INVALID, naming the field.
    """
    if audio.encoding is Encoding.CONTAINER:
        if audio.rate_hz:
            raise BadRequest.field(
                "audio_format.sample_rate_hertz",
                "must be left out where the audio names its own; state an encoding for raw samples",
            )
        return
    if not LEAST_RATE_HZ <= audio.rate_hz <= MOST_RATE_HZ:
        raise BadRequest.field(
            "audio_format.sample_rate_hertz",
            f"must be {LEAST_RATE_HZ} to {MOST_RATE_HZ} for raw samples, not {audio.rate_hz}",
        )
    if not 1 <= audio.channels <= MOST_CHANNELS:
        raise BadRequest.field("audio_format.channels", f"must be 1 to {MOST_CHANNELS}, not {audio.channels}")


def block_of(samples: npt.NDArray[np.generic], rate_hz: int) -> Block:
    """A block of decoded samples of any type, [N, channels] or [N]: scaled, mixed, and free of what is no number."""
    scaled = _scaled(samples)
    mono = scaled if scaled.ndim == 1 else scaled.mean(axis=1, dtype=np.float32)
    finite = np.isfinite(mono)
    if finite.all():
        return Block(np.clip(mono, -1.0, 1.0), rate_hz)
    # Runs a twentieth of a second apart are one: the noise of single samples would be as many gaps as samples.
    lost = np.flatnonzero(~finite)
    cuts = np.flatnonzero(np.diff(lost) > rate_hz // 20) + 1
    gaps = tuple(
        Gap(int(run[0]), int(run[-1] - run[0] + 1), DropReason.NOT_FINITE) for run in np.split(lost, cuts)
    )
    return Block(np.clip(np.where(finite, mono, np.float32(0.0)), -1.0, 1.0), rate_hz, gaps)


def _scaled(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128.0)) / np.float32(128.0)
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float32) / np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    with np.errstate(over="ignore"):
        return samples.astype(np.float32, copy=False)


class RawDecoder:
    """Interleaved samples without a header.

    Args:
        kind: `u1`, `i2`, `i3`, `i4`, `f4` or `f8`: unsigned, signed or float, and the bytes of a sample; little-endian.
        channels: samples of one moment.
        rate_hz: moments a second.
    """

    promised_s: float | None = None

    def __init__(self, kind: str, channels: int, rate_hz: int) -> None:
        self._kind = kind
        self._width = int(kind[1])
        self._channels = channels
        self._rate_hz = rate_hz
        self._rest = b""

    @classmethod
    def of(cls, audio: AudioFormat) -> RawDecoder:
        """For LINEAR16 and FLOAT32."""
        return cls("i2" if audio.encoding is Encoding.LINEAR16 else "f4", audio.channels, audio.rate_hz)

    def feed(self, data: bytes) -> Iterator[Block]:
        size = self._width * self._channels
        data = self._rest + data
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        for start in range(0, whole, BLOCK * size):
            values = self._values(data[start : min(start + BLOCK * size, whole)])
            yield block_of(values.reshape(-1, self._channels), self._rate_hz)

    def finish(self) -> Iterator[Block]:
        if self._rest:
            self._rest = b""
            yield Block(np.zeros(1, np.float32), self._rate_hz, (Gap(0, 1, DropReason.UNDECODABLE),))

    def close(self) -> None:
        self._rest = b""

    def _values(self, data: bytes) -> npt.NDArray[np.generic]:
        if self._kind != "i3":
            return np.frombuffer(data, f"<{self._kind}")
        # The upper three bytes of 32 bits: the same value, 256 times as large, in a type that there is.
        widened = np.zeros((len(data) // 3, 4), np.uint8)
        widened[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return widened.view("<i4").reshape(-1)
