"""Translations at once through the service, against the bare ContinuousBatchingPipeline driven in the same process.

    models/phrase-translator/.venv/bin/python bench/random_translator.py build/translator-100m
    python -m bench translate_batching --model build/translator-100m

The service (gRPC, sentences, chain, engine; no checks) and the bare pipeline answer the same sentences with 64 tokens
each, in turns. Required: at 16 at once the service makes 90 % of the bare pipeline's tokens/s or more, 8 at once make 3
times those of 1, the event loop is at most 10 ms late (p99) meanwhile, the first token comes within the bare one's time
and twice that of an echo of the same server (server on core 0, load on core 1 as in `hop_echo`, in blocks of each), a
translation that is given up makes 2 steps more at most, and 1,000 of them leave nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.hop_echo import PATH, EchoRequest, EchoResponse
from bench.model_service import cores, on
from trunkline.translate.v1 import translate_pb2 as pb
from trunkline.translate.v1.translate_pb2_grpc import TranslateServiceStub
from trunkline_hop.channel import connect

TOKENS = 64
AT_ONCE = (1, 8, 16)
SENTENCES = 16
BLOCK = 20
"""First tokens in a row."""
FEW = 2
"""Tokens of a sentence of which only the first is of interest."""


class Replica:
    """The process of `bench.translate_replica`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, what: str, **arguments: Any) -> dict[str, Any]:
        """What it answers to a command."""
        if what:
            assert self._process.stdin is not None
            self._process.stdin.write((json.dumps({"do": what} | arguments) + "\n").encode())
        assert self._process.stdout is not None
        while not (line := await self._process.stdout.readline()).startswith(b"{"):
            if not line:
                raise RuntimeError("the replica ended")
        return dict(json.loads(line))

    async def end(self) -> None:
        """Lets it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def served(stub: Any, texts: Sequence[str], at_once: int, most: int = TOKENS) -> dict[str, float]:
    """Translates all texts through the service, so many at once."""
    waiting = list(reversed(texts))
    first: list[float] = []
    tokens = 0

    async def client() -> None:
        nonlocal tokens
        while waiting:
            options = pb.TranslationOptions(
                source_language_code="en", target_language_code="es", max_output_tokens=most
            )
            request = pb.StreamTranslateRequest(options=options, text=waiting.pop())
            began, seen = time.perf_counter(), False
            async for response in stub.StreamTranslate(request, timeout=120):
                if not seen:
                    first.append(time.perf_counter() - began)
                    seen = True
                tokens += response.sentence.completion_tokens

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    seconds = time.perf_counter() - began
    return {
        "tokens_s": tokens / seconds,
        "sentences_s": len(texts) / seconds,
        "first_ms": statistics.median(first) * 1e3,
    }


async def echoed(channel: Any, count: int, between: Callable[[], Awaitable[Any]] | None = None) -> float:
    """Milliseconds of an echo, one after the other, or with something else between them."""
    echo = channel.unary_unary(
        PATH, request_serializer=EchoRequest.SerializeToString, response_deserializer=EchoResponse.FromString
    )
    took: list[float] = []
    for _ in range(count):
        if between is not None:
            await between()
        began = time.perf_counter()
        await echo(EchoRequest(text="I have 7 apples and a cat", value=1.0), timeout=10)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


async def first_tokens(replica: Replica, channel: Any, texts: Sequence[str]) -> dict[str, float]:
    """Milliseconds to the first token of the bare pipeline and of the service, of an echo, and of one that finds the
    caches as a token of the bare pipeline left them.
    """
    block = [texts[number % len(texts)] for number in range(BLOCK)]
    prompts = [prompt(text) for text in block]
    bare = await replica.do("bare", prompts=prompts, at_once=1, tokens=FEW)
    service = await served(TranslateServiceStub(channel), block, 1, FEW)
    return {
        "bare": bare["first_ms"],
        "service": service["first_ms"],
        "echo": await echoed(channel, 10 * BLOCK),
        "echo_after_token": await echoed(
            channel, BLOCK, lambda: replica.do("bare", prompts=prompts[:1], at_once=1, tokens=FEW)
        ),
    }


async def usable(replica: Replica) -> list[str]:
    """Sentences that a model of random weights answers at length: without a token for control in it."""
    found: list[str] = []
    for number in range(200):
        text = f"I have {number} apples and a cat"
        answer = await replica.do("bare", prompts=[prompt(text)], at_once=1, tokens=TOKENS)
        if "<|" not in answer["texts"][0].removesuffix("<|end|>"):
            found.append(text)
        if len(found) == SENTENCES:
            return found
    raise RuntimeError("the model ends nearly all of its answers at once")


def prompt(text: str) -> str:
    return f"<|system|>en es<|user|>{text}<|assistant|>"


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path("models/phrase-translator/artifact"))
    parser.add_argument("--threads", type=int, default=1, help="of inference")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=3, help="of each client in a round")
    given = parser.parse_args(arguments)
    ours, theirs = cores()
    firsts: list[dict[str, float]] = []
    async with started(given, core=ours) as (replica, channel):
        texts = await usable(replica)
        await served(TranslateServiceStub(channel), texts, 1)
        with on(theirs):
            for _ in range(given.rounds):
                firsts.append(await first_tokens(replica, channel, texts))
    report_first(firsts)
    async with started(given) as (replica, channel):
        stub = TranslateServiceStub(channel)
        await served(stub, texts, 16)
        runs: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
        lags: list[dict[str, float]] = []
        for _ in range(given.rounds):
            for at_once in AT_ONCE:
                work = [texts[number % len(texts)] for number in range(at_once * given.sentences)]
                prompts = [prompt(text) for text in work]
                runs["bare", at_once].append(
                    await replica.do("bare", prompts=prompts, at_once=at_once, tokens=TOKENS)
                )
                await replica.do("lag")
                figures = await served(stub, work, at_once)
                lag = await replica.do("lagged")
                runs["service", at_once].append(figures | {"cpu_s": lag.pop("cpu_s")})
                lags.append(lag)
        report(runs, lags)
        print(await replica.do("cancels", count=1000, text=texts[0]))


@asynccontextmanager
async def started(given: argparse.Namespace, core: int | None = None) -> AsyncIterator[tuple[Replica, Any]]:
    """A replica, on one core or on any, and a channel to it."""
    with on(core):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.translate_replica",
            str(given.model),
            str(given.threads),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
    replica = Replica(process)
    port = (await replica.do(""))["port"]
    async with connect("translate", f"127.0.0.1:{port}") as channel:
        yield replica, channel
    await replica.end()


def report(runs: dict[tuple[str, int], list[dict[str, float]]], lags: Sequence[dict[str, float]]) -> None:
    """Medians over the rounds; ratios of each round with itself."""
    print("| at once | | tokens/s | sentences/s | first token, ms | CPU of the process, s |")
    print("|---|---|---|---|---|---|")
    for (who, at_once), each in runs.items():
        cells = (f"{middle(each, name):.1f}" for name in ("tokens_s", "sentences_s", "first_ms", "cpu_s"))
        print(f"| {at_once} | {who} | {' | '.join(cells)} |")
    for at_once in AT_ONCE:
        share = ratios(runs["service", at_once], runs["bare", at_once])
        print(f"service / bare at {at_once}: {share}" + (" (required 0.90)" if at_once == 16 else ""))
    for who in ("bare", "service"):
        print(f"{who}: 8 at once / 1: {ratios(runs[who, 8], runs[who, 1])} (required 3)")
    worst = {name: round(statistics.median(lag[name] for lag in lags), 2) for name in lags[0]}
    print(f"event loop late, ms, medians over rounds: {worst} (required p99 10)")


def report_first(rounds: Sequence[dict[str, float]]) -> None:
    """Each round with itself."""
    late = [each["service"] - each["bare"] for each in rounds]
    allowed = {
        name: statistics.median(2 * each[name] for each in rounds) for name in ("echo", "echo_after_token")
    }
    figures = ", ".join(
        f"{name} {statistics.median(each[name] for each in rounds):.2f}" for name in rounds[0]
    )
    print(f"first token, ms: {figures}")
    found = f"{statistics.median(late):.2f} ({min(late):.2f} to {max(late):.2f})"
    print(
        f"first token, service - bare: {found} ms (required {allowed['echo']:.2f}: twice an echo; "
        f"twice one with a token of the bare pipeline before it: {allowed['echo_after_token']:.2f})"
    )


def middle(runs: Sequence[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def ratios(these: Sequence[dict[str, float]], those: Sequence[dict[str, float]]) -> str:
    found = [a["tokens_s"] / b["tokens_s"] for a, b in zip(these, those, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
