"""Recordings and microphones as LINEAR16 of 16 kHz."""

import asyncio
import ctypes.util
import sys
import wave
from types import SimpleNamespace

import av
import numpy as np
import pytest

from trunkline_local.transcribe_audio import (
    RATE_HZ,
    NoAudio,
    Recording,
    microphone,
    paced,
    until_stopped,
)
from trunkline_whisper_micro import samples


def wav(path, rate_hz, channels, length_s=1.5, hertz=440):
    time = np.arange(round(length_s * rate_hz)) / rate_hz
    tone = (np.sin(2 * np.pi * hertz * time) * 10_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat(tone, channels).tobytes())
    return path


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_recording_becomes_16_khz_mono_of_the_same_length_and_pitch(tmp_path, rate_hz, channels):
    pieces = list(Recording(wav(tmp_path / "tone.wav", rate_hz, channels)).pcm(0.1))
    assert {len(piece) for piece in pieces[:-1]} == {3200}
    sound = np.frombuffer(b"".join(pieces), "<i2")
    assert len(sound) == pytest.approx(1.5 * RATE_HZ, abs=32)
    middle = sound[4000:20_000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) == pytest.approx(440, abs=1)


def test_the_size_of_the_pieces_changes_nothing(tmp_path):
    recording = Recording(samples.load()[0].path)
    assert b"".join(recording.pcm(0.1)) == b"".join(recording.pcm(1.0))


async def test_it_is_decoded_in_a_thread_to_the_same(tmp_path):
    recording = Recording(wav(tmp_path / "tone.wav", 44_100, 2))
    assert [piece async for piece in recording.pieces(0.1)] == list(recording.pcm(0.1))


def test_damaged_pieces_are_skipped_and_counted(tmp_path):
    file = tmp_path / "damaged.aac"
    noise = np.random.default_rng(7).uniform(-0.3, 0.3, 5 * 48_000).astype(np.float32)
    with av.open(str(file), "w", format="adts") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise[None, :], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(3).bytes(3000)
    file.write_bytes(content)
    recording = Recording(file)
    length_s = sum(map(len, recording.pcm(0.1))) / 2 / RATE_HZ
    assert recording.skipped > 0
    assert 3 < length_s < 5


@pytest.mark.parametrize("content", [b"", b"this is no audio", b"RIFF" + bytes(100)])
def test_what_is_no_audio_is_refused_by_name(tmp_path, content):
    file = tmp_path / "letter.txt"
    file.write_bytes(content)
    with pytest.raises(NoAudio, match=r"letter\.txt"):
        list(Recording(file).pcm(0.1))


async def in_pieces(*given):
    for piece in given:
        yield piece


async def test_a_piece_is_due_when_it_was_spoken_and_what_is_late_goes_at_once():
    time_s, waits = [100.0], []

    async def sleep(seconds):
        waits.append(seconds)
        time_s[0] += seconds

    second = bytes(2 * RATE_HZ)
    paced_pieces = paced(in_pieces(second, second, second[: RATE_HZ // 2]), lambda: time_s[0], sleep)
    await anext(paced_pieces)
    assert time_s[0] == 101.0
    time_s[0] = 101.75
    await anext(paced_pieces)
    assert time_s[0] == 102.0
    time_s[0] = 110.0
    await anext(paced_pieces)
    assert waits == [1.0, 0.25]


async def test_who_stops_gets_nothing_more():
    stop = asyncio.Event()

    async def endless():
        yield b"one"
        stop.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(30):
        assert [piece async for piece in until_stopped(endless(), stop)] == [b"one"]
    assert [piece async for piece in until_stopped(in_pieces(b"a", b"b"), asyncio.Event())] == [b"a", b"b"]


async def test_without_sounddevice_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(NoAudio, match=r"pip install 'trunkline-local\[microphone\]'"):
        await anext(microphone(None))


async def test_without_portaudio_the_message_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(NoAudio, match="apt-get install libportaudio2"):
        await anext(microphone(None))


class PortAudioError(Exception):
    pass


def devices(*names, opens=None):
    """A stand-in for sounddevice on a machine with these microphones; no machine that tests run on has one."""

    def query_devices():
        return [{"name": name, "max_input_channels": 1} for name in names] + [
            {"name": "loudspeaker", "max_input_channels": 0}
        ]

    def refuse(**options):
        raise PortAudioError("Error querying device -1")

    return SimpleNamespace(
        PortAudioError=PortAudioError, query_devices=query_devices, RawInputStream=opens or refuse
    )


async def test_a_device_that_is_not_there_is_told_beside_those_that_are(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", devices("webcam", "headset"))
    with pytest.raises(NoAudio, match=r"no microphone 'table'.*--device takes one of: webcam, headset"):
        await anext(microphone("table"))
    monkeypatch.setitem(sys.modules, "sounddevice", devices())
    with pytest.raises(NoAudio, match="This machine has none: give a FILE instead"):
        await anext(microphone(None))


async def test_a_microphone_is_heard_at_16_khz_and_closed_in_the_end(monkeypatch):
    opened = []

    class Stream:
        def __init__(self, callback, **options):
            self.callback, self.options, self.closed = callback, options, False
            opened.append(self)

        def start(self):
            for piece in (b"first", b"second"):
                self.callback(memoryview(piece), 1600, None, None)

        def close(self):
            self.closed = True

    monkeypatch.setitem(sys.modules, "sounddevice", devices("webcam", opens=Stream))
    heard = microphone("2")
    assert [await anext(heard), await anext(heard)] == [b"first", b"second"]
    await heard.aclose()
    (stream,) = opened
    assert stream.closed
    assert stream.options == {
        "samplerate": RATE_HZ,
        "channels": 1,
        "dtype": "int16",
        "device": 2,
        "blocksize": 1600,
    }
