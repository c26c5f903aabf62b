"""Engines that are killed while conversations go on: the next one goes on where they were."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

from conversations_load import Conversation, Load
from real_engines import ORDER, Engines, EngineServer, Translate, tick

QUIET_S = 1.0
"""Without an event for so long, nothing of a stopped server is on its way any more."""


async def quiet(load: Load) -> None:
    """Returns when nothing comes any more."""
    before = -1
    while load.events != before:
        before = load.events
        await tick(QUIET_S)


async def killed_midway(
    load: Load, translate: Translate, server: EngineServer, name: str
) -> list[tuple[Conversation, int]]:
    """kill -9 of a server while somebody has a part of a sentence from it; who that is, and which sentence.

    It is stopped first, so that there is time to look.
    """
    async with asyncio.timeout(300):
        while True:
            # Everybody's sentences are its own, or a part of one might be another engine's.
            while name not in await translate.engines_up():
                await tick()
            await load.made_again_by(name)
            server.signal(signal.SIGSTOP)
            await quiet(load)
            if midway := [(each, len(each.answered)) for each in load.conversations if each.midway]:
                await server.kill()
                return midway
            server.signal(signal.SIGCONT)


async def test_every_sentence_is_answered_by_the_next_engine_and_by_the_better_one_when_it_is_back(
    translate: Translate, engines: Engines, figures: list[str]
) -> None:
    load = Load(translate, [Conversation(number) for number in range(6)])
    async with load:
        for better, server, worse in (
            ("triton", engines.triton, "vllm"),
            ("vllm", engines.vllm, "openvino"),
        ):
            midway = await killed_midway(load, translate, server, better)
            await load.go_on(3)
            begun_anew = 0
            for conversation, count in midway:
                sentence = conversation.answered[count]
                assert ORDER.index(sentence.provenance.engine) >= ORDER.index(worse)
                assert "fallback_engine" in sentence.provenance.degradations
                begun_anew += sentence.revision == 2
            assert begun_anew
            await load.made_again_by(worse)
            await translate.wait_for(*(name for name in ORDER if ORDER.index(name) > ORDER.index(better)))
            figures.append(
                f"{better} killed in the middle of {len(midway)} sentences of {len(load.conversations)} conversations: "
                f"all of them answered, {begun_anew} begun anew, by {worse} from then on"
            )
        for better, server in (("vllm", engines.vllm), ("triton", engines.triton)):
            server.start()
            await server.up()
            await load.made_again_by(better)
        await translate.wait_for(*ORDER)
    load.check()
    assert not [failed for each in load.conversations for failed in each.failed]
    for talk in load.conversations:
        for sentence in talk.answered:
            fallback = "fallback_engine" in sentence.provenance.degradations
            assert fallback == (sentence.provenance.engine != "triton")
    kept = sum(
        "phrase_not_kept" not in each.provenance.degradations
        for talk in load.conversations
        for each in talk.answered
    )
    count = sum(load.made_by.values())
    figures.append(f"{count} sentences under it, none failed: {dict(load.made_by)}; names kept in {kept}")


async def test_who_named_an_engine_that_is_killed_is_told_so_until_it_is_back(
    translate: Translate, engines: Engines, figures: list[str]
) -> None:
    load = Load(translate, [Conversation(number, "engines/triton") for number in range(4)])
    async with load:
        await load.go_on(2)
        midway = await killed_midway(load, translate, engines.triton, "triton")
        await load.go_on(3)
        for conversation, _ in midway:
            assert "ENGINE_FAILED" in {failed.failure.reason for failed in conversation.failed}
        engines.triton.start()
        await engines.triton.up()
        await load.made_again_by("triton")
    load.check()
    assert set(load.made_by) == {"triton"}
    reasons = Counter(failed.failure.reason for each in load.conversations for failed in each.failed)
    figures.append(f"Triton killed under conversations that named it: {dict(reasons)}, then they went on")


async def test_apertium_is_started_anew_under_those_who_use_it(
    translate: Translate, figures: list[str]
) -> None:
    load = Load(translate, [Conversation(number, "engines/apertium") for number in range(6)])
    async with load:
        await load.go_on(3)
        for _ in range(10):
            programs = translate.apertium()
            assert programs
            programs[len(programs) // 2].kill()
            await load.go_on(2)
        await translate.wait_for(*ORDER)
    load.check()
    failed = sum(len(each.failed) for each in load.conversations)
    figures.append(
        f"Apertium killed 10 times: {sum(load.made_by.values())} sentences answered, {failed} failed"
    )
    assert set(load.made_by) == {"apertium"}
