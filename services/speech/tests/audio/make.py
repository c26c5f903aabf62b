"""Makes the clips beside it: one sentence of espeak-ng's, in every codec.

python services/speech/tests/audio/make.py     needs espeak-ng, and soundfile for Vorbis
"""

from __future__ import annotations

import io
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import soundfile
from av.audio.resampler import AudioResampler

HERE = Path(__file__).parent
SENTENCE = "Please book a table for two at half past seven."


@dataclass(frozen=True)
class Clip:
    """A file, and how it is encoded."""

    name: str
    codec: str
    container: str
    rate_hz: int
    sample_format: str
    bit_rate: int = 0


CLIPS = (
    Clip("sentence.wav", "pcm_s16le", "wav", 16_000, "s16"),
    Clip("sentence.flac", "flac", "flac", 16_000, "s16"),
    Clip("sentence-opus.ogg", "libopus", "ogg", 48_000, "s16", 24_000),
    Clip("sentence.mp3", "libmp3lame", "mp3", 22_050, "s16p", 32_000),
    Clip("sentence.webm", "libopus", "webm", 48_000, "s16", 24_000),
)
VORBIS = "sentence-vorbis.ogg"


def speech() -> av.container.InputContainer:
    """The sentence at espeak-ng's 22,050 Hz, as a WAV file."""
    said = subprocess.run(
        ["espeak-ng", "-v", "en-gb", "-s", "170", "--stdout", SENTENCE], check=True, capture_output=True
    )
    return av.open(io.BytesIO(said.stdout))


def write(clip: Clip) -> None:
    """Writes one clip."""
    options = {"fflags": "+bitexact"}
    with (
        speech() as spoken,
        av.open(str(HERE / clip.name), "w", format=clip.container, options=options) as file,
    ):
        stream = file.add_stream(clip.codec, rate=clip.rate_hz, layout="mono", options={"flags": "+bitexact"})
        if clip.bit_rate:
            stream.bit_rate = clip.bit_rate
        resampler = AudioResampler(
            clip.sample_format, "mono", clip.rate_hz, stream.codec_context.frame_size or None
        )
        position = 0
        for frame in [*spoken.decode(audio=0), None]:
            for piece in resampler.resample(frame):
                piece.pts, piece.time_base = position, Fraction(1, clip.rate_hz)
                position += piece.samples
                file.mux(stream.encode(piece))
        file.mux(stream.encode(None))


def write_vorbis() -> None:
    """Writes the Vorbis clip, by libvorbis: PyAV's wheels only decode Vorbis."""
    samples, rate_hz = soundfile.read(HERE / "sentence.wav", dtype="float32")
    soundfile.write(HERE / VORBIS, samples, rate_hz, format="OGG", subtype="VORBIS", compression_level=0.9)


def main() -> None:
    """Writes all of them."""
    for clip in CLIPS:
        write(clip)
    write_vorbis()
    for name in [*(clip.name for clip in CLIPS), VORBIS]:
        print(f"{name}\t{(HERE / name).stat().st_size}")


if __name__ == "__main__":
    main()
