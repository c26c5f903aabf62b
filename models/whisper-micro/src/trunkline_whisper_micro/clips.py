"""Clips of speech, or of no speech, with what is said in them and when."""

from dataclasses import dataclass, replace
from math import gcd
from random import Random
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from trunkline_phrases import Language, Part, sample
from trunkline_whisper_micro import augment, noises, voices
from trunkline_whisper_micro.espeak import Speech, Word
from trunkline_whisper_micro.noises import RATE_HZ, Sound
from trunkline_whisper_micro.shuffle import shuffled

WINDOW_S: Final = 8.0
"""What the model hears at once."""
_TWO, _CUT, _SILENT = 0.2, 0.25, 0.06
_PATIENCE_S: Final = 0.05
"""So much of a word may be cut off, and it still counts as said."""


class Speaker(Protocol):
    """Whoever says a text."""

    def say(self, text: str, voice: voices.Voice) -> Speech: ...


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence, or what is left of it."""

    words: tuple[Word, ...]
    end_s: float
    """Where it ends, or is cut."""

    @property
    def start_s(self) -> float:
        return self.words[0].start_s

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A recording of at most a window, mono at 16 kHz."""

    samples: Sound
    language: Language
    segments: tuple[Segment, ...]
    """None where nobody speaks."""
    templates: tuple[str, ...]
    """The ids of the phrases' templates; none of shuffled words."""
    voice: str
    words_per_minute: int

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)


def draw(rng: Random, language: Language, speaker: Speaker, shuffle: bool = False) -> Clip:
    """A clip for training: one sentence or two, whole or cut anywhere, or none; recorded in some way.

    With `shuffle` the words of the sentences are of any order.
    """
    numbers = np.random.default_rng(rng.getrandbits(64))
    if rng.random() < _SILENT:
        return _silent(rng, numbers, language)
    clip = say(rng, language, "train", 2 if rng.random() < _TWO else 1, speaker, shuffle)
    if rng.random() < _CUT:
        duration_s = len(clip.samples) / RATE_HZ
        first = rng.uniform(0.0, 0.6) * duration_s if rng.random() < 0.4 else 0.0
        last = rng.uniform(first + 0.4, duration_s) if rng.random() < 0.8 else duration_s
        clip = cut(clip, first, last)
    clip = cut(clip, 0.0, WINDOW_S)
    return replace(clip, samples=augment.record(clip.samples, augment.draw(numbers), numbers))


def draw_held_out(rng: Random, language: Language, part: Part, speaker: Speaker, noise: bool = True) -> Clip:
    """A clip to measure with: one whole sentence of a part that is held out, in a voice that is."""
    numbers = np.random.default_rng(rng.getrandbits(64))
    # A long sentence said slowly may outlast the window: another one, then.
    while len((clip := say(rng, language, part, 1, speaker)).samples) > WINDOW_S * RATE_HZ:
        pass
    conditions = augment.draw_held_out(numbers) if noise else augment.Conditions()
    return replace(clip, samples=augment.record(clip.samples, conditions, numbers))


def say(
    rng: Random, language: Language, part: Part, sentences: int, speaker: Speaker, shuffle: bool = False
) -> Clip:
    """Sentences of a part of the phrases' split, one after the other in one voice, with silence around."""
    voice = voices.draw(rng, language, part)
    segments: list[Segment] = []
    templates: list[str] = []
    pieces: list[Sound] = [_silence(_pause(rng))]
    while len(segments) < sentences:
        if shuffle:
            text = shuffled(rng, language)
        else:
            sentence = sample(rng, part, (language,))
            text = sentence.texts[language]
            templates.append(sentence.template)
        speech = speaker.say(text, voice)
        sound = to_rate(speech.samples, speech.rate_hz)
        if not speech.words or not sound.any():
            raise ValueError(f"{voice.name} says nothing for {text!r}")
        offset_s = sum(map(len, pieces)) / RATE_HZ
        words = tuple(
            Word(word.text, word.start_s + offset_s, word.end_s + offset_s) for word in speech.words
        )
        segments.append(Segment(words, words[-1].end_s))
        pieces += [sound, _silence(_pause(rng))]
    return Clip(
        np.concatenate(pieces),
        language,
        tuple(segments),
        tuple(templates),
        voice.name,
        voice.words_per_minute,
    )


def cut(clip: Clip, first_s: float, last_s: float) -> Clip:
    """A piece of a clip. A word that is not whole in it is not said in it."""
    begin, end = round(first_s * RATE_HZ), round(last_s * RATE_HZ)
    samples = clip.samples[begin:end]
    length_s = len(samples) / RATE_HZ
    segments = []
    for segment in clip.segments:
        words = tuple(
            Word(word.text, max(word.start_s - first_s, 0.0), min(word.end_s - first_s, length_s))
            for word in segment.words
            if word.start_s - first_s >= -_PATIENCE_S and word.end_s - first_s <= length_s + _PATIENCE_S
        )
        if words:
            segments.append(Segment(words, min(segment.end_s - first_s, length_s)))
    return replace(clip, samples=samples, segments=tuple(segments))


def to_rate(samples: npt.NDArray[np.int16], rate_hz: int) -> Sound:
    """16-bit samples at the model's rate, in [-1, 1]."""
    common = gcd(rate_hz, RATE_HZ)
    sound = samples.astype(np.float32) / 32768
    return np.asarray(resample_poly(sound, RATE_HZ // common, rate_hz // common), np.float32)


def _silent(rng: Random, numbers: np.random.Generator, language: Language) -> Clip:
    count = round(rng.uniform(0.5, WINDOW_S) * RATE_HZ)
    sound = _silence(count / RATE_HZ)
    if rng.random() < 0.85:
        sound = noises.TRAINING[rng.choice(list(noises.TRAINING))](numbers, count)
        sound = augment.gain(sound, numbers.uniform(-60.0, -1.0))
    return Clip(sound, language, (), (), "", 0)


def _silence(duration_s: float) -> Sound:
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def _pause(rng: Random) -> float:
    """Mostly short, now and then two seconds."""
    return min(0.03 + rng.expovariate(1 / 0.25), 2.0)
