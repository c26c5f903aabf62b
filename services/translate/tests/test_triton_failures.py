"""Triton servers that send garbage, refuse, stall, are full or die."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest
from remote_parts import BOUND_S, EN_ES, WORDS, ask, whole
from triton_parts import engine, flagged
from triton_server import Asked, Response, Triton, raw, refused, said

from trunkline_translate.engine import Ask, Delta, EngineFailed, Piece, SentenceTooLong


async def ends_early(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    yield said("¿Dón", final=False)


async def silent(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    for _ in ():
        yield said()


async def cut_text(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    yield raw("text_output", "BYTES", struct.pack("<I", 100) + b"Hola")


async def short_text(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    yield raw("text_output", "BYTES", b"\x01")


async def no_utf8(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    yield said(b"\xff\xfe", final=True)


async def other_tensor(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    yield raw("probabilities", "FP32", bytes(4))


async def odd_count(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    response = said("Hola", final=True)
    response.infer_response.outputs.add(name="num_output_tokens", datatype="UINT32", shape=[1])
    response.infer_response.raw_output_contents.append(b"\x01")
    yield response


async def raises(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    yield said("¿Dón", final=False)
    raise RuntimeError("the backend's stub died")


async def errs(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    yield said("¿Dón", final=False)
    yield refused("Error generating stream: the secret sentence")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (ends_early, "before it was complete"),
        (silent, "before it was complete"),
        (cut_text, "cut off"),
        (short_text, "cut off"),
        (no_utf8, "no UTF-8"),
        (other_tensor, "without 'text_output'"),
        (odd_count, "no UINT32"),
        (raises, "refused a request"),
        (errs, "refused a request"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_of_the_engine(
    script: Callable[..., AsyncIterator[Response]], why: str
) -> None:
    async with Triton(script) as server, engine(server) as made:
        with pytest.raises(EngineFailed, match=why) as failed:
            await whole(made, ask())
    assert failed.value.counts
    assert "secret" not in failed.value.why


@pytest.mark.parametrize("message", ["Exceeds maximum queue size", "Request timeout expired"])
async def test_a_full_server_is_not_a_sick_one(message: str) -> None:
    async def full(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        yield refused(message)

    async with Triton(full) as server, engine(server) as made:
        with pytest.raises(EngineFailed, match="full") as failed:
            await whole(made, ask())
    assert not failed.value.counts


async def test_a_prompt_that_does_not_fit_is_the_sentence_too_long() -> None:
    async def longer(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        yield refused(
            "Error generating stream: The decoder prompt (length 600) is longer than the maximum model "
            "length of 512. Make sure that `max_model_len` is no smaller than the number of text tokens."
        )

    async with Triton(longer) as server, engine(server) as made:
        with pytest.raises(SentenceTooLong) as failed:
            await whole(made, ask())
    assert (failed.value.tokens, failed.value.limit) == (600, 512)


async def test_a_server_that_stalls_is_left_when_the_sentence_is_due() -> None:
    async def stalls(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        yield said("¿Dón", final=False)
        await asyncio.Event().wait()

    async with Triton(stalls) as server, engine(server) as made:
        await made.probe()
        due = asyncio.get_running_loop().time() + 0.3
        with pytest.raises(EngineFailed) as failed:
            await whole(made, Ask("Where?", EN_ES, due=due))
        assert not failed.value.counts
        async with asyncio.timeout(BOUND_S):
            await server.idle.wait()


async def test_a_sentence_that_is_due_already_is_not_asked() -> None:
    async with Triton(flagged) as server, engine(server) as made:
        await made.probe()
        with pytest.raises(EngineFailed) as failed:
            await whole(made, Ask("Where?", EN_ES, due=asyncio.get_running_loop().time() - 1))
    assert not failed.value.counts
    assert server.asked == []


async def test_a_server_that_dies_midway_fails_the_sentence_and_is_back_when_it_is_back() -> None:
    async def hangs(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        yield said("¿Dón", final=False)
        await asyncio.Event().wait()

    async with Triton(hangs) as server, engine(server) as made:
        await made.probe()
        assert made.error == ""
        pieces: list[Piece] = []
        with pytest.raises(EngineFailed) as failed:
            async with asyncio.timeout(BOUND_S), aclosing(made.translate(ask())) as translation:
                async for piece in translation:
                    pieces.append(piece)
                    await server.stop()
        assert pieces == [Delta("¿Dón")]
        assert failed.value.counts

        with pytest.raises(EngineFailed, match="cannot be reached"):
            await made.probe()
        assert "is it running?" in made.error

        server.script = flagged
        await server.start()
        async with asyncio.timeout(BOUND_S):
            while made.error:
                try:
                    await made.probe()
                except EngineFailed:
                    await asyncio.sleep(0)
        assert (await whole(made, ask()))[0] == "".join(WORDS)
