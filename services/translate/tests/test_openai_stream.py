"""What an OpenAI-compatible server says piece by piece, and connections to it, which are real."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from openai_http import Handler, OpenAi, Reply, spoken
from openai_parts import answers, endless, engine, stalls
from remote_parts import BOUND_S, EN_ES, ask, whole

from trunkline_translate import openai_server
from trunkline_translate.engine import Ask, Delta, Done, FinishReason, Identity
from trunkline_translate.openai_server import OpenAiEngine
from trunkline_translate.prompts import Style


async def test_the_deltas_of_a_stream_are_the_translation_and_its_counts_the_servers() -> None:
    async with OpenAi(answers) as server, engine(server) as made:
        text, done = await whole(made, ask())
    assert text == "¿Dónde está la estación?"
    assert done == Done(FinishReason.STOP, 11, 3, made_by=Identity("vllm", "engines/vllm/translator"))


async def test_an_answer_that_was_cut_says_so() -> None:
    async def cut(reply: Reply) -> None:
        await reply.start()
        await reply.delta("uno dos", "length")
        await reply.event("[DONE]")
        await reply.end()

    async with OpenAi(cut) as server, engine(server) as made:
        text, done = await whole(made, ask())
    assert (text, done.finish_reason) == ("uno dos", FinishReason.LENGTH)


async def test_an_answer_is_complete_when_its_end_was_told_though_the_stream_is_not_ended() -> None:
    async def no_done(reply: Reply) -> None:
        await reply.start()
        await reply.delta("Hola.", "stop")
        await reply.end()

    async def hangs_after(reply: Reply) -> None:
        await reply.start()
        await reply.delta("Hola.", "stop")
        await asyncio.Event().wait()

    async def drops_after(reply: Reply) -> None:
        await reply.start()
        await reply.delta("Hola.", "stop")
        reply.drop()

    for handler in (no_done, hangs_after, drops_after):
        async with OpenAi(handler) as server, engine(server) as made:
            text, done = await whole(made, ask())
            assert (text, done.finish_reason, done.completion_tokens) == ("Hola.", FinishReason.STOP, 0)


async def test_a_complete_answer_is_not_late_for_the_counts_that_may_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hangs_after(reply: Reply) -> None:
        await reply.start()
        await reply.delta("Hola.", "stop")
        await asyncio.Event().wait()

    monkeypatch.setattr(openai_server, "_TAIL_S", 2 * BOUND_S)
    async with OpenAi(hangs_after) as server, engine(server) as made:
        due = asyncio.get_running_loop().time() + 8
        assert (await whole(made, Ask("Hello.", EN_ES, due=due)))[0] == "Hola."
        assert asyncio.get_running_loop().time() < due


async def test_thoughts_roles_and_comments_are_no_text() -> None:
    async def talkative(reply: Reply) -> None:
        await reply.start()
        await reply.raw(b": ping\n\n")
        await reply.event({"choices": [{"delta": {"role": "assistant", "content": None}}]})
        await reply.event({"choices": [{"delta": {"reasoning_content": "The user says hello."}}]})
        await reply.raw(b'data: {"choices": [{"delta":\r\n')
        await reply.raw(b'data:  {"content": "Ho"}}]}\r\n\r\n')
        await reply.delta("la.")
        await reply.delta(None, "stop")
        await reply.event("[DONE]")
        await reply.end()

    async with OpenAi(talkative) as server, engine(server) as made:
        assert (await whole(made, ask()))[0] == "Hola."


async def test_events_without_data_say_nothing() -> None:
    async def chatty(reply: Reply) -> None:
        await reply.start()
        # An id holds for all that follows it: the comment behind one ends an event of its own.
        for event in (b"retry: 3000\n\n", b"event: ping\n\n", b"id: 1\n\n", b": ping\n\n"):
            await reply.raw(event)
        await reply.delta("Hola.", "stop")
        await reply.event("[DONE]")
        await reply.end()

    async with OpenAi(chatty) as server, engine(server) as made:
        assert (await whole(made, ask()))[0] == "Hola."


async def test_a_character_that_is_cut_between_packets_is_whole() -> None:
    async def bytewise(reply: Reply) -> None:
        await reply.start()
        event = 'data: {"choices": [{"delta": {"content": "¿Qué?"}, "finish_reason": "stop"}]}\n\n'.encode()
        for place in range(len(event)):
            await reply.raw(event[place : place + 1])
        await reply.event("[DONE]")
        await reply.end()

    async with OpenAi(bytewise) as server, engine(server) as made:
        assert (await whole(made, ask()))[0] == "¿Qué?"


async def test_phrases_are_their_characters_in_a_general_models_spelling() -> None:
    async def marked(reply: Reply) -> None:
        await spoken(reply, "Es ⟦", "0", "⟧.")

    async with OpenAi(marked) as server, engine(server, Style.INSTRUCT) as made:
        text, _ = await whole(made, ask("It is \ue000."))
    assert text == "Es \ue000."
    assert server.asked[0].body["messages"][-1]["content"] == "It is ⟦0⟧."
    assert "skip_special_tokens" not in server.asked[0].body


async def counted_at_once(reply: Reply) -> None:
    """As servers end that do not send the counts on their own."""
    await reply.start()
    choice = {"delta": {"content": "Hola."}, "finish_reason": "stop"}
    await reply.event({"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 3}})
    await reply.event("[DONE]")
    await reply.end()


@pytest.mark.parametrize("handler", [answers, counted_at_once])
async def test_a_connection_is_used_again_after_a_whole_answer(handler: Handler) -> None:
    async with OpenAi(handler) as server, engine(server) as made:
        for _ in range(5):
            _, done = await whole(made, ask())
            assert (done.prompt_tokens, done.completion_tokens) == (11, 3)
        assert server.connections == 1


async def test_several_at_once_get_their_own_answers() -> None:
    async def echo(reply: Reply) -> None:
        await spoken(reply, *reply.body["messages"][-1]["content"].split(" "))

    async with OpenAi(echo) as server, engine(server) as made:
        texts = await asyncio.gather(*(whole(made, ask(f"number {n} of many")) for n in range(40)))
    assert [text for text, _ in texts] == [f"number{n}ofmany" for n in range(40)]


async def test_closing_a_translation_closes_its_connection() -> None:
    for handler in (endless, stalls):
        async with OpenAi(handler) as server, engine(server) as made:
            pieces = made.translate(ask())
            async with asyncio.timeout(BOUND_S):
                assert isinstance(await anext(pieces), Delta)
                assert server.live == 1
                await pieces.aclose()
                await server.idle.wait()

            started = asyncio.Event()

            async def read(made: OpenAiEngine = made, started: asyncio.Event = started) -> None:
                async with aclosing(made.translate(ask())) as pieces:
                    async for _ in pieces:
                        started.set()

            reader = asyncio.create_task(read())
            async with asyncio.timeout(BOUND_S):
                await started.wait()
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader
                await server.idle.wait()


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.long)])
async def test_cancels_leave_nothing_behind(times: int) -> None:
    async with OpenAi(stalls) as server, engine(server, connections=64) as made:
        await made.probe()
        before = len(asyncio.all_tasks())

        async def cancelled() -> None:
            async with aclosing(made.translate(ask())) as pieces:
                await anext(pieces)

        for _ in range(times):
            await asyncio.gather(*(cancelled() for _ in range(50)))
        async with asyncio.timeout(BOUND_S):
            await server.idle.wait()
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0)
        assert len(server.asked) == times * 50
