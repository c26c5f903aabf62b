"""What translation knows of languages: sentence boundaries, detection, and what its checks say of right translations.

    python -m bench translate_language --data DIR

Boundaries are those of services/translate/tests/data; where pysbd is installed, it is measured beside. Detection and
checks are measured on `models/phrases` and, with --data, on the parallel texts in DIR (`ntrex.LLL.txt`,
`tatoeba.LLL-eng.LLL.txt`: a sentence a line, LLL an ISO 639-3 code); where lingua is installed, it is measured beside.
A check that finds fault with a reference is a false alarm.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import psutil

from bench.chain import quantile
from trunkline_phrases import sample
from trunkline_translate.checks import Checks
from trunkline_translate.detect import Detector
from trunkline_translate.language import Direction

LANGUAGES = ("en", "es", "de", "fr", "zh", "ja")
CODES = {"eng": "en", "spa": "es", "deu": "de", "fra": "fr", "zho": "zh", "cmn": "zh"}
PHRASES = 1000
TESTS = Path(__file__).parents[1] / "services" / "translate" / "tests"

Texts = dict[str, dict[str, list[str]]]
"""Sentences by corpus and language; those of a corpus are translations of each other, line by line."""


def texts(data: Path | None) -> Texts:
    """The parallel texts that there are."""
    rng = Random(7)
    phrases = [sample(rng, "test").texts for _ in range(PHRASES)]
    found: Texts = {
        "phrases": {code: [texts[code] for texts in phrases] for code in ("en", "es", "de", "fr")}
    }
    if data is None:
        return found
    for path in sorted(data.glob("*.txt")):
        corpus, _, code = path.stem.rpartition(".")
        found.setdefault(corpus, {})[CODES[code]] = path.read_text().splitlines()
    return found


def boundaries() -> None:
    """F1 of the boundaries within texts, per language."""
    sys.path.insert(0, str(TESTS))
    suite = importlib.import_module("test_boundaries")
    peer = importlib.import_module("pysbd") if importlib.util.find_spec("pysbd") else None
    print(f"{'boundaries':12} {'cases':>6} {'marks':>6} {'F1':>8} {'wrong':>6} {'missed':>7} {'pysbd F1':>9}")
    for languages in (*((language,) for language in suite.LANGUAGES), suite.LANGUAGES):
        score, other = suite.score(languages), suite.Score()
        cases = [(language, case) for language in languages for case in suite.cases(language)]
        for language, case in cases:
            if peer is None:
                break
            text, truth = suite.read(case)
            other.add(truth, suite.places(peer.Segmenter(language=language, clean=False).segment(text)))
        name = languages[0] if len(languages) == 1 else "all"
        marks = score.right + score.missed
        print(
            f"{name:12} {len(cases):6} {marks:6} {score.f1:8.4f} {score.wrong:6} {score.missed:7}"
            f" {f'{other.f1:9.4f}' if peer else '        -'}"
        )


def lingua() -> Callable[[str], str]:
    """The peer's detector, told the same languages, all of it loaded."""
    library = importlib.import_module("lingua")
    codes = [getattr(library.IsoCode639_1, code.upper()) for code in LANGUAGES]
    builder = library.LanguageDetectorBuilder.from_iso_codes_639_1(*codes)
    detector = builder.with_preloaded_language_models().build()

    def first(text: str) -> str:
        values = detector.compute_language_confidence_values(text)
        return str(values[0].language.iso_code_639_1.name.lower()) if values else ""

    return first


def ours() -> Callable[[str], str]:
    """The service's detector."""
    detector = Detector(LANGUAGES)

    def first(text: str) -> str:
        found = detector.detect(text)
        return found[0].code if found else ""

    return first


def detection(found: Texts) -> None:
    """How often the most likely language is right, and what that costs."""
    for name, load in (("ours", ours), ("lingua", lingua)):
        if name == "lingua" and importlib.util.find_spec("lingua") is None:
            continue
        before, began = psutil.Process().memory_info().rss, time.perf_counter()
        first = load()
        first("Hello, world.")
        took_s, memory = time.perf_counter() - began, psutil.Process().memory_info().rss - before
        took_us: list[float] = []
        shares = []
        for corpus, by_language in found.items():
            for code, lines in by_language.items():
                right = 0
                for line in lines:
                    start = time.perf_counter()
                    right += first(line) == code
                    took_us.append((time.perf_counter() - start) * 1e6)
                shares.append(f"{corpus} {code} {right / len(lines):.2%}")
        print(f"\ndetection by {name}: {took_s:.2f} s to start, {memory / 2**20:.0f} MB more")
        print(f"{quantile(took_us, 0.5):.0f} us at the median, {quantile(took_us, 0.99):.0f} at p99")
        print("\n".join(shares))


def pairs(found: Texts) -> Iterator[tuple[str, Direction, list[str], list[str]]]:
    """Every pair of languages of every corpus."""
    for corpus, by_language in found.items():
        for source, target in itertools.permutations(by_language, 2):
            yield corpus, Direction(source, target), by_language[source], by_language[target]


def alarms(found: Texts) -> None:
    """What the checks find wrong with references."""
    checks = Checks(Detector(LANGUAGES))
    print(f"\n{'false alarms':28} {'sentences':>9} {'hard':>8} {'soft':>8}")
    for corpus, direction, sources, references in pairs(found):
        names: Counter[str] = Counter()
        hard = soft = 0
        for source, reference in zip(sources, references, strict=True):
            if finding := checks.find(source, reference, direction):
                names[finding.name] += 1
                hard += finding.hard
                soft += not finding.hard
        number = len(sources)
        print(
            f"{corpus:21} {direction!s:6} {number:9} {hard / number:8.3%} {soft / number:8.3%}  {dict(names) or ''}"
        )


def main(arguments: Sequence[str] = ()) -> None:
    """Measures all three."""
    parser = argparse.ArgumentParser(prog="python -m bench translate_language")
    parser.add_argument("--data", type=Path, help="directory of parallel texts")
    found = texts(parser.parse_args(arguments).data)
    boundaries()
    detection(found)
    alarms(found)
