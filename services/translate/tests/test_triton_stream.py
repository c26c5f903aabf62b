"""What a Triton server answers piece by piece, and how it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from remote_parts import BOUND_S, WORDS, ask, whole
from triton_parts import emptied, engine, flagged
from triton_server import Asked, Response, Triton, said

from trunkline_translate.engine import Delta, FinishReason


async def becomes(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not true():
            await asyncio.sleep(0)


async def unflagged(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    """A server that knows no flags."""
    for word in WORDS:
        yield said(word)


@pytest.mark.parametrize("script", [flagged, emptied, unflagged])
async def test_a_stream_is_read_to_its_end_however_it_ends(
    script: Callable[..., AsyncIterator[Response]],
) -> None:
    async with Triton(script) as server, engine(server) as made:
        text, done = await whole(made, ask())
    assert text == "¿Dónde está la estación?"
    assert done.finish_reason is FinishReason.STOP


async def test_the_counts_of_tokens_are_those_of_the_server() -> None:
    async with Triton(flagged) as server, engine(server) as made:
        _, done = await whole(made, ask())
    assert (done.prompt_tokens, done.completion_tokens) == (9, 6)


async def test_an_answer_that_was_cut_says_so() -> None:
    async def cut(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        yield said("uno dos", finish="length", tokens=2, final=True)

    async with Triton(cut) as server, engine(server) as made:
        _, done = await whole(made, ask())
    assert done.finish_reason is FinishReason.LENGTH


async def test_an_answer_ends_at_a_token_for_control_and_phrases_are_their_characters() -> None:
    async def marked(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        for word in ("Es <", "|1|", "> y <|0|>.", "<|e", "nd|>", "<|user|>more"):
            yield said(word, final=False)
        yield said(final=True)

    async with Triton(marked) as server, engine(server) as made:
        text, done = await whole(made, ask("It is \ue000 and \ue001."))
    assert text == "Es \ue001 y \ue000."
    assert done.finish_reason is FinishReason.STOP
    assert "It is <|0|> and <|1|>." in server.asked[0].prompt


async def test_several_at_once_get_their_own_answers() -> None:
    async def echo(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        text = asked.prompt.rpartition("<|user|>")[2].partition("<|end|>")[0]
        for word in text.split(" "):
            await asyncio.sleep(0)
            yield said(word, final=False)
        yield said(final=True)

    async with Triton(echo) as server, engine(server) as made:
        answers = await asyncio.gather(*(whole(made, ask(f"number {n} of many")) for n in range(40)))
    assert [text for text, _ in answers] == [f"number{n}ofmany" for n in range(40)]


async def test_closing_a_translation_cancels_it_on_the_server() -> None:
    async def endless(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        while True:
            yield said("otra vez ", final=False)
            await asyncio.sleep(0)

    async with Triton(endless) as server, engine(server) as made:
        pieces = made.translate(ask())
        assert isinstance(await anext(pieces), Delta)
        assert server.live == 1
        await pieces.aclose()
        async with asyncio.timeout(BOUND_S):
            await server.idle.wait()

        reader = asyncio.create_task(whole(made, ask()))
        await becomes(lambda: server.live == 1)
        reader.cancel()
        assert isinstance((await asyncio.gather(reader, return_exceptions=True))[0], asyncio.CancelledError)
        async with asyncio.timeout(BOUND_S):
            await server.idle.wait()


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.long)])
async def test_cancels_leave_nothing_behind(times: int) -> None:
    async def endless(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        yield said("otra vez ", final=False)
        await asyncio.Event().wait()

    async with Triton(endless) as server, engine(server) as made:
        before = len(asyncio.all_tasks())

        async def cancelled() -> None:
            pieces = made.translate(ask())
            await anext(pieces)
            await pieces.aclose()

        for _ in range(times):
            await asyncio.gather(*(cancelled() for _ in range(50)))
        async with asyncio.timeout(BOUND_S):
            await server.idle.wait()
        await becomes(lambda: len(asyncio.all_tasks()) <= before)
        assert len(server.asked) == times * 50
