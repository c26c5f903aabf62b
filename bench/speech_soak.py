"""One session of an hour, fed as fast as it goes: what grows, and whether times drift.

The samples are said over and over, with pauses, the same minute or so again and again. The service runs with a probe
in its process (this module with --serve) that counts threads, tasks, objects of the garbage collector after a
collection, and file descriptors; memory is its RSS. Slopes are of least squares over means of one minute of audio,
after the first ten minutes, with the interval that Student's t gives. Word times: how far a word is off the truth in
the last round, less how far the same word was in the first one. Required: no growth; a median within one frame of the
voice detector, 32 ms.

    python -m bench speech_soak [--minutes 60]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psutil
import uvloop
from scipy import stats

from bench.model_service import cores, parser, running, stores
from bench.speech_material import FRAME, RATE_HZ, Track, pcm, samples, track
from bench.speech_sessions import at_once, chunks, config, seconds, stub
from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.serve import serve
from trunkline_hop.server import Server

PROBE = "BENCH_PROBE"
EVERY_S = 0.5
WARM_MINUTES = 10
LOOP_S = 90.0
HOP_S = FRAME / RATE_HZ
COUNTED = ("rss_mb", "threads", "descriptors", "tasks", "objects")


async def build(server: Server, settings: Any) -> None:
    """The service with the probe."""
    from trunkline_speech.__main__ import build as whole

    await whole(server, settings)
    server.spawn(_probe(Path(os.environ[PROBE])), name="probe")


async def _probe(file: Path) -> None:
    me = psutil.Process()
    with file.open("a", buffering=1) as lines:
        while True:
            await asyncio.sleep(EVERY_S)
            gc.collect()
            objects = gc.get_objects()
            counted = {
                "at": time.time(),
                "rss_mb": me.memory_info().rss / 2**20,
                "threads": me.num_threads(),
                "descriptors": me.num_fds(),
                "tasks": len(asyncio.all_tasks()),
                "objects": len(objects),
                "kinds": Counter(type(each).__qualname__ for each in objects).most_common(40),
            }
            del objects
            lines.write(json.dumps(counted) + "\n")


@dataclass
class Heard:
    """What an hour gave."""

    words: list[tuple[str, float, float]] = field(default_factory=list)
    """Of finals, with start and end."""
    progress: list[tuple[float, float]] = field(default_factory=list)
    """Wall clock, and seconds of audio heard by then."""
    dropped: int = 0
    degradations: set[str] = field(default_factory=set)


async def hear(service: Any, loop: Track, rounds: int, first: pb.StreamingRecognizeRequest) -> Heard:
    """Says the loop so many times in one session."""
    audio = chunks(pcm(loop.samples), rounds)
    heard = Heard()
    async for event in at_once(service, audio, first):
        heard.progress.append((time.time(), seconds(event.audio_time)))
        heard.dropped += event.HasField("audio_dropped")
        heard.degradations.update(event.provenance.degradations)
        if event.HasField("segment_final"):
            heard.words += [
                (word.text, seconds(word.start_time), seconds(word.end_time))
                for word in event.segment_final.segment.words
            ]
    return heard


def drift(heard: Heard, loop: Track, rounds: int) -> dict[str, object]:
    """Of the words that both the first and the last round heard in a row: how their error changed, in ms."""
    first, last = (_round(heard, loop, number) for number in (0, rounds - 1))
    both = [(first[place], last[place]) for place in sorted(first.keys() & last.keys())]
    if not both:
        return {"words": 0}
    moved = [abs(b[side]) - abs(a[side]) for a, b in both for side in (0, 1)]
    shifted = [b[side] - a[side] for a, b in both for side in (0, 1)]
    return {
        "words": len(both),
        "of": sum(len(each.words) for each in loop.utterances),
        "error_first_median_ms": round(1e3 * statistics.median(abs(a[0]) for a, _ in both), 1),
        "error_last_median_ms": round(1e3 * statistics.median(abs(b[0]) for _, b in both), 1),
        "error_grew_median_ms": round(1e3 * statistics.median(moved), 2),
        "error_grew_p95_ms": round(1e3 * float(np.quantile(moved, 0.95)), 2),
        "shifted_median_ms": round(1e3 * statistics.median(shifted), 2),
        "shifted_most_ms": round(1e3 * max(map(abs, shifted)), 2),
        "within_one_hop": round(float(np.mean([move <= HOP_S + 1e-9 for move in moved])), 4),
    }


def _round(heard: Heard, loop: Track, number: int) -> dict[int, tuple[float, float]]:
    """Errors of start and end, by the place of the word in the loop, of words heard within half a second of it."""
    begin_s = number * loop.seconds
    mine = [
        (text.casefold().strip(".,?!¿¡"), start - begin_s, end - begin_s)
        for text, start, end in heard.words
        if -0.5 <= start - begin_s < loop.seconds
    ]
    truth = [word for utterance in loop.utterances for word in utterance.words]
    found: dict[int, tuple[float, float]] = {}
    for place, word in enumerate(truth):
        text = word.text.casefold().strip(".,?!¿¡")
        near = [each for each in mine if each[0] == text and abs(each[1] - word.start_s) < 0.5]
        if near:
            _, start, end = min(near, key=lambda each: abs(each[1] - word.start_s))
            found[place] = (start - word.start_s, end - word.end_s)
    return found


def growth(probes: Sequence[dict[str, Any]], heard: Heard) -> dict[str, object]:
    """Slope of each figure per hour of audio, its 95 % interval, and the level after warm-up and at the end."""
    times, positions = np.array(heard.progress).T
    audio_s = np.interp([probe["at"] for probe in probes], times, positions)
    until = float(positions[-1])
    report: dict[str, object] = {}
    for name in COUNTED:
        minutes: dict[int, list[float]] = {}
        for at, probe in zip(audio_s, probes, strict=True):
            if 0 < at < until:
                minutes.setdefault(int(at // 60), []).append(probe[name])
        means = {minute: statistics.fmean(values) for minute, values in sorted(minutes.items())}
        warm = {minute: mean for minute, mean in means.items() if minute >= min(WARM_MINUTES, until / 120)}
        if len(warm) < 3:
            continue
        fit = stats.linregress(list(warm), list(warm.values()))
        # What never changed has no spread to estimate.
        spread = fit.stderr if len(set(warm.values())) > 1 else 0.0
        width = float(stats.t.ppf(0.975, len(warm) - 2)) * spread * 60
        slope = fit.slope * 60
        report[name] = {
            "first_minute": round(next(iter(means.values())), 2),
            "after_warm_up": round(next(iter(warm.values())), 2),
            "end": round(list(warm.values())[-1], 2),
            "slope_per_hour": round(slope, 3),
            "interval": [round(slope - width, 3), round(slope + width, 3)],
            "minutes": len(warm),
        }
    return report


def kinds(probes: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The types of objects that grew most from a third of the run to its end."""
    early, late = (Counter(dict(probes[place]["kinds"])) for place in (len(probes) // 3, -2))
    return dict((late - early).most_common(6))


async def measure(given: argparse.Namespace) -> bool:
    loop = track(samples(), LOOP_S, Random(given.seed))
    rounds = max(2, round(given.minutes * 60 / loop.seconds))
    async with stores(given.artifact) as at:
        file = at.directory / "probe"
        os.environ[PROBE] = str(file)
        command = ("-m", "bench.speech_soak", "--serve")
        core = None if given.all_cores else cores()[0]
        async with running("speech", at, core, command=command) as served, stub(served.target) as service:
            model = given.model or at.model
            first = config(model=model, word_times=True, language_code=given.language)
            began = time.perf_counter()
            heard = await hear(service, loop, rounds, first)
            took_s = time.perf_counter() - began
        with file.open() as lines:
            probes = [json.loads(line) for line in lines]
    grown, moved = growth(probes, heard), drift(heard, loop, rounds)
    report = {
        "model": model,
        "audio_minutes": round(rounds * loop.seconds / 60, 1),
        "took_minutes": round(took_s / 60, 1),
        "real_time_factor": round(took_s / (rounds * loop.seconds), 4),
        "words": len(heard.words),
        "audio_dropped_events": heard.dropped,
        "degradations": sorted(heard.degradations),
        "longest_wait_s": round(
            max((b - a for (a, _), (b, _) in itertools.pairwise(heard.progress)), default=0), 2
        ),
        "growth": grown,
        "objects_that_grew": kinds(probes),
        "word_times": moved,
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    # Growth is what the interval excludes to be none.
    growing = [name for name, figures in grown.items() if figures["interval"][0] > 0]  # type: ignore[index]
    grew_ms = moved.get("error_grew_median_ms", float("inf"))
    print(f"growing: {', '.join(growing) or 'nothing'}")
    return not growing and float(str(grew_ms)) <= HOP_S * 1e3


def main(arguments: Sequence[str] = ()) -> None:
    made = parser(__doc__)
    made.add_argument("--minutes", type=float, default=60, help="of audio")
    made.add_argument("--model", default="", help="engines/pocketsphinx, say; the artifact's without it")
    made.add_argument("--language", default="", help="detected without it")
    made.add_argument("--all-cores", action="store_true")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--serve", action="store_true", help="be the service, with the probe")
    given = made.parse_args(arguments)
    if given.serve:
        from trunkline_speech.settings import Settings

        serve("speech", Settings, build)
    if not uvloop.run(measure(given)):
        sys.exit("missed")


if __name__ == "__main__":
    main(sys.argv[1:])
