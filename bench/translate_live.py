"""Sentences a second and latencies of the default model, through the service.

The service (and the gateway, in the rows that name it) has one core, the clients the other. Sentences are held-out ones
of every direction, one a call, none twice in a row. `closed N`: so many clients, each with its next sentence when it has
an answer; `open R/s`: calls at random times (Poisson), so many a second, whether earlier ones are answered or not, timed
from when they were due. `first` is the first delta of StreamTranslate, `whole` the end of Translate. The bare pipeline is
the same model in this process on one core, as many prompts in it as there are clients, driven by nothing else.
The design asks for 100 calls/s under 200 ms (p95).

    python -m bench translate_live [--seconds 10] [--rate 100] [--no-gateway]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import openvino_genai
import psutil
import uvloop

from bench.model_service import cores, on, parser, running, stores
from trunkline.translate.v1 import translate_pb2 as pb
from trunkline.translate.v1.translate_pb2_grpc import TranslateServiceStub
from trunkline_hop.channel import connect
from trunkline_hop.errors import Fault
from trunkline_phrase_translator.conversations import render
from trunkline_phrase_translator.held_out import HeldOut, held_out
from trunkline_phrases import LANGUAGES

SEED = 31
CALL_S = 10.0
CLIENTS = (1, 4, 16)
ASKED_MS = 200.0
FORMALITIES = {
    None: pb.FORMALITY_UNSPECIFIED,
    "formal": pb.FORMALITY_FORMAL,
    "informal": pb.FORMALITY_INFORMAL,
}
HEAD = "| | load | sentences/s | whole p50 / p95 ms | first p50 / p95 ms | failed | core |"


@dataclass
class Taken:
    """What calls took, in seconds."""

    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    failed: int = 0
    lasted_s: float = 0.0


def sentences() -> list[HeldOut]:
    """Of every direction, mixed."""
    found = [
        each
        for source, target in itertools.permutations(LANGUAGES, 2)
        for each in held_out(source, target, 100, SEED, answers=False)
    ]
    Random(SEED).shuffle(found)
    return found


async def once(stub: Any, sentence: HeldOut, due: float, taken: Taken, *, stream: bool) -> None:
    """One call, timed from `due`."""
    options = pb.TranslationOptions(
        source_language_code=sentence.source_language,
        target_language_code=sentence.target_language,
        formality=FORMALITIES[sentence.formality],
    )
    try:
        if stream:
            events = stub.StreamTranslate(
                pb.StreamTranslateRequest(options=options, text=sentence.source), timeout=CALL_S
            )
            first = None
            async for _ in events:
                first = first or time.perf_counter() - due
            taken.first.append(first or CALL_S)
        else:
            request = pb.TranslateRequest(options=options, texts=[sentence.source])
            reply = await stub.Translate(request, timeout=CALL_S)
            if not reply.translations[0].HasField("translated"):
                taken.failed += 1
            taken.whole.append(time.perf_counter() - due)
    except Fault:
        taken.failed += 1


async def closed(stub: Any, drawn: Iterator[HeldOut], clients: int, seconds: float, *, stream: bool) -> Taken:
    """So many clients, each waiting for its answers."""
    taken = Taken()
    began = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - began < seconds:
            await once(stub, next(drawn), time.perf_counter(), taken, stream=stream)

    await asyncio.gather(*(client() for _ in range(clients)))
    taken.lasted_s = time.perf_counter() - began
    return taken


async def opened(stub: Any, drawn: Iterator[HeldOut], rate: float, seconds: float, *, stream: bool) -> Taken:
    """So many calls a second, whoever waits."""
    taken, rng = Taken(), Random(SEED)
    began = due = time.perf_counter()
    async with asyncio.TaskGroup() as calls:
        while due < began + seconds:
            due += rng.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            calls.create_task(once(stub, next(drawn), due, taken, stream=stream))
    taken.lasted_s = time.perf_counter() - began
    return taken


def bare(artifact: Path, count: int, seconds: float) -> float:
    """Sentences a second of the pipeline itself with so many in it, on one core."""
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_seqs = max(CLIENTS)
    with on(cores()[0]):
        pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(artifact), scheduler, "CPU", {"INFERENCE_NUM_THREADS": 1}
        )
        config = pipeline.get_config()
        config.max_new_tokens = 160
        config.apply_chat_template = False
        prompts = itertools.cycle(render(each.direction, (), each.source) for each in sentences())
        ids = itertools.count(1)
        live: list[Any] = []
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            while len(live) < count:
                live.append(pipeline.add_request(next(ids), next(prompts), config))
            pipeline.step()
            going = []
            for handle in live:
                if handle.get_status() == openvino_genai.GenerationStatus.RUNNING:
                    going.append(handle)
                else:
                    done += 1
            live = going
        return done / (time.perf_counter() - began)


def row(door: str, load: str, whole: Taken, first: Taken, share: float) -> float:
    """Prints it; p95 of whole translations in ms."""
    tails = []
    for times in (whole.whole, first.first):
        cut = statistics.quantiles(times, n=20) if len(times) > 1 else [0.0] * 19
        tails.append((1000 * statistics.median(times or [0.0]), 1000 * cut[18]))
    print(
        f"| {door} | {load} | {len(whole.whole) / whole.lasted_s:.1f} "
        f"| {tails[0][0]:.1f} / {tails[0][1]:.1f} | {tails[1][0]:.1f} / {tails[1][1]:.1f} "
        f"| {whole.failed + first.failed} of {len(whole.whole) + len(first.first) + whole.failed + first.failed} "
        f"| {share:.0%} |",
        flush=True,
    )
    return tails[0][1]


async def loads(stub: Any, given: argparse.Namespace) -> AsyncIterator[tuple[str, Taken, Taken]]:
    """Every load, with what whole and streamed translations took."""
    drawn = itertools.cycle(sentences())
    await closed(stub, drawn, 4, 1.0, stream=False)
    for clients in CLIENTS:
        whole = await closed(stub, drawn, clients, given.seconds, stream=False)
        yield f"closed {clients}", whole, await closed(stub, drawn, clients, given.seconds, stream=True)
    whole = await opened(stub, drawn, given.rate, given.seconds, stream=False)
    yield f"open {given.rate:g}/s", whole, await opened(stub, drawn, given.rate, given.seconds, stream=True)


def worked_s(process: psutil.Process) -> float:
    """Seconds of a core that a service took so far, its pipelines' processes included."""
    return float(sum(sum(each.cpu_times()[:2]) for each in (process, *process.children())))


