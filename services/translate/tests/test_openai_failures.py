"""OpenAI-compatible servers that send garbage, refuse, stall, are full or die."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from openai_http import Handler, OpenAi, Reply
from openai_parts import answers, engine, stalls
from remote_parts import BOUND_S, EN_ES, WORDS, ask, whole

from trunkline_translate.engine import Ask, Delta, EngineFailed, Piece


async def ends_early(reply: Reply) -> None:
    await reply.start()
    await reply.delta("¿Dón")
    await reply.event("[DONE]")
    await reply.end()


async def ends_early_and_stays(reply: Reply) -> None:
    await reply.start()
    await reply.delta("¿Dón")
    await reply.event("[DONE]")
    await asyncio.Event().wait()


async def half_an_event(reply: Reply) -> None:
    await reply.start()
    await reply.delta("¿Dón")
    await reply.raw(b'data: {"choices": [{"del')
    await reply.end()


async def drops(reply: Reply) -> None:
    await reply.start()
    await reply.delta("¿Dón")
    reply.drop()


async def drops_at_once(reply: Reply) -> None:
    reply.drop()


async def no_json(reply: Reply) -> None:
    await reply.start()
    await reply.event("Hola")
    await reply.end()


async def no_object(reply: Reply) -> None:
    await reply.start()
    await reply.event([1, 2])
    await reply.end()


async def no_end_of_a_line(reply: Reply) -> None:
    await reply.start()
    while True:
        await reply.raw(b"data" * 65536)


async def no_choices(reply: Reply) -> None:
    await reply.start()
    await reply.event({"text": "Hola"})
    await reply.end()


async def no_delta(reply: Reply) -> None:
    await reply.start()
    await reply.event({"choices": ["Hola"]})
    await reply.end()


async def no_utf8(reply: Reply) -> None:
    await reply.start()
    await reply.raw(b"data: \xff\xfe\n\n")
    await reply.end()


async def half_a_character(reply: Reply) -> None:
    await reply.start()
    await reply.raw(b'data: {"choices": [{"delta": {"content": "Hola \\ud83d"}}]}\n\n')
    await reply.raw(b'data: {"choices": [{"delta": {"content": "\\ude00"}, "finish_reason": "stop"}]}\n\n')
    await reply.end()


async def html(reply: Reply) -> None:
    await reply.start(200, "text/html")
    await reply.raw(b"<h1>Welcome</h1>")
    await reply.end()


async def error_midway(reply: Reply) -> None:
    await reply.start()
    await reply.delta("¿Dón")
    await reply.event({"error": {"message": "EngineDeadError on the secret sentence"}})
    await reply.end()


async def filtered(reply: Reply) -> None:
    await reply.start()
    await reply.delta("¿Dón", "content_filter")
    await reply.end()


async def fails(reply: Reply) -> None:
    await reply.json(500, {"error": {"message": "secret"}})


async def unavailable(reply: Reply) -> None:
    await reply.json(503, {"error": {"message": "loading"}})


async def unknown_model(reply: Reply) -> None:
    await reply.json(404, {"error": {"message": "The model `translator` does not exist."}})


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (ends_early, "before it was complete"),
        (ends_early_and_stays, "before it was complete"),
        (half_an_event, "before it was complete"),
        (drops, "broke off"),
        (drops_at_once, "broke off"),
        (no_json, "no JSON"),
        (no_object, "no object"),
        (no_end_of_a_line, "more than an answer"),
        (no_choices, "without choices"),
        (no_delta, "without a delta"),
        (no_utf8, "no JSON"),
        (half_a_character, "half of a character"),
        (html, "no event stream"),
        (error_midway, "an error in the middle"),
        (filtered, "gave an answer up"),
        (fails, "HTTP 500"),
        (unavailable, "HTTP 503"),
        (unknown_model, "no such model"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_of_the_engine(handler: Handler, why: str) -> None:
    async with OpenAi(handler) as server, engine(server) as made:
        with pytest.raises(EngineFailed, match=why) as failed:
            await whole(made, ask())
    assert failed.value.counts
    assert "secret" not in failed.value.why


@pytest.mark.parametrize(("status", "why"), [(429, "full"), (400, "refused the sentence"), (422, "refused")])
async def test_a_refusal_of_one_sentence_is_no_sickness(status: int, why: str) -> None:
    async def refuses(reply: Reply) -> None:
        await reply.json(status, {"error": {"message": "secret"}})

    async with OpenAi(refuses) as server, engine(server) as made:
        with pytest.raises(EngineFailed, match=why) as failed:
            await whole(made, ask())
    assert not failed.value.counts
    assert "secret" not in failed.value.why


async def test_a_list_of_models_that_finds_no_end_is_none() -> None:
    server = OpenAi(answers)
    server.listed = ["model" * 1000] * 2000
    async with server, engine(server) as made:
        with pytest.raises(EngineFailed, match="more than an answer"):
            await made.probe()


async def test_a_server_that_stalls_is_left_when_the_sentence_is_due() -> None:
    async with OpenAi(stalls) as server, engine(server) as made:
        await made.probe()
        due = asyncio.get_running_loop().time() + 0.3
        with pytest.raises(EngineFailed, match="in time") as failed:
            await whole(made, Ask("Where?", EN_ES, due=due))
        assert not failed.value.counts
        async with asyncio.timeout(BOUND_S):
            await server.idle.wait()
        server.asked.clear()
        with pytest.raises(EngineFailed) as failed:
            await whole(made, Ask("Where?", EN_ES, due=asyncio.get_running_loop().time() - 1))
    assert not failed.value.counts
    assert server.asked == []


async def test_more_sentences_than_connections_wait() -> None:
    gate = asyncio.Event()

    async def waits(reply: Reply) -> None:
        await gate.wait()
        await answers(reply)

    async with OpenAi(waits) as server, engine(server, connections=2) as made:
        await made.probe()
        first = [asyncio.create_task(whole(made, ask())) for _ in range(2)]
        async with asyncio.timeout(BOUND_S):
            while len(server.asked) < 2:
                await asyncio.sleep(0)
        with pytest.raises(EngineFailed, match="taken") as failed:
            await whole(made, Ask("Where?", EN_ES, due=asyncio.get_running_loop().time() + 0.2))
        assert not failed.value.counts
        gate.set()
        assert {text for text, _ in await asyncio.gather(*first)} == {"".join(WORDS)}


async def test_a_server_that_dies_midway_fails_the_sentence_and_is_back_when_it_is_back() -> None:
    async with OpenAi(stalls) as server, engine(server) as made:
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
        with pytest.raises(EngineFailed, match="cannot be reached"):
            await whole(made, ask())

        server.chat = answers
        await server.start()
        await made.probe()
        assert made.error == ""
        assert (await whole(made, ask()))[0] == "".join(WORDS)
