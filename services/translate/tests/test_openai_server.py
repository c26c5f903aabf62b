"""The engine on an OpenAI-compatible server, against real HTTP connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from openai_http import Handler, OpenAi, Reply, spoken

from trunkline_translate.engine import (
    Ask,
    Delta,
    Done,
    EngineFailed,
    Exchange,
    FinishReason,
    Identity,
    Piece,
    Priority,
    SentenceTooLong,
)
from trunkline_translate.language import Direction
from trunkline_translate.openai_server import OpenAiEngine
from trunkline_translate.prompts import Prompt, Style

BOUND_S = 10.0
EN_ES = Direction("en", "es")
WORDS = ("¿Dón", "de está", " la estación?")


@asynccontextmanager
async def engine(server: OpenAi, style: Style = Style.CODES, **options: Any) -> AsyncIterator[OpenAiEngine]:
    made = OpenAiEngine(server.url, [EN_ES], Prompt(style, ("<|end|>",)), **options)
    async with made:
        yield made


async def whole(made: OpenAiEngine, ask: Ask) -> tuple[str, Done]:
    async with asyncio.timeout(BOUND_S), aclosing(made.translate(ask)) as pieces:
        said = [piece async for piece in pieces]
    assert isinstance(said[-1], Done)
    deltas = [piece for piece in said[:-1] if isinstance(piece, Delta)]
    assert len(deltas) == len(said) - 1
    assert all(delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas), said[-1]


def ask(text: str = "Where is the station?") -> Ask:
    return Ask(text, EN_ES)


async def answers(reply: Reply) -> None:
    await spoken(reply, *WORDS)


async def test_the_deltas_of_a_stream_are_the_translation_and_its_counts_the_servers() -> None:
    async with OpenAi(answers) as server, engine(server) as made:
        text, done = await whole(made, ask())
    assert text == "¿Dónde está la estación?"
    assert done == Done(FinishReason.STOP, 11, 3, made_by=Identity("vllm", "engines/vllm/translator"))


async def test_a_request_asks_as_the_model_wants_it() -> None:
    async with OpenAi(answers) as server, engine(server, api_key="secret") as made:
        await whole(
            made,
            Ask(
                "And there?",
                EN_ES,
                context=(Exchange("Where?", "¿Dónde?"),),
                max_tokens=17,
                priority=Priority.BATCH,
            ),
        )
        (asked,) = server.asked
    assert asked.body == {
        "model": "translator",
        "messages": [
            {"role": "system", "content": "en es"},
            {"role": "user", "content": "Where?"},
            {"role": "assistant", "content": "¿Dónde?"},
            {"role": "user", "content": "And there?"},
        ],
        "temperature": 0,
        "max_tokens": 17,
        "stream": True,
        "stream_options": {"include_usage": True},
        "priority": 2,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
    }
    assert asked.headers["authorization"] == "Bearer secret"


async def test_a_server_that_is_not_vllm_gets_nothing_of_vllms_own() -> None:
    server = OpenAi(answers)
    server.cards[0]["owned_by"] = "library"
    async with server, engine(server) as made:
        await whole(made, Ask("Hello.", EN_ES, priority=Priority.BATCH))
    assert not {"priority", "skip_special_tokens"} & server.asked[0].body.keys()


async def test_priorities_are_left_out_where_vllm_does_not_schedule_by_them() -> None:
    async def no_priorities(reply: Reply) -> None:
        if reply.body.get("priority"):
            await reply.json(
                400, {"error": {"message": "Got priority 1 but Priority scheduling is not enabled."}}
            )
        else:
            await answers(reply)

    async with OpenAi(no_priorities) as server, engine(server) as made:
        assert (await whole(made, ask()))[0] == "".join(WORDS)
        await whole(made, ask())
    assert ["priority" in asked.body for asked in server.asked] == [True, False, False]


async def test_a_short_context_leaves_room_for_the_prompt() -> None:
    server = OpenAi(answers)
    server.cards[0]["max_model_len"] = 512
    async with server, engine(server) as made:
        await whole(made, ask("word " * 100))
    assert server.asked[0].body["max_tokens"] == 256


async def test_prompt_and_answer_that_do_not_fit_together_are_tried_with_a_shorter_answer() -> None:
    async def little_room(reply: Reply) -> None:
        if reply.body["max_tokens"] > 30:
            await reply.json(400, {"error": {"message": OVER}})
        else:
            await answers(reply)

    async with OpenAi(little_room) as server, engine(server) as made:
        assert (await whole(made, ask()))[0] == "".join(WORDS)
    assert len(server.asked) == 2


OVER = (
    "This model's maximum context length is 512 tokens. However, you requested 150 output tokens and your "
    "prompt contains at least 363 input tokens, for a total of at least 513 tokens."
)


async def test_a_prompt_that_does_not_fit_is_the_sentence_too_long() -> None:
    async def longer(reply: Reply) -> None:
        await reply.json(400, {"error": {"message": OVER, "type": "BadRequestError", "code": 400}})

    async with OpenAi(longer) as server, engine(server) as made:
        with pytest.raises(SentenceTooLong) as failed:
            await whole(made, ask())
    assert (failed.value.tokens, failed.value.limit) == (363, 512)


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


async def test_a_connection_is_used_again_after_a_whole_answer() -> None:
    async with OpenAi(answers) as server, engine(server) as made:
        for _ in range(5):
            await whole(made, ask())
        assert server.connections == 1


async def test_several_at_once_get_their_own_answers() -> None:
    async def echo(reply: Reply) -> None:
        await spoken(reply, *reply.body["messages"][-1]["content"].split(" "))

    async with OpenAi(echo) as server, engine(server) as made:
        texts = await asyncio.gather(*(whole(made, ask(f"number {n} of many")) for n in range(40)))
    assert [text for text, _ in texts] == [f"number{n}ofmany" for n in range(40)]


async def endless(reply: Reply) -> None:
    await reply.start()
    while True:
        await reply.delta("otra vez ")


async def stalls(reply: Reply) -> None:
    await reply.start()
    await reply.delta("¿Dón")
    await asyncio.Event().wait()


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


async def ends_early(reply: Reply) -> None:
    await reply.start()
    await reply.delta("¿Dón")
    await reply.event("[DONE]")
    await reply.end()


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
        (half_an_event, "before it was complete"),
        (drops, "broke off"),
        (drops_at_once, "broke off"),
        (no_json, "no JSON"),
        (no_object, "no object"),
        (no_choices, "without choices"),
        (no_delta, "without a delta"),
        (no_utf8, "no JSON"),
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


async def test_a_server_that_stalls_is_left_when_the_sentence_is_due() -> None:
    async with OpenAi(stalls) as server, engine(server) as made:
        await made.probe()
        due = asyncio.get_running_loop().time() + 0.3
        with pytest.raises(EngineFailed, match="in time"):
            await whole(made, Ask("Where?", EN_ES, due=due))
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


async def test_the_only_model_is_taken_and_of_several_the_one_that_is_named() -> None:
    async with OpenAi(answers, "Qwen/Qwen3-4B") as server:
        async with engine(server) as made:
            await made.probe()
            assert made.identity() == Identity("vllm", "engines/vllm/Qwen--Qwen3-4B")
        server.cards.append({"id": "llama3:latest", "owned_by": "library"})
        async with engine(server) as made:
            with pytest.raises(EngineFailed, match="has 2 models"):
                await made.probe()
        async with engine(server, model="llama3") as made:
            await made.probe()
            assert made.identity().model_version == "engines/vllm/llama3:latest"
        async with engine(server, model="other") as made:
            with pytest.raises(EngineFailed, match="has no model 'other'"):
                await made.probe()


async def test_a_key_that_is_refused_is_told() -> None:
    server = OpenAi(answers)
    server.key = "right"
    async with server:
        async with engine(server, api_key="right") as made:
            assert (await whole(made, ask()))[0] == "".join(WORDS)
        async with engine(server, api_key="wrong") as made:
            with pytest.raises(EngineFailed, match="refuses the key") as failed:
                await made.probe()
        assert "wrong" not in failed.value.why


@pytest.mark.parametrize("listed", ["[]", {"data": [{"name": "x"}]}, {"data": None}, {}])
async def test_what_is_no_openai_server_is_told(listed: object) -> None:
    server = OpenAi(answers)
    server.listed = listed
    async with server, engine(server) as made:
        with pytest.raises(EngineFailed, match="no OpenAI-compatible server"):
            await made.probe()


async def test_a_certificate_of_ones_own_ca_is_trusted_where_it_is_given(tmp_path: Path) -> None:
    ca = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with OpenAi(answers, tls=tls) as server:
        async with engine(server, ca=tmp_path / "ca.pem") as made:
            assert (await whole(made, ask()))[0] == "".join(WORDS)
        async with engine(server) as made:
            with pytest.raises(EngineFailed, match="cannot be reached"):
                await made.probe()


async def test_an_address_with_a_password_is_named_without_it() -> None:
    async with OpenAiEngine("http://user:secret@127.0.0.1:1/v1", [EN_ES], Prompt(Style.CODES)) as made:
        with pytest.raises(EngineFailed) as failed:
            await made.probe()
    assert "secret" not in failed.value.why + made.error