async def measure(given: argparse.Namespace) -> bool:
    """Whether the service itself is as fast as the design asks."""
    kept = True
    settings = {"DEVICE_THREADS": "1", "APERTIUM_MODES": "/nonexistent", **dict(given.set)}
    async with (
        stores(given.artifact) as at,
        running("translate", at, cores()[0], settings, gateway=not given.no_gateway) as served,
    ):
        print(HEAD)
        print("|---" * (HEAD.count("|") - 1) + "|")
        doors = {"direct": served.target} | ({"gateway": served.gateway} if served.gateway else {})
        for door, target in doors.items():
            async with connect("translate", target) as channel:
                before, began = worked_s(served.process), time.perf_counter()
                async for load, whole, first in loads(TranslateServiceStub(channel), given):
                    after, ended = worked_s(served.process), time.perf_counter()
                    p95 = row(door, load, whole, first, (after - before) / (ended - began))
                    before, began = after, ended
                    kept = kept and (door != "direct" or not load.startswith("open") or p95 <= ASKED_MS)
    for clients in CLIENTS:
        print(
            f"bare pipeline, {clients} in it: {bare(given.artifact, clients, given.seconds):.1f} sentences/s"
        )
    return kept


def main(options: Sequence[str] = ()) -> None:
    """Prints the table; ends with 1 when the design's aim is missed."""
    made = parser(__doc__, "phrase-translator")
    made.add_argument("--seconds", type=float, default=10.0, help="of each load")
    made.add_argument("--rate", type=float, default=100.0, help="calls a second of the open load")
    made.add_argument("--no-gateway", action="store_true", help="only the service itself")
    made.add_argument(
        "--set",
        type=lambda text: text.split("=", 1),
        action="append",
        default=[],
        help="NAME=VALUE of a setting",
    )
    given = made.parse_args(options)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if not runner.run(measure(given)):
            raise SystemExit(1)
