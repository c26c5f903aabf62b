"""How an OpenAI-compatible server is asked."""

from __future__ import annotations

import pytest
from openai_http import OpenAi, Reply
from openai_parts import answers, engine
from remote_parts import EN_ES, WORDS, ask, whole

from trunkline_translate.engine import Ask, EngineFailed, Exchange, Identity, Priority, SentenceTooLong


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
        server.chat, server.listed = answers, {}
        with pytest.raises(EngineFailed):
            await made.probe()
        server.listed = {"data": server.cards}
        await whole(made, ask())
    # What comes back may schedule by them.
    assert ["priority" in asked.body for asked in server.asked] == [True, False, False, True]


OVER = (
    "This model's maximum context length is 512 tokens. However, you requested 150 output tokens and your "
    "prompt contains at least 363 input tokens, for a total of at least 513 tokens."
)


async def test_a_sentence_stays_with_the_model_that_it_began_with() -> None:
    async def gone_meanwhile(reply: Reply) -> None:
        if "priority" in reply.body:
            server.listed = {}
            with pytest.raises(EngineFailed):
                await made.probe()
            await reply.json(400, {"error": {"message": "priority scheduling is not enabled"}})
        else:
            await answers(reply)

    async with OpenAi(gone_meanwhile) as server, engine(server) as made:
        _, done = await whole(made, ask())
    assert [asked.body["model"] for asked in server.asked] == ["translator", "translator"]
    assert done.made_by == Identity("vllm", "engines/vllm/translator")


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


async def test_a_prompt_that_does_not_fit_is_the_sentence_too_long() -> None:
    async def longer(reply: Reply) -> None:
        await reply.json(400, {"error": {"message": OVER, "type": "BadRequestError", "code": 400}})

    async with OpenAi(longer) as server, engine(server) as made:
        with pytest.raises(SentenceTooLong) as failed:
            await whole(made, ask())
    assert (failed.value.tokens, failed.value.limit) == (363, 512)
