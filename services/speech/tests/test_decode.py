"""Raw samples and WAV: what numbers they are."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_hop.errors import BadRequest
from trunkline_speech import containers
from trunkline_speech.config import AudioFormat, Encoding
from trunkline_speech.decode import Block, Gap, block_of
from trunkline_speech.events import DropReason

PCM = AudioFormat(Encoding.LINEAR16, 16_000, 1)


def decoded(data: bytes, audio: AudioFormat, sizes: tuple[int, ...] = ()) -> tuple[np.ndarray, int]:
    """Samples and rate."""
    decoder = containers.decoder(audio)
    blocks, at = [], 0
    for size in (*sizes, len(data)):
        blocks += decoder.feed(data[at : at + size])
        at += size
    blocks += decoder.finish()
    decoder.close()
    return np.concatenate([np.zeros(0, np.float32), *(block.samples for block in blocks)]), (
        blocks[0].rate_hz if blocks else 0
    )


def riff(*chunks: tuple[bytes, bytes], data_size: int | None = None) -> bytes:
    body = b""
    for name, content in chunks:
        size = data_size if name == b"data" and data_size is not None else len(content)
        body += name + struct.pack("<I", size) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def fmt(tag: int, channels: int, rate_hz: int, bits: int, extra: bytes = b"") -> tuple[bytes, bytes]:
    align = channels * bits // 8
    return b"fmt ", struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * align, align, bits) + extra


@given(
    channels=st.integers(1, 8),
    moments=st.integers(0, 300),
    sizes=st.lists(st.integers(0, 100), max_size=40),
    encoding=st.sampled_from([Encoding.LINEAR16, Encoding.FLOAT32]),
)
def test_raw_samples_do_not_depend_on_where_the_bytes_are_cut(
    channels: int, moments: int, sizes: list[int], encoding: Encoding
) -> None:
    values = np.random.default_rng(moments).uniform(-1, 1, (moments, channels))
    if encoding is Encoding.LINEAR16:
        integers = np.round(values * 32_767).astype("<i2")
        data, truth = integers.tobytes(), integers.astype(np.float64) / 32_768
    else:
        data, truth = values.astype("<f4").tobytes(), values
    audio = AudioFormat(encoding, 24_000, channels)
    samples, _ = decoded(data, audio, tuple(sizes))
    assert np.array_equal(samples, decoded(data, audio)[0])
    assert samples == pytest.approx(truth.mean(axis=1), abs=1e-6)


def test_floats_beyond_full_scale_are_clipped() -> None:
    samples, _ = decoded(
        np.array([2.0, -1e30, 0.5], "<f4").tobytes(), AudioFormat(Encoding.FLOAT32, 16_000, 1)
    )
    assert samples.tolist() == [1.0, -1.0, 0.5]


def test_what_is_no_number_becomes_silence_and_is_told_of() -> None:
    block = block_of(np.array([0.5, np.nan, np.inf, 0.25], np.float32), 16_000)
    assert block.samples.tolist() == [0.5, 0.0, 0.0, 0.25]
    assert block.gaps == (Gap(1, 2, DropReason.NOT_FINITE),)


def test_one_bad_channel_spoils_the_moment() -> None:
    assert block_of(np.array([[0.5, np.nan], [0.5, 0.5]], np.float32), 16_000).gaps == (
        Gap(0, 1, DropReason.NOT_FINITE),
    )


def test_a_stream_that_ends_inside_a_sample_says_so() -> None:
    decoder = containers.decoder(PCM)
    list(decoder.feed(b"\0\0\0"))
    (rest,) = decoder.finish()
    assert rest.gaps == (Gap(0, 1, DropReason.UNDECODABLE),)


@pytest.mark.parametrize(
    ("audio", "field"),
    [
        (AudioFormat(Encoding.LINEAR16, 0, 1), "audio_format.sample_rate_hertz"),
        (AudioFormat(Encoding.LINEAR16, 7_999, 1), "audio_format.sample_rate_hertz"),
        (AudioFormat(Encoding.FLOAT32, 48_001, 1), "audio_format.sample_rate_hertz"),
        (AudioFormat(Encoding.CONTAINER, 16_000, 1), "audio_format.sample_rate_hertz"),
        (AudioFormat(Encoding.LINEAR16, 16_000, 0), "audio_format.channels"),
        (AudioFormat(Encoding.LINEAR16, 16_000, 9), "audio_format.channels"),
    ],
)
def test_an_impossible_format_names_its_field(audio: AudioFormat, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        containers.decoder(audio)
    assert refused.value.reason == "FIELD_INVALID"
    assert [violation.field for violation in refused.value.violations] == [field]


@pytest.mark.parametrize(
    ("tag", "bits", "raw", "truth"),
    [
        (1, 8, bytes([128, 255, 0, 64]), [0.0, 127 / 128, -1.0, -0.5]),
        (1, 16, struct.pack("<4h", 0, 16_384, -32_768, 32_767), [0.0, 0.5, -1.0, 32_767 / 32_768]),
        (1, 24, b"\x00\x00\x00\x00\x00\x40\x00\x00\x80\xff\xff\xff", [0.0, 0.5, -1.0, -(2.0**-23)]),
        (1, 32, struct.pack("<4i", 0, 2**30, -(2**31), 2**29), [0.0, 0.5, -1.0, 0.25]),
        (3, 32, struct.pack("<4f", 0.0, 0.5, -1.0, 0.25), [0.0, 0.5, -1.0, 0.25]),
        (3, 64, struct.pack("<4d", 0.0, 0.5, -1.0, 0.25), [0.0, 0.5, -1.0, 0.25]),
    ],
)
def test_wav_of_every_kind_of_number(tag: int, bits: int, raw: bytes, truth: list[float]) -> None:
    samples, rate_hz = decoded(riff(fmt(tag, 1, 11_025, bits), (b"data", raw)), AudioFormat())
    assert (samples.tolist(), rate_hz) == (truth, 11_025)


def test_wav_says_its_kind_in_its_extension_too() -> None:
    extension = struct.pack("<HHIH14s", 22, 16, 4, 1, b"\0" * 14)
    samples, _ = decoded(
        riff(fmt(0xFFFE, 2, 48_000, 16, extension), (b"data", struct.pack("<2h", 0, 16_384))), AudioFormat()
    )
    assert samples.tolist() == [0.25]


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_wav_from_a_pipe_does_not_know_its_size(size: int) -> None:
    data = riff(fmt(1, 1, 8_000, 16), (b"data", b"\1\0" * 500), data_size=size)
    assert len(decoded(data, AudioFormat(), (1,) * 60)[0]) == 500


def test_what_stands_around_the_samples_of_wav_is_not_heard() -> None:
    data = riff(
        (b"LIST", b"odd"), fmt(1, 1, 8_000, 16), (b"data", b"\0\0" * 10), (b"LIST", b"a longer epilogue")
    )
    for sizes in ((), (1,) * len(data)):
        assert len(decoded(data, AudioFormat(), sizes)[0]) == 10


@pytest.mark.parametrize("tag", [6, 7])
def test_wav_of_telephones_is_decoded_by_libav(tag: int) -> None:
    samples, rate_hz = decoded(riff(fmt(tag, 1, 8_000, 8), (b"data", bytes(range(256)) * 32)), AudioFormat())
    assert rate_hz == 8_000
    assert len(samples) == 8_192
    assert -1.0 <= samples.min() < -0.9 < 0.9 < samples.max() <= 1.0


def test_the_first_samples_of_wav_are_there_with_their_bytes() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes(b"\0\0" * 16_000)
    decoder = containers.decoder(AudioFormat())
    blocks = list(decoder.feed(file.getvalue()[: 44 + 640]))
    assert sum(len(block.samples) for block in blocks) == 320


@pytest.mark.parametrize(
    "data",
    [
        riff(fmt(1, 1, 1, 16), (b"data", b"\0\0")),
        riff(fmt(1, 0, 16_000, 16), (b"data", b"\0\0")),
        riff((b"fmt ", b"short"), (b"data", b"\0\0")),
        riff((b"data", b"\0\0")),
        riff(fmt(1, 1, 16_000, 16))[:-4],
        riff((b"junk", b"\0" * (1 << 20)), fmt(1, 1, 16_000, 16), (b"data", b"\0\0")),
        riff(fmt(0x55, 1, 16_000, 0), (b"data", b"nothing that a decoder could read")),
    ],
    ids=["one-hertz", "no-channels", "short-format", "no-format", "cut-off", "long-header", "other-codec"],
)
def test_wav_that_is_damaged_is_undecodable(data: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        decoded(data, AudioFormat())
    assert refused.value.reason == "AUDIO_UNDECODABLE"


def test_blocks_of_raw_audio_stay_small() -> None:
    blocks: list[Block] = list(containers.decoder(PCM).feed(b"\0" * (1 << 20)))
    assert max(len(block.samples) for block in blocks) <= 8_192
