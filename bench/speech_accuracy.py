"""Word error rates by engine, language and corpus: streaming beside offline, of the same audio.

Streaming is fed as fast as the service takes audio; what it commits does not depend on that. Every recording is one
call, with its language given. The corpora of --data (librispeech, misc, digits) are real recordings; `phrases` are
sentences, voices and noise that the model's training never met, made here by eSpeak NG, or the samples that ship
where that is absent; `phrases, continuous` are the same ones in one recording with pauses. Texts are normalised by
`trunkline_phrases.spoken`: lower case, no punctuation, nothing else, so figures are errors where words were said.
Errors are summed over a corpus; the interval is a bootstrap over its recordings. Required: streaming minus offline
<= 1.5 points on phrases.

    python -m bench speech_accuracy [--data ../shared/data/speech] [--seconds 300] [--engines whisper-micro]
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import jiwer
import numpy as np
import uvloop

from bench.model_service import parser, running, stores
from bench.speech_material import RATE_HZ, Utterance, held_out, pcm, read, samples, track
from bench.speech_sessions import PCM, at_once, chunks, config, final_text, stub
from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.errors import Fault
from trunkline_phrases import LANGUAGES, Language, spoken
from trunkline_whisper_micro.espeak import EspeakMissing

SPHINX = "engines/pocketsphinx"
CORPORA = ("librispeech", "misc", "digits")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RECOGNIZE_S = 300.0
REQUIRED_POINTS = 1.5
DRAWS = 1000
HEAD = (
    "| engine | corpus | language | recordings, words | offline | streaming | streaming - offline, points |"
)


@dataclass(frozen=True, eq=False)
class Recording:
    """What is heard, and what is said in it."""

    audio: bytes
    """LINEAR16 at RATE_HZ."""
    text: str

    @property
    def seconds(self) -> float:
        return len(self.audio) / 2 / RATE_HZ


@dataclass(frozen=True, slots=True)
class Corpus:
    """Recordings of one kind in one language."""

    name: str
    language: Language
    recordings: list[Recording]


def real(data: Path, seconds: float) -> Iterator[Corpus]:
    """At most so many seconds of every corpus and language, drawn with a fixed seed."""
    with (data / "transcripts.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    # Those are named 7_jackson_3.wav.
    rows += [
        {"file": f"digits/{file.name}", "lang": "en", "reference": DIGITS[int(file.name[0])]}
        for file in sorted((data / "digits").glob("*.wav"))
    ]
    for name, language in itertools.product(CORPORA, LANGUAGES):
        mine = [row for row in rows if row["file"].startswith(f"{name}/") and row["lang"] == language]
        chosen: list[Recording] = []
        for row in Random(name).sample(mine, len(mine)):
            if sum(each.seconds for each in chosen) < seconds and (data / row["file"]).is_file():
                chosen.append(Recording(pcm(read(data / row["file"])), row["reference"]))
        if chosen:
            yield Corpus(name, language, chosen)


def phrases(count: int) -> Iterator[Corpus]:
    """Held-out sentences, each by itself and all in a row."""
    try:
        made = held_out(count)
        name = "phrases"
    except EspeakMissing:
        made = {language: samples(languages=[language]) for language in LANGUAGES}
        name = "samples"
    for language, utterances in made.items():
        if utterances:
            known = cast("Language", language)
            yield Corpus(name, known, [Recording(each.pcm, each.text) for each in utterances])
            yield Corpus(f"{name}, continuous", known, list(_continuous(utterances)))


def _continuous(utterances: Sequence[Utterance], size: int = 12) -> Iterator[Recording]:
    rng = Random(3)
    for start in range(0, len(utterances) - size + 1, size):
        mine = utterances[start : start + size]
        row = track(mine, sum(len(each.samples) for each in mine) / RATE_HZ + size * 0.7, rng, (0.7, 1.5))
        yield Recording(pcm(row.samples), " ".join(each.text for each in row.utterances))


@dataclass
class Side:
    """What one way of recognising gave of a corpus."""

    texts: list[str]
    took_s: float = 0.0
    failed: str = ""


async def hear(service: Any, model: str, corpus: Corpus) -> tuple[Side, Side]:
    """Offline and streaming."""
    offline, streaming = Side([]), Side([])
    options = pb.RecognitionOptions(model=model, language_code=corpus.language)
    for recording in corpus.recordings:
        began = time.perf_counter()
        try:
            request = pb.RecognizeRequest(options=options, audio_format=PCM, audio=recording.audio)
            offline.texts.append((await service.Recognize(request, timeout=RECOGNIZE_S)).text)
        except Fault as fault:
            offline.texts.append("")
            offline.failed = f"{type(fault).__name__}: {fault}"
        middle = time.perf_counter()
        first = config(model=model, language_code=corpus.language)
        try:
            events = [event async for event in at_once(service, chunks(recording.audio), first)]
            streaming.texts.append(final_text(events))
        except Fault as fault:
            streaming.texts.append("")
            streaming.failed = f"{type(fault).__name__}: {fault}"
        offline.took_s += middle - began
        streaming.took_s += time.perf_counter() - middle
    return offline, streaming


def errors(corpus: Corpus, side: Side) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Wrong words and words of each recording."""
    wrong, words = [], []
    for recording, text in zip(corpus.recordings, side.texts, strict=True):
        reference, hypothesis = spoken(recording.text, corpus.language), spoken(text, corpus.language)
        output = jiwer.process_words(reference, hypothesis)
        wrong.append(output.substitutions + output.deletions + output.insertions)
        words.append(len(reference.split()))
    return np.array(wrong), np.array(words)


