"""A replica of the translation service over one model, without a registry, which measures itself on demand.

Its answers are not checked: what a model of random weights says is wrong, and nothing to be tried again. For
`bench.translate_batching`, which writes commands to its standard input: a line of JSON each, answered by one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import openvino_genai
import psutil
import uvloop

from bench.hop_echo import Echo
from trunkline_hop.server import Server, running
from trunkline_modelstore import LocalVersion, ModelStore, State, Status
from trunkline_modelstore.lease import Lease
from trunkline_modelstore.residents import Resident
from trunkline_translate.chain import Chain
from trunkline_translate.checks import Finding
from trunkline_translate.coalesce import Coalesced
from trunkline_translate.conversations import Conversations
from trunkline_translate.detect import Detector
from trunkline_translate.engine import Ask
from trunkline_translate.facts import Facts
from trunkline_translate.genai_engine import OpenVinoEngine
from trunkline_translate.genai_memory import kv_blocks
from trunkline_translate.genai_model import GenaiModel
from trunkline_translate.language import Direction
from trunkline_translate.loader import TranslatorLoader
from trunkline_translate.meters import Meters
from trunkline_translate.model_files import read
from trunkline_translate.sentences import Sentences, split
from trunkline_translate.service import TranslateService
from trunkline_translate.settings import Settings
from trunkline_translate.texts import Texts
from trunkline_translate.translator import Translator

MODEL = "models/bench"
SEQUENCES = 16
CACHE_MB = 512
LAG_STEP_S = 0.002
EN_ES = Direction("en", "es")


class OneModel:
    """What an engine asks of a store, where there is one version and no other to come."""

    def __init__(self, model: GenaiModel) -> None:
        self._resident = Resident((model.name, model.digest), model, model.size_bytes)

    def find(self, name: str) -> Resident[GenaiModel] | None:
        return self._resident if name in (MODEL, self._resident.model.name) else None

    def status(self) -> list[Status]:
        resident = self._resident
        return [Status(*resident.key, State.IN_FORCE, size_bytes=resident.size_bytes, leases=resident.leases)]

    async def obtain(self, name: str) -> Resident[GenaiModel]:
        return self._resident

    def take(self, resident: Resident[GenaiModel]) -> None:
        resident.leases += 1

    def give_back(self, resident: Resident[GenaiModel]) -> None:
        resident.leases -= 1

    def lease(self, name: str) -> Lease[GenaiModel]:
        return Lease(self, name)


class Unchecked:
    """Finds fault with nothing."""

    def find(self, source: str, answer: str, direction: Direction, *, finished: bool) -> Finding | None:
        return None


class Bare:
    """The pipeline by itself, as the service sets it up."""

    def __init__(self, directory: Path, facts: Facts, threads: int) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.max_num_seqs = SEQUENCES
        scheduler.max_num_batched_tokens = 512
        scheduler.num_kv_blocks = kv_blocks(facts, SEQUENCES, CACHE_MB)
        self._pipeline: Any = openvino_genai.ContinuousBatchingPipeline(
            directory, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads}
        )
        self._tokenizer: Any = self._pipeline.get_tokenizer()
        self._requests = 0

    def run(self, prompts: Sequence[str], at_once: int, tokens: int) -> dict[str, Any]:
        """Answers all prompts, so many at once."""
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = tokens
        config.do_sample = False
        config.apply_chat_template = False
        waiting = list(reversed(prompts))
        live: dict[Any, tuple[float, list[int]]] = {}
        first, texts, made = [], [], 0
        began, cpu = time.perf_counter(), time.process_time()
        while waiting or live:
            while waiting and len(live) < at_once:
                self._requests += 1
                added = time.perf_counter()
                handle = self._pipeline.add_request(self._requests, waiting.pop(), config)
                live[handle] = (added, [])
            self._pipeline.step()
            for handle in list(live):
                added, ids = live[handle]
                while handle.can_read():
                    if not ids:
                        first.append(time.perf_counter() - added)
                    for output in handle.read().values():
                        ids += output.generated_ids
                if handle.get_status() != openvino_genai.GenerationStatus.RUNNING:
                    texts.append(self._tokenizer.decode(ids, skip_special_tokens=False))
                    made += len(ids)
                    del live[handle]
        seconds = time.perf_counter() - began
        return {
            "tokens_s": made / seconds,
            "sentences_s": len(prompts) / seconds,
            "cpu_s": time.process_time() - cpu,
            "first_ms": statistics.median(first) * 1e3,
            "texts": texts,
        }


class Lag:
    """How late the event loop is, every few milliseconds."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._cpu_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._late = []
        self._cpu_s = time.process_time()
        self._task = asyncio.create_task(self._watch())

    def stop(self) -> dict[str, float]:
        """In milliseconds, and the CPU time of the process meanwhile."""
        cpu_s = time.process_time() - self._cpu_s
        assert self._task is not None
        self._task.cancel()
        late = sorted(self._late)
        return {f"p{share}": late[int(len(late) * share / 100)] * 1e3 for share in (50, 95, 99)} | {
            "max": late[-1] * 1e3,
            "cpu_s": cpu_s,
        }

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            until = loop.time() + LAG_STEP_S
            await asyncio.sleep(LAG_STEP_S)
            self._late.append(max(0.0, loop.time() - until))


