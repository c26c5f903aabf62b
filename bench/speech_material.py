"""Speech with what is said in it and when, for the benchmarks of the speech service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from trunkline_phrases import LANGUAGES, Language
from trunkline_whisper_micro import clips
from trunkline_whisper_micro.espeak import espeak

RATE_HZ = 16_000
SAMPLES = Path(__file__).resolve().parents[1] / "models/whisper-micro/samples"
FRAME = 512
"""Samples that the voice detector hears at once."""

Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Timed:
    """A word, in seconds from the beginning of its recording."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Utterance:
    """One sentence, mono at RATE_HZ."""

    samples: Sound
    language: str
    words: tuple[Timed, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def pcm(self) -> bytes:
        return pcm(self.samples)


@dataclass(frozen=True, eq=False)
class Track:
    """Utterances one after the other, with pauses."""

    samples: Sound
    utterances: tuple[Utterance, ...]
    """With words on the track's clock."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE_HZ


def pcm(samples: Sound) -> bytes:
    """LINEAR16."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def track(
    utterances: Sequence[Utterance], seconds: float, rng: Random, pause_s: tuple[float, float] = (1.2, 2.5)
) -> Track:
    """About so many seconds of utterances in random order, each followed by a pause; whole VAD frames."""
    pieces: list[Sound] = [np.zeros(RATE_HZ // 2, np.float32)]
    placed: list[Utterance] = []
    length = len(pieces[0])
    for utterance in _shuffled(utterances, rng):
        offset_s = length / RATE_HZ
        words = tuple(
            Timed(word.text, word.start_s + offset_s, word.end_s + offset_s) for word in utterance.words
        )
        placed.append(Utterance(utterance.samples, utterance.language, words))
        pause = round(rng.uniform(*pause_s) * RATE_HZ)
        pieces += [utterance.samples, np.zeros(pause, np.float32)]
        length += len(utterance.samples) + pause
        if length >= seconds * RATE_HZ:
            break
    pieces.append(np.zeros(-length % FRAME, np.float32))
    return Track(np.concatenate(pieces), tuple(placed))


def samples(directory: Path = SAMPLES, languages: Sequence[str] = ()) -> list[Utterance]:
    """The spoken sentences that ship: those of one sentence a file."""
    manifest = json.loads((directory / "samples.json").read_bytes())
    found = []
    for sample in manifest["samples"]:
        if len(sample["sentences"]) == 1 and (not languages or sample["language"] in languages):
            words = tuple(
                Timed(word["text"], word["start_s"], word["end_s"])
                for word in sample["sentences"][0]["words"]
            )
            found.append(Utterance(read(directory / sample["file"]), sample["language"], words))
    return found


def read(file: Path) -> Sound:
    """A recording, mono at RATE_HZ. One without a header (.raw) is LINEAR16 at that rate already."""
    if file.suffix == ".raw":
        return np.frombuffer(file.read_bytes(), "<i2").astype(np.float32) / np.float32(32768)
    sound, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(sound.mean(axis=1), rate_hz, RATE_HZ), np.float32)


def held_out(
    count: int, languages: Sequence[str] = LANGUAGES, seed: int = 7, noise: bool = True
) -> dict[str, list[Utterance]]:
    """So many sentences a language of templates, voices, speeds and noise that training never met.

    Raises:
        EspeakMissing: eSpeak NG is not on this machine.
    """
    found: dict[str, list[Utterance]] = {}
    for language in (language for language in LANGUAGES if language in languages):
        rng = Random(f"bench {seed} {language}")
        found[language] = [_drawn(rng, language, noise) for _ in range(count)]
    return found


def _drawn(rng: Random, language: Language, noise: bool) -> Utterance:
    clip = clips.draw_held_out(rng, language, "test", espeak(), noise)
    words = tuple(
        Timed(word.text, word.start_s, word.end_s) for segment in clip.segments for word in segment.words
    )
    return Utterance(clip.samples, language, words)


def _shuffled(utterances: Sequence[Utterance], rng: Random) -> Iterator[Utterance]:
    while True:
        yield from rng.sample(utterances, len(utterances))
