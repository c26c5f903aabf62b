"""Spoken sentences for demonstrations and tests, with what is said in them and when.

    python -m trunkline_whisper_micro.samples

says sentences of the templates that are held out in voices that are, and writes them as Ogg/Opus beside their
manifest. It needs `libespeak-ng` and PyAV; reading the manifest needs neither.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from trunkline_phrases import Language, Sentence, sample
from trunkline_whisper_micro import voices
from trunkline_whisper_micro.artifact import to_json
from trunkline_whisper_micro.clips import Speaker, to_rate
from trunkline_whisper_micro.espeak import espeak
from trunkline_whisper_micro.noises import RATE_HZ, Sound

MANIFEST: Final = "samples.json"
SEED: Final = 4
SENTENCES: Final[dict[Language, int]] = {"en": 12, "es": 8}
"""Recordings of one sentence."""
CONVERSATION: Final = 7
"""Sentences of a recording in which two speak in turn; there is one a language."""
MOST_WORDS: Final = 11
BEFORE_S, AFTER_S = 0.3, 0.3
PAUSES_S: Final = (0.9, 1.6)
"""Between two who speak in turn: more than what ends a turn."""
BITS_PER_SECOND: Final = 24_000
_NEEDS_THE_ONE_BEFORE: Final = "dialogue"


@dataclass(frozen=True, slots=True)
class SampleWord:
    """A word as it is written, and when it is said."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class SampleSentence:
    """A sentence of a recording."""

    text: str
    template: str
    """Id of the phrases' template, which is held out."""
    speaker: int
    """From 1, in the order of first speech."""
    voice: str
    """As eSpeak names it: en-us+f4."""
    words_per_minute: int
    words: tuple[SampleWord, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A recording, mono, that ends soon after its last word."""

    file: str
    language: Language
    duration_s: float
    sentences: tuple[SampleSentence, ...]

    @property
    def text(self) -> str:
        """All that is said, a space between sentences."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def path(self) -> Path:
        """Where the recording lies."""
        return directory() / self.file


def directory() -> Path:
    """The recordings that ship: inside an installed package, or beside the sources.

    Raises:
        FileNotFoundError: neither is there.
    """
    package = Path(__file__).parent
    for place in (package / "samples", package.parents[1] / "samples"):
        if (place / MANIFEST).is_file():
            return place
    raise FileNotFoundError("no recordings; `python -m trunkline_whisper_micro.samples` makes them")


def load(place: Path | None = None) -> list[Sample]:
    """The recordings of a directory, by default those that ship.

    Raises:
        FileNotFoundError: there are none.
    """
    manifest = json.loads(((place or directory()) / MANIFEST).read_bytes())
    return [
        Sample(
            entry["file"],
            entry["language"],
            entry["duration_s"],
            tuple(
                SampleSentence(**{**said, "words": tuple(SampleWord(**word) for word in said["words"])})
                for said in entry["sentences"]
            ),
        )
        for entry in manifest["samples"]
    ]


def make(place: Path, speaker: Speaker, write: Callable[[Path, Sound], None]) -> list[Sample]:
    """Makes all recordings and their manifest, in one order: what eSpeak says depends on what it said before."""
    place.mkdir(parents=True, exist_ok=True)
    made = []
    for name, language, sentences, speakers in _wanted():
        samples, found = _say(name, language, sentences, speakers, speaker)
        write(place / found.file, samples)
        made.append(found)
    entries = [_entry(found) for found in made]
    (place / MANIFEST).write_text(to_json({"rate_hz": RATE_HZ, "samples": entries}), encoding="utf-8")
    return made


def _wanted() -> Iterator[tuple[str, Language, list[Sentence], list[voices.Voice]]]:
    for language, count in SENTENCES.items():
        rng = Random(f"{SEED} {language}")
        for number, sentence in enumerate(_different(rng, language, count), 1):
            yield f"{language}-{number:02}", language, [sentence], [voices.draw(rng, language, "test")]
    for language in SENTENCES:
        rng = Random(f"{SEED} {language} conversation")
        first = second = voices.draw(rng, language, "test")
        while second.variant == first.variant:
            second = voices.draw(rng, language, "test")
        yield f"{language}-conversation", language, _different(rng, language, CONVERSATION), [first, second]


def _different(rng: Random, language: Language, count: int) -> list[Sentence]:
    """Sentences of families that differ, as far as there are so many; of no more words than one breath holds."""
    chosen: dict[str, Sentence] = {}
    while len(chosen) < count:
        sentence = sample(rng, "test", (language,))
        fits = 4 <= len(sentence.texts[language].split()) <= MOST_WORDS
        if fits and sentence.family != _NEEDS_THE_ONE_BEFORE:
            chosen.setdefault(sentence.family, sentence)
    return list(chosen.values())


def _say(
    name: str, language: Language, sentences: list[Sentence], speakers: list[voices.Voice], speaker: Speaker
) -> tuple[Sound, Sample]:
    rng = Random(f"{SEED} {name}")
    pieces = [_silence(BEFORE_S)]
    said = []
    for number, sentence in enumerate(sentences):
        voice = speakers[number % len(speakers)]
        if number:
            pieces.append(_silence(rng.uniform(*PAUSES_S)))
        offset_s = sum(map(len, pieces)) / RATE_HZ
        speech = speaker.say(sentence.texts[language], voice)
        pieces.append(to_rate(speech.samples, speech.rate_hz))
        words = tuple(
            SampleWord(word.text, round(word.start_s + offset_s, 3), round(word.end_s + offset_s, 3))
            for word in speech.words
        )
        said.append(
            SampleSentence(
                sentence.texts[language],
                sentence.template,
                number % len(speakers) + 1,
                voice.name,
                voice.words_per_minute,
                words,
            )
        )
    samples = np.concatenate([*pieces, _silence(AFTER_S)])
    return samples, Sample(f"{name}.ogg", language, round(len(samples) / RATE_HZ, 3), tuple(said))


def _silence(duration_s: float) -> Sound:
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def _entry(made: Sample) -> dict[str, Any]:
    return {"file": made.file, "language": made.language, "text": made.text} | asdict(made)


def write_opus(path: Path, samples: Sound) -> None:
    """Writes Ogg/Opus; of the same samples the same bytes."""
    import av

    pcm = np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)
    # Bit-exact: the muxer would otherwise number the stream at random.
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=RATE_HZ, layout="mono")
        stream.bit_rate = BITS_PER_SECOND
        frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes them again."""
    parser = argparse.ArgumentParser("python -m trunkline_whisper_micro.samples", description=__doc__)
    place = Path(__file__).parents[2] / "samples"
    parser.add_argument("--out", type=Path, default=place, metavar="DIR", help="(%(default)s)")
    chosen = parser.parse_args(arguments)
    for made in make(chosen.out, espeak(), write_opus):
        size = (chosen.out / made.file).stat().st_size
        print(f"{made.file:<22} {made.duration_s:5.1f} s {size:>7,} bytes  {made.text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
