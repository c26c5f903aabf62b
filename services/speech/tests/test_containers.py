"""Containers and codecs: the same audio however the bytes come, and what of damaged ones can be had."""

from __future__ import annotations

import gc
import io
import threading
import tracemalloc
import wave
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_hop.errors import BadRequest
from trunkline_speech import containers, ear
from trunkline_speech.config import AudioFormat, Encoding
from trunkline_speech.events import AudioDropped, DropReason
from trunkline_speech.libav import LibavDecoder

AUDIO = Path(__file__).parent / "audio"
CLIPS = {path.name: path.read_bytes() for path in sorted(AUDIO.glob("sentence*"))}
EVERY_CLIP = pytest.mark.parametrize("name", CLIPS)
LENGTH = 47_514
"""Of the sentence at 16 kHz."""


def decoded(data: bytes, sizes: list[int]) -> list[object]:
    """Everything that comes out, block borders aside."""
    decoder = containers.decoder(AudioFormat())
    blocks, at = [], 0
    for size in sizes:
        blocks += decoder.feed(data[at : at + size])
        at += size
    blocks += decoder.feed(data[at:])
    blocks += decoder.finish()
    decoder.close()
    samples = np.concatenate([block.samples for block in blocks])
    starts = np.cumsum([0, *(len(block.samples) for block in blocks)])
    gaps = [
        (int(start) + gap.start, gap.samples, gap.reason)
        for start, block in zip(starts, blocks, strict=False)
        for gap in block.gaps
    ]
    return [samples.tobytes(), gaps, {block.rate_hz for block in blocks}]


def heard(data: bytes, limit_s: float = 60.0) -> ear.Recording:
    return ear.whole(data, AudioFormat(), limit_s)


def sentence() -> np.ndarray:
    """What is in the clips, read by other means."""
    with wave.open(io.BytesIO(CLIPS["sentence.wav"])) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32_768


def refusal(data: bytes, limit_s: float = 60.0) -> str:
    with pytest.raises(BadRequest) as refused:
        heard(data, limit_s)
    assert [violation.field for violation in refused.value.violations] == ["audio"]
    return refused.value.reason


def decoding_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode-")]


