"""What one core hears: real-time factors, sessions that keep the latencies, Recognize under load, time to start.

The service has one core, the load the other.

    python -m bench speech_capacity [--seconds 40]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import uvloop

from bench.model_service import Served, Stores, cores, parser, running, stores
from bench.speech_bare import bare
from bench.speech_material import RATE_HZ, Utterance, pcm, samples, track
from bench.speech_sessions import PCM, Latencies, at_once, chunks, config, live_together, quantile, stub
from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.errors import Fault

STARTS = 3
CONCURRENCY = (1, 4, 16)
STEPS = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48)
ASKED_PER_S, ASKED_P95_MS = 100, 100
TIMEOUT_S = 30.0


def request(utterance: Utterance) -> pb.RecognizeRequest:
    return pb.RecognizeRequest(audio_format=PCM, audio=utterance.pcm)


async def starts(at: Stores, utterance: Utterance) -> None:
    """From the start of the process until it serves, and until its first answer."""
    print("| start | serving after | first answer after |\n|---|---|---|")
    for number in range(STARTS):
        async with running("speech", at, cores()[0]) as served:
            ready_s = time.perf_counter() - served.started
            async with stub(served.target) as service:
                await service.Recognize(request(utterance), timeout=TIMEOUT_S)
            answered_s = time.perf_counter() - served.started
        name = "model cached" if number else "model fetched from the registry"
        print(f"| {name} | {ready_s:.2f} s | {answered_s:.2f} s |", flush=True)


async def real_time(service: Any, utterances: Sequence[Utterance]) -> None:
    """Time of work over time of audio."""
    row = track(utterances, 120, Random(2))
    audio = pcm(row.samples)
    for word_times in (False, True):
        options = pb.RecognitionOptions(word_times=word_times)
        began = time.perf_counter()
        whole = pb.RecognizeRequest(options=options, audio_format=PCM, audio=audio)
        await service.Recognize(whole, timeout=600)
        middle = time.perf_counter()
        async for _ in at_once(service, chunks(audio), config(word_times=word_times)):
            pass
        ended = time.perf_counter()
        print(
            f"real-time factor, {row.seconds:.0f} s of audio{' with word times' if word_times else ''}: "
            f"offline {(middle - began) / row.seconds:.4f}, streaming {(ended - middle) / row.seconds:.4f}",
            flush=True,
        )


async def sessions(served: Served, utterances: Sequence[Utterance], seconds: float) -> None:
    """More and more live sessions, until the latencies are missed twice in a row."""
    print("| live sessions | first partial p50 / p95 | final p50 / p95 | unheard | refused | core | kept |")
    print("|---|---|---|---|---|---|---|")
    best, missed = 0, 0
    async with stub(served.target) as service:
        for count in STEPS:
            rng = Random(count)
            before = served.process.cpu_times()
            found = await live_together(
                service, [track(utterances, seconds, rng) for _ in range(count)], config()
            )
            after = served.process.cpu_times()
            busy = (sum(after[:2]) - sum(before[:2])) / (seconds + 0.7 * count)
            faults = Counter(_reason(each.fault) for each in found if each.fault)
            latencies = Latencies.of(each for each in found if each.fault is None)
            first50, first95, final50, final95 = latencies.quantiles()
            kept = latencies.keeps() and not faults
            print(
                f"| {count} | {first50:.2f} / {first95:.2f} s | {final50:.2f} / {final95:.2f} s "
                f"| {latencies.unheard} of {len(latencies.final_s)} | {dict(faults) or 0} | {busy:.0%} "
                f"| {'yes' if kept else 'no'} |",
                flush=True,
            )
            best, missed = (count, 0) if kept else (best, missed + 1)
            if missed == 2:
                break
    print(f"most sessions on one core that keep the latencies: {best}")


async def recognise(service: Any, utterances: Sequence[Utterance], seconds: float) -> None:
    """One utterance a call, back to back, at several concurrencies."""
    print("| concurrency | utterances/s | p50 | p95 | refused |\n|---|---|---|---|---|")
    requests = [request(utterance) for utterance in utterances]
    for concurrency in CONCURRENCY:
        took: list[float] = []
        faults: Counter[str] = Counter()
        numbers = itertools.count()
        began = time.perf_counter()

        async def caller(
            until: float, numbers: itertools.count[int], took: list[float], faults: Counter[str]
        ) -> None:
            while (start := time.perf_counter()) < until:
                try:
                    asked = requests[next(numbers) % len(requests)]
                    await service.Recognize(asked, timeout=TIMEOUT_S)
                    took.append(time.perf_counter() - start)
                except Fault as fault:
                    faults[_reason(fault)] += 1
                    after = getattr(fault, "retry_after", None)
                    await asyncio.sleep(after.total_seconds() if after else 0.1)

        async with asyncio.TaskGroup() as callers:
            for _ in range(concurrency):
                callers.create_task(caller(began + seconds, numbers, took, faults))
        lasted = time.perf_counter() - began
        print(
            f"| {concurrency} | {len(took) / lasted:.1f} | {quantile(took, 0.5) * 1e3:.0f} ms "
            f"| {quantile(took, 0.95) * 1e3:.0f} ms | {dict(faults) or 0} |",
            flush=True,
        )


def _reason(fault: BaseException | None) -> str:
    return str(getattr(fault, "reason", "")) or type(fault).__name__


async def measure(given: argparse.Namespace, utterances: Sequence[Utterance]) -> None:
    async with stores(given.artifact) as at:
        await starts(at, utterances[0])
        async with running("speech", at, cores()[0]) as served:
            async with stub(served.target) as service:
                for model in (await service.ListModels(pb.ListModelsRequest())).models:
                    print(f"{model.name}: {model.size_bytes / 1e6:.1f} MB, {model.engine}")
                rss = served.process.memory_info().rss
                print(f"memory of the process: {rss / 2**20:.0f} MB")
                await real_time(service, utterances)
                await recognise(service, utterances, given.seconds / 2)
            await sessions(served, utterances, given.seconds)


def main(arguments: Sequence[str] = ()) -> None:
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=40, help="of each step")
    given = made.parse_args(arguments)
    utterances = samples()
    alone = bare(given.artifact, cores()[0], [each.samples for each in utterances])
    mean_s = sum(len(each.samples) for each in utterances) / len(utterances) / RATE_HZ
    print(
        f"bare pipeline on one core, utterances of {mean_s:.1f} s: {alone.per_second:.1f} utterances/s, "
        f"p50 {alone.p50_ms:.1f} ms, p95 {alone.p95_ms:.1f} ms, real-time factor {alone.real_time:.4f}, "
        f"loaded in {alone.load_s:.2f} s",
        flush=True,
    )
    uvloop.run(measure(given, utterances))
    print(f"the design asks for {ASKED_PER_S} requests/s with p95 under {ASKED_P95_MS} ms")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
