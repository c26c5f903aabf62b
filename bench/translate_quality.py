"""chrF, BLEU and exact matches of every engine and direction, through the service.

`phrases` are sentences of templates that the shipped model's training never met, in four languages, every direction,
alone. A sentence is in the wrong language when
another language knows more of its words: no more than 0.1 % may be. `tatoeba` and `ntrex` (--data) are open text,
short sentences and news. What an engine refuses or fails on counts as an empty translation, and its share is shown.
Engines are asked by name, so that nobody stands in for them. Triton and vLLM are measured where the settings of a
service name them (`TRUNKLINE_TRITON*`, `TRUNKLINE_VLLM*`).

    python -m bench translate_quality [--data ../shared/data/translation] [--sentences 300] [--open 300]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sacrebleu
import uvloop

from bench.model_service import parser, running, stores
from trunkline.translate.v1 import translate_pb2 as pb
from trunkline.translate.v1.translate_pb2_grpc import TranslateServiceStub
from trunkline_hop.channel import connect
from trunkline_hop.errors import Fault
from trunkline_phrase_translator.evaluate import in_another
from trunkline_phrase_translator.held_out import HeldOut, held_out
from trunkline_phrases import LANGUAGES, Language

SEED = 911
CALL_S = 600.0
BATCH = 64
WRONG_AT_MOST = 0.001
CODES = {"en": "eng", "es": "spa", "de": "deu", "fr": "fra", "zh": "zho"}
TATOEBA = {**CODES, "zh": "cmn"}
ENGINES = ("TRUNKLINE_TRITON", "TRUNKLINE_VLLM")
FORMALITIES = {
    None: pb.FORMALITY_UNSPECIFIED,
    "formal": pb.FORMALITY_FORMAL,
    "informal": pb.FORMALITY_INFORMAL,
}
HEAD = (
    "| engine | corpus | direction | sentences | chrF | BLEU | exact | without an answer | wrong language |"
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sentences and what they are in another language."""

    name: str
    source: str
    target: str
    sources: list[str]
    references: list[str]
    formalities: list[str | None]


def phrases(count: int) -> Iterator[Corpus]:
    """Held-out sentences of every direction."""
    for source, target in itertools.permutations(LANGUAGES, 2):
        found: Sequence[HeldOut] = held_out(source, target, count, SEED, answers=False)
        yield Corpus(
            "phrases",
            source,
            target,
            [each.source for each in found],
            [each.target for each in found],
            [each.formality for each in found],
        )


def open_text(data: Path, count: int) -> Iterator[Corpus]:
    """The first so many lines of every pair that there is."""
    for source, target in itertools.permutations(CODES, 2):
        files = {"ntrex": (data / f"ntrex.{CODES[source]}.txt", data / f"ntrex.{CODES[target]}.txt")}
        if "en" in (source, target):
            other = TATOEBA[target if source == "en" else source]
            pair = {"en": data / f"tatoeba.{other}-eng.eng.txt"}
            files["tatoeba"] = (
                pair.get(source, data / f"tatoeba.{other}-eng.{other}.txt"),
                pair.get(target, data / f"tatoeba.{other}-eng.{other}.txt"),
            )
        for name, (from_file, to_file) in files.items():
            if from_file.is_file() and to_file.is_file():
                sources = from_file.read_text(encoding="utf-8").splitlines()[:count]
                references = to_file.read_text(encoding="utf-8").splitlines()[:count]
                yield Corpus(name, source, target, sources, references, [None] * len(sources))


async def translate(stub: Any, engine: str, corpus: Corpus) -> list[str]:
    """What the engine makes of the sentences; empty where it does not answer."""
    answers = [""] * len(corpus.sources)
    for formality in dict.fromkeys(corpus.formalities):
        places = [place for place, asked in enumerate(corpus.formalities) if asked == formality]
        for start in range(0, len(places), BATCH):
            chosen = places[start : start + BATCH]
            request = pb.TranslateRequest(
                options=pb.TranslationOptions(
                    model=f"engines/{engine}",
                    source_language_code=corpus.source,
                    target_language_code=corpus.target,
                    formality=FORMALITIES[formality],
                ),
                texts=[corpus.sources[place] for place in chosen],
            )
            try:
                reply = await stub.Translate(request, timeout=CALL_S)
            except Fault as fault:
                print(f"a batch failed: {fault}", file=sys.stderr)
                continue
            for place, translation in zip(chosen, reply.translations, strict=True):
                answers[place] = translation.translated.text
    return answers


def row(engine: str, corpus: Corpus, answers: Sequence[str]) -> int:
    """Prints it; how many sentences are in the wrong language."""
    tokenize = "zh" if corpus.target == "zh" else "13a"
    references = [corpus.references]
    exact = sum(answer == right for answer, right in zip(answers, corpus.references, strict=True))
    wrong = (
        sum(in_another(answer, cast("Language", corpus.target)) for answer in answers)
        if corpus.name == "phrases"
        else 0
    )
    print(
        f"| {engine} | {corpus.name} | {corpus.source}-{corpus.target} | {len(answers)} "
        f"| {sacrebleu.corpus_chrf(answers, references).score:.1f} "
        f"| {sacrebleu.corpus_bleu(answers, references, tokenize=tokenize).score:.1f} "
        f"| {exact / len(answers):.1%} | {sum(not answer for answer in answers) / len(answers):.1%} "
        f"| {f'{wrong}' if corpus.name == 'phrases' else ''} |",
        flush=True,
    )
    return wrong


async def measure(given: argparse.Namespace) -> bool:
    """Whether no more is in the wrong language than may be."""
    corpora = list(phrases(given.sentences))
    if given.data.is_dir():
        corpora += open_text(given.data, given.open)
    else:
        print(f"absent: {given.data}, so nothing about open text")
    settings = {
        name.removeprefix("TRUNKLINE_"): value
        for name, value in os.environ.items()
        if name.startswith(ENGINES)
    }
    wrong = sentences = 0
    async with (
        stores(given.artifact) as at,
        running("translate", at, None, settings) as served,
        connect("translate", served.target) as channel,
    ):
        stub = TranslateServiceStub(channel)
        pairs = (await stub.ListLanguages(pb.ListLanguagesRequest(page_size=1000))).pairs
        print(HEAD)
        print("|---" * (HEAD.count("|") - 1) + "|")
        for corpus in corpora:
            engines = next(
                (
                    pair.engines
                    for pair in pairs
                    if (pair.source_language_code, pair.target_language_code)
                    == (corpus.source, corpus.target)
                ),
                (),
            )
            for engine in (each.engine for each in engines if each.ready):
                answers = await translate(stub, engine, corpus)
                found = row(engine, corpus, answers)
                if corpus.name == "phrases" and engine == "openvino":
                    wrong += found
                    sentences += sum(map(bool, answers))
    share = wrong / sentences if sentences else 1.0
    print(
        f"\nwrong language, openvino, phrases: {wrong} of {sentences}, {share:.3%} (at most {WRONG_AT_MOST:.1%})"
    )
    return share <= WRONG_AT_MOST


def main(options: Sequence[str] = ()) -> None:
    """Prints the table; ends with 1 when too much is in the wrong language."""
    made = parser(__doc__, "phrase-translator")
    made.add_argument("--data", type=Path, default=Path("../shared/data/translation"), help="open text")
    made.add_argument("--sentences", type=int, default=300, help="held-out ones of every direction")
    made.add_argument("--open", type=int, default=300, help="of every corpus and direction of open text")
    given = made.parse_args(options)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if not runner.run(measure(given)):
            raise SystemExit(1)
