"""vLLM in process, in the environment that has it: .engines/vllm/bin/python vllm_in_process.py PACKAGES MODEL.

Translates, cancels, asks too much, kills vLLM's engine process in the middle of a sentence, and translates again when
it is back. Prints what came of it as JSON in its last line.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import site
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

# The service's packages after those of vLLM's environment.
site.addsitedir(sys.argv[1])

import psutil

from trunkline_translate.chat_template import special_tokens
from trunkline_translate.engine import Ask, Delta, Done, EngineFailed, SentenceTooLong
from trunkline_translate.language import Direction
from trunkline_translate.prompts import Prompt, Style
from trunkline_translate.vllm_local import VllmEngine

ARGUMENTS = {"dtype": "float32", "enforce_eager": True, "max_num_batched_tokens": 2048, "max_num_seqs": 16}
"""What fits on a small machine without a GPU."""
EN_ES = Direction("en", "es")
UP_S = 400.0


async def whole(engine: VllmEngine, ask: Ask) -> tuple[str, Done]:
    async with aclosing(engine.translate(ask)) as pieces:
        said = [piece async for piece in pieces]
    assert isinstance(said[-1], Done)
    return "".join(piece.text for piece in said if isinstance(piece, Delta)), said[-1]


async def up(engine: VllmEngine) -> None:
    async with asyncio.timeout(UP_S):
        while True:
            try:
                return await engine.probe()
            except EngineFailed as failed:
                if "not start" in failed.why:
                    raise
                await asyncio.sleep(0.2)


async def cancelled(engine: VllmEngine) -> None:
    async with aclosing(engine.translate(Ask("word " * 60, EN_ES))) as pieces:
        await anext(pieces)


async def killed(engine: VllmEngine) -> str:
    """Why a sentence failed whose engine was killed after the first delta."""
    cores = [
        each for each in psutil.Process().children(recursive=True) if "EngineCore" in " ".join(each.cmdline())
    ]
    try:
        async with aclosing(engine.translate(Ask("word " * 60, EN_ES))) as pieces:
            async for _ in pieces:
                for core in cores:
                    os.kill(core.pid, signal.SIGKILL)
                cores = []
    except EngineFailed as failed:
        return failed.why
    return ""


async def main() -> dict[str, Any]:
    model = Path(sys.argv[2])
    told: dict[str, Any] = {}
    prompt = Prompt(Style.CODES, special_tokens(model))
    async with VllmEngine(model, [EN_ES], prompt, ARGUMENTS) as engine:
        told["starting"] = engine.error
        await up(engine)
        told["identity"] = [engine.identity().model_version, engine.identity().device]
        text, done = await whole(engine, Ask("Where is the station?", EN_ES))
        told["sentence"] = [text, done.finish_reason.value, done.prompt_tokens, done.completion_tokens]
        told["phrase"] = (await whole(engine, Ask("I would like \ue000, please.", EN_ES)))[0]
        cut = (await whole(engine, Ask("Where is the station?", EN_ES, max_tokens=2)))[1]
        told["cut"] = [cut.finish_reason.value, cut.completion_tokens]
        try:
            await whole(engine, Ask("word " * 600, EN_ES))
        except SentenceTooLong as longer:
            told["too long"] = longer.tokens > longer.limit
        await asyncio.gather(*(cancelled(engine) for _ in range(20)))
        told["after cancels"] = (await whole(engine, Ask("Where is the station?", EN_ES)))[0]
        told["killed"] = await killed(engine)
        await up(engine)
        told["back"] = (await whole(engine, Ask("Where is the station?", EN_ES)))[0]
    return told


if __name__ == "__main__":
    # vLLM's own processes begin by importing this file.
    print(json.dumps(asyncio.run(main())))