async def cancels(model: GenaiModel, count: int, text: str) -> dict[str, Any]:
    """Begins so many translations, leaves each after its first delta, and looks at what is left."""
    driver = model.driver
    steps: list[int] = []
    memory = [resident_bytes()]

    async def one() -> None:
        pieces = model.translate(Ask(text, EN_ES, max_tokens=400))
        await anext(pieces)
        at = driver.steps
        await pieces.aclose()
        while driver.live:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        steps.append(driver.steps - at)

    for _ in range(count // 10):
        await one()
    for _ in range(9):
        memory.append(resident_bytes())
        begun = [model.translate(Ask(text, EN_ES, max_tokens=400)) for _ in range(count // 10)]
        for start in range(0, len(begun), SEQUENCES):
            batch = begun[start : start + SEQUENCES]
            await asyncio.gather(*(anext(pieces) for pieces in batch))
            await asyncio.gather(*(pieces.aclose() for pieces in batch))
    while driver.live or driver.waiting:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)
    memory.append(resident_bytes())
    return {
        "cancels": 10 * (count // 10),
        "most_steps": max(steps),
        "live": driver.live,
        "waiting": driver.waiting,
        "memory_mb": [round(each / 2**20, 1) for each in memory],
    }


def resident_bytes() -> int:
    """Of this process and of the pipeline's."""
    process = psutil.Process()
    return sum(int(each.memory_info().rss) for each in (process, *process.children()))


async def serve(directory: Path, threads: int) -> None:
    """Serves until standard input ends."""
    files = {path.name: path for path in directory.iterdir()}  # noqa: ASYNC240 - nothing is served yet
    facts = read(directory)
    loader = TranslatorLoader(
        ("CPU",), sequences=SEQUENCES, queue_limit=256, threads=threads, cache_mb=CACHE_MB
    )
    version = LocalVersion(f"{MODEL}/versions/1", "0" * 64, directory, files, 0)
    model = await asyncio.to_thread(loader.load, version)
    bare = await asyncio.to_thread(Bare, directory, facts, threads)
    engine = OpenVinoEngine(cast("ModelStore[GenaiModel]", OneModel(model)), [MODEL])

    async def build(server: Server, settings: Settings) -> None:
        meters = Meters(server.name, server.metrics)
        detector = Detector(settings.language_codes)
        chain = await server.own(Chain([engine], server.clock, meters))
        translator = Coalesced(Translator(chain, Unchecked(), meters, first_token_s=60, stall_s=60))
        texts = Texts(translator, split, detector)
        conversations = Conversations(
            translator=translator,
            detector=detector,
            sentences=Sentences,
            store=None,
            clock=server.clock,
            limit=64,
        )
        server.add(TranslateService(texts, conversations, detector, chain.states))
        server.add(Echo())

    lag = Lag()
    settings = Settings(port=0, metrics_port=0, log_level="error")
    async with running("translate", settings, build) as server:
        say({"port": server.port})
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            match command.pop("do"):
                case "bare":
                    say(await asyncio.to_thread(bare.run, **command))
                case "lag":
                    lag.start()
                    say({})
                case "lagged":
                    say(lag.stop())
                case "cancels":
                    say(await cancels(model, **command))
    await asyncio.to_thread(loader.unload, model)


def say(answer: dict[str, Any]) -> None:
    """Answers a command."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    uvloop.run(serve(given.directory, given.threads))