def row(engine: str, corpus: Corpus, offline: Side, streaming: Side) -> float:
    """Prints it; streaming minus offline in points."""
    (once, words), (live, _) = errors(corpus, offline), errors(corpus, streaming)
    draws = np.random.default_rng(5).integers(0, len(words), (DRAWS, len(words)))
    spread = 100 * (live - once)[draws].sum(axis=1) / words[draws].sum(axis=1)
    points = 100 * float(live.sum() - once.sum()) / int(words.sum())
    low, high = np.quantile(spread, (0.025, 0.975))
    audio_s = sum(each.seconds for each in corpus.recordings)
    print(
        f"| {engine} | {corpus.name} | {corpus.language} | {len(words)}, {words.sum()} "
        f"| {once.sum() / words.sum():.1%} | {live.sum() / words.sum():.1%} "
        f"| {points:+.2f} ({low:+.2f} to {high:+.2f}) "
        f"| {offline.took_s / audio_s:.3f}, {streaming.took_s / audio_s:.3f} |",
        flush=True,
    )
    for side, name in ((offline, "offline"), (streaming, "streaming")):
        if side.failed:
            print(f"{name} failed at least once: {side.failed}")
    return points


async def measure(given: argparse.Namespace) -> bool:
    """Whether streaming is as good as required."""
    corpora = list(phrases(given.phrases))
    if given.data.is_dir():
        corpora = [*real(given.data, given.seconds), *corpora]
    else:
        print(f"absent: {given.data}, so nothing about {', '.join(CORPORA)}")
    kept = True
    async with (
        stores(given.artifact) as at,
        running("speech", at, None) as served,
        stub(served.target) as service,
    ):
        listed = {each.name: each for each in (await service.ListModels(pb.ListModelsRequest())).models}
        languages = next(set(each.language_codes) for name, each in listed.items() if at.model in name)
        engines = {at.model.rpartition("/")[2]: (at.model, languages), "pocketsphinx": (SPHINX, {"en"})}
        print(HEAD[:-1] + "| real-time factor: offline, streaming |")
        print("|---" * HEAD.count("|") + "|")
        for corpus in corpora:
            for engine, (name, hears) in engines.items():
                if corpus.language in hears and engine in (given.engines or engines):
                    points = row(engine, corpus, *await hear(service, name, corpus))
                    kept &= engine == "pocketsphinx" or corpus.name in CORPORA or points <= REQUIRED_POINTS
        for engine, (_, hears) in engines.items():
            unheard = sorted({corpus.language for corpus in corpora} - hears)
            print(
                f"{engine} hears {', '.join(sorted(hears))}, of the corpora's languages all but {', '.join(unheard) or 'none'}"
            )
    return kept


def main(arguments: Sequence[str] = ()) -> None:
    made = parser(__doc__)
    made.add_argument("--data", type=Path, default=Path("../shared/data/speech"))
    made.add_argument("--seconds", type=float, default=300, help="of every real corpus and language, at most")
    made.add_argument("--phrases", type=int, default=120, help="held-out sentences of every language")
    made.add_argument("--engines", nargs="+", help="whisper-micro, pocketsphinx; both without it")
    if not uvloop.run(measure(made.parse_args(arguments))):
        sys.exit("missed")


if __name__ == "__main__":
    main(sys.argv[1:])