def encoded(codec: str, container: str, rate_hz: int, values: np.ndarray) -> bytes:
    """[N, channels] in [-1, 1]."""
    file = io.BytesIO()
    layout = "mono" if values.shape[1] == 1 else "stereo"
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout=layout)
        pcm = np.round(values * 32_767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(pcm, "s16", layout)
        frame.rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
        convert = av.AudioResampler(
            stream.codec_context.format, layout, rate_hz, stream.codec_context.frame_size or None
        )
        for piece in [*convert.resample(frame), *convert.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return file.getvalue()


@EVERY_CLIP
def test_every_codec_says_the_same_sentence_at_the_same_time(name: str) -> None:
    truth = sentence()
    recording = heard(CLIPS[name])
    assert recording.dropped == ()
    assert abs(len(recording.samples) - LENGTH) <= 200
    length = min(LENGTH, len(recording.samples))
    spectra = np.fft.rfft(truth[:length], 2**17) * np.conj(np.fft.rfft(recording.samples[:length], 2**17))
    alike = np.fft.irfft(spectra) / (
        np.linalg.norm(truth[:length]) * np.linalg.norm(recording.samples[:length])
    )
    shift = int(np.argmax(alike))
    assert alike[shift] > 0.9
    assert min(shift, 2**17 - shift) <= 16


@pytest.mark.parametrize("name", ["sentence.wav", "sentence.flac"])
def test_what_loses_nothing_is_decoded_to_the_bit(name: str) -> None:
    assert np.array_equal(heard(CLIPS[name]).samples, sentence())


@EVERY_CLIP
@pytest.mark.parametrize("size", [1, 255, 256, 257, 4_096, 1 << 20])
def test_pieces_of_one_size_change_nothing(name: str, size: int) -> None:
    data = CLIPS[name][:20_000] if size == 1 else CLIPS[name]
    assert decoded(data, [size] * (len(data) // size)) == decoded(data, [])


@EVERY_CLIP
@settings(max_examples=20)
@given(sizes=st.lists(st.integers(0, 3_000), max_size=60))
def test_pieces_of_any_size_change_nothing(name: str, sizes: list[int]) -> None:
    assert decoded(CLIPS[name], sizes) == decoded(CLIPS[name], [])


@EVERY_CLIP
@settings(max_examples=20)
@given(
    at=st.integers(0, 12_000),
    noise=st.binary(min_size=1, max_size=2_000),
    sizes=st.lists(st.integers(0, 3_000), max_size=20),
)
def test_damage_ends_in_audio_or_in_a_fault_of_the_catalogue_and_the_same_for_every_cut(
    name: str, at: int, noise: bytes, sizes: list[int]
) -> None:
    data = bytearray(CLIPS[name])
    data[at : at + len(noise)] = noise

    def outcome(sizes: list[int]) -> object:
        try:
            return decoded(bytes(data), sizes)
        except BadRequest as fault:
            return fault.reason

    whole = outcome([])
    assert whole == outcome(sizes)
    assert not isinstance(whole, str) or whole in {"AUDIO_UNDECODABLE", "AUDIO_FORMAT_UNKNOWN"}
    gc.collect()
    assert len(decoding_threads()) <= 2


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize(
    ("codec", "container"), [("flac", "flac"), ("libmp3lame", "mp3"), ("libopus", "webm")]
)
def test_any_rate_in_stereo_keeps_its_pitch_and_length(rate_hz: int, codec: str, container: str) -> None:
    if codec == "libopus":
        rate_hz = {11_025: 12_000, 22_050: 24_000, 32_000: 48_000, 44_100: 48_000}.get(rate_hz, rate_hz)
    tone = 0.5 * np.sin(2 * np.pi * 440.0 * np.arange(2 * rate_hz) / rate_hz)
    recording = heard(encoded(codec, container, rate_hz, np.stack([tone, tone], axis=1)))
    assert abs(len(recording.samples) - 32_000) <= (2 if codec == "flac" else 2_400)
    middle = recording.samples[8_000:24_000]
    assert int(np.argmax(np.abs(np.fft.rfft(middle)))) == 440
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.05)


def test_channels_are_mixed() -> None:
    left = np.full((16_000, 1), 0.5)
    samples = heard(encoded("flac", "flac", 16_000, np.hstack([left, -left]))).samples
    assert np.abs(samples).max() < 1e-4


def spoilt(data: bytes) -> bytes:
    half, size = len(data) // 2, len(data) // 8
    return data[:half] + bytes(size) + data[half + size :]


@pytest.mark.parametrize(
    ("name", "least"), [("sentence.flac", 6_000), ("sentence.mp3", 5_000), ("sentence-opus.ogg", 15_000)]
)
def test_a_spoilt_middle_is_silence_of_its_length_and_told_of(name: str, least: int) -> None:
    recording = heard(spoilt(CLIPS[name]))
    (drop,) = recording.dropped
    assert drop.reason is DropReason.UNDECODABLE
    assert least <= drop.samples <= 17_000
    assert abs(len(recording.samples) - len(heard(CLIPS[name]).samples)) <= 160
    inside = recording.samples[drop.start + 200 : drop.start + drop.samples - 200]
    assert np.abs(inside).max() < 0.01


def test_a_jump_of_the_timestamps_is_silence() -> None:
    """WebM with one second left out, as after a loss on the way to whoever wrote it."""
    tone = 0.5 * np.sin(2 * np.pi * 440.0 * np.arange(48_000) / 16_000)
    data = encoded("libopus", "webm", 16_000, tone[:, None])
    file = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format="webm") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.pts is not None and not 1_000 <= packet.pts < 2_000:
                packet.stream = stream
                out.mux(packet)
    recording = heard(file.getvalue())
    (drop,) = recording.dropped
    assert drop.start == pytest.approx(16_000, abs=400)
    assert drop.samples == pytest.approx(16_000, abs=400)
    assert len(recording.samples) == pytest.approx(48_000, abs=400)


@pytest.mark.parametrize("name", ["sentence.wav", "sentence.flac", "sentence.webm", "sentence-vorbis.ogg"])
def test_a_recording_that_is_cut_off_is_refused(name: str) -> None:
    assert refusal(CLIPS[name][: len(CLIPS[name]) // 2]) == "AUDIO_UNDECODABLE"


@pytest.mark.parametrize("name", ["sentence.mp3", "sentence-opus.ogg"])
def test_where_no_header_says_the_length_what_is_cut_off_is_told_of(name: str) -> None:
    recording = heard(CLIPS[name][: len(CLIPS[name]) // 2])
    assert 0.3 * LENGTH < len(recording.samples) < 0.6 * LENGTH
    (drop,) = recording.dropped
    assert drop.start + drop.samples == len(recording.samples)


@EVERY_CLIP
def test_one_that_ends_in_its_header_is_refused(name: str) -> None:
    for length in (12, 30, 40):
        assert refusal(CLIPS[name][:length]) == "AUDIO_UNDECODABLE"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "AUDIO_UNDECODABLE"),
        (b"RIFF", "AUDIO_FORMAT_UNKNOWN"),
        (b"\0" * 4_096, "AUDIO_FORMAT_UNKNOWN"),
        (b"Please book a table for two.", "AUDIO_FORMAT_UNKNOWN"),
        (b"#EXTM3U\nhttp://127.0.0.1/secret", "AUDIO_FORMAT_UNKNOWN"),
        (b"\xff\xf1\x50\x80" + b"\0" * 100, "AUDIO_FORMAT_UNKNOWN"),
        (b"RIFF\0\0\0\0AVI LIST", "AUDIO_FORMAT_UNKNOWN"),
        (b"fLaC" + b"\xa5" * 5_000, "AUDIO_UNDECODABLE"),
        (b"OggS" + b"\xa5" * 5_000, "AUDIO_UNDECODABLE"),
        (b"ID3" + b"\xa5" * 5_000, "AUDIO_UNDECODABLE"),
        (b"\x1a\x45\xdf\xa3" + b"\xa5" * 5_000, "AUDIO_UNDECODABLE"),
        (b"\xff\xfb\x90\x00" + b"\xa5" * 5_000, "AUDIO_UNDECODABLE"),
    ],
)
def test_what_is_no_audio_is_refused(data: bytes, reason: str) -> None:
    assert refusal(data) == reason


def test_a_video_without_sound_is_refused() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("mpeg4", rate=10, options={"g": "1"})
        stream.width = stream.height = 32
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index, np.uint8), "rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert refusal(file.getvalue()) == "AUDIO_UNDECODABLE"


def test_a_codec_of_others_is_refused() -> None:
    data = encoded("aac", "matroska", 16_000, np.zeros((16_000, 1)))
    assert refusal(data) == "AUDIO_FORMAT_UNKNOWN"


def test_bytes_without_end_and_without_a_sample_are_refused() -> None:
    decoder = containers.decoder(AudioFormat())

    def feed_on() -> None:
        list(decoder.feed(CLIPS["sentence-opus.ogg"][:100]))
        for _ in range(24):
            list(decoder.feed(b"\0" * (1 << 20)))

    with pytest.raises(BadRequest) as refused:
        feed_on()
    decoder.close()
    assert refused.value.reason == "AUDIO_UNDECODABLE"


def test_what_follows_a_container_that_ended_is_told_of_once() -> None:
    decoder = LibavDecoder("matroska")
    blocks = [*decoder.feed(CLIPS["sentence.webm"]), *decoder.finish()]
    assert sum(len(block.samples) for block in blocks) > 0
    more = [gap.reason for _ in range(3) for block in decoder.feed(b"more") for gap in block.gaps]
    decoder.close()
    assert more == [DropReason.UNDECODABLE]


def test_metadata_in_another_character_set_is_no_damage() -> None:
    assert b"00:00:02.9" in CLIPS["sentence.webm"]
    data = CLIPS["sentence.webm"].replace(b"00:00:02.9", b"00:00:\xff\xfe\xe9\xe0")
    assert np.array_equal(heard(data).samples, heard(CLIPS["sentence.webm"]).samples)


def test_a_stream_chained_to_another_is_heard_whole() -> None:
    recording = heard(CLIPS["sentence-opus.ogg"] * 3)
    assert abs(len(recording.samples) - 3 * LENGTH) <= 3 * 200
    assert recording.dropped == ()


def flac_of_silence(hours: float) -> bytes:
    """Silence at 8 kHz as small as FLAC makes it: 15 bytes for 8 seconds."""

    def crc(data: bytes, polynomial: int, width: int) -> int:
        value, top = 0, 1 << (width - 1)
        for byte in data:
            value ^= byte << (width - 8)
            for _ in range(8):
                value = (value << 1 ^ polynomial if value & top else value << 1) & ((1 << width) - 1)
        return value

    def numbered(number: int) -> bytes:
        return chr(number).encode("utf-8", "surrogatepass")

    size = 65_535
    count = round(hours * 3_600 * 8_000 / size)
    info = (8_000 << 44 | 15 << 36 | count * size).to_bytes(8, "big")
    head = size.to_bytes(2, "big") * 2 + bytes(6) + info + bytes(16)
    frames = []
    for number in range(count):
        frame = b"\xff\xf8\x74\x08" + numbered(number) + (size - 1).to_bytes(2, "big")
        frame += bytes([crc(frame, 0x07, 8), 0, 0, 0])
        frames.append(frame + crc(frame, 0x8005, 16).to_bytes(2, "big"))
    return b"fLaC\x80" + len(head).to_bytes(3, "big") + head + b"".join(frames)


def peak(work: Callable[[], object]) -> int:
    """Most memory in bytes that it holds beyond what was held before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def ten_hours() -> bytes:
    return flac_of_silence(10.0)


def test_ten_hours_in_a_few_bytes_end_early_and_take_little_memory(ten_hours: bytes) -> None:
    assert len(ten_hours) < 100_000
    assert heard(flac_of_silence(0.01)).dropped == ()
    assert peak(lambda: refusal(ten_hours, limit_s=60.0)) < 32 << 20
    assert decoding_threads() == []


def test_the_refusal_of_too_much_names_the_limit() -> None:
    with pytest.raises(BadRequest) as refused:
        heard(CLIPS["sentence.mp3"], limit_s=2.5)
    assert refused.value.reason == "AUDIO_TOO_LONG"
    assert refused.value.metadata == {"field": "audio", "limit_s": "2.5"}


def test_ten_hours_of_numbers_end_early_too() -> None:
    header = CLIPS["sentence.wav"][:40] + (0).to_bytes(4, "little")
    data = header + bytes(64 << 20)
    assert peak(lambda: refusal(data, limit_s=10.0)) < 70 << 20


@EVERY_CLIP
@pytest.mark.parametrize("taken", [0, 1, None], ids=["nothing", "one-block", "all"])
def test_closing_at_any_point_leaves_no_thread(name: str, taken: int | None) -> None:
    for length in (0, 5, 300, 6_000, len(CLIPS[name])):
        decoder = containers.decoder(AudioFormat())
        list(islice(decoder.feed(CLIPS[name][:length]), taken))
        decoder.close()
        decoder.close()
    assert decoding_threads() == []


def test_a_decoder_that_is_lost_takes_its_thread_with_it() -> None:
    decoder = LibavDecoder("ogg")
    list(decoder.feed(CLIPS["sentence-opus.ogg"][:5_000]))
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "decode-ogg")
    del decoder
    gc.collect()
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_drops_are_on_the_clock_of_the_result() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440.0 * np.arange(3 * 48_000) / 48_000)
    tone[48_000:96_000] = np.nan
    timeline = ear.Timeline(start=1_000)
    decoder = containers.decoder(AudioFormat(Encoding.FLOAT32, 48_000, 1))
    data = tone.astype("<f4").tobytes()
    samples = [timeline.take(block) for block in [*decoder.feed(data), *decoder.finish()]]
    assert sum(map(len, [*samples, timeline.finish()])) == 48_000
    assert timeline.gaps.rest() == [AudioDropped(17_000, 16_000, DropReason.NOT_FINITE)]
