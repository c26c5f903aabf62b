"""The demo's engine as its clients see it: over HTTP, with a model that is scripted, and with the one that ships."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from conditions import until

from trunkline_local.catalog import bundles
from trunkline_local.demo_engine import BODY_BYTES, serving
from trunkline_local.demo_model import Ended, TooLong

ASKED = {"messages": [{"role": "system", "content": "en es"}, {"role": "user", "content": "Where are you?"}]}
(SHIPPED,) = [bundle.artifact for bundle in bundles() if bundle.task == "translate"]


class Scripted:
    """Answers that are known."""

    limit = 512

    def __init__(self):
        self.asked = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.closed = asyncio.Event()

    async def answer(self, messages, max_tokens=None):
        self.asked.append((list(messages), max_tokens))
        if max_tokens == 500:
            raise TooLong("This model's maximum context length is 512 tokens.")
        try:
            for word in ("¿Dónde", " estás?"):
                yield word
                await self.go_on.wait()
            yield Ended(max_tokens != 2, 9, 2)
        finally:
            self.closed.set()


@pytest.fixture
async def model():
    return Scripted()


@pytest.fixture
async def client(model):
    async with (
        serving(model, "small") as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", trust_env=False) as client,
    ):
        yield client


def events(text):
    """What a stream of events holds."""
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line]


async def test_it_says_which_model_it_has(client):
    (card,) = (await client.get("/models")).json()["data"]
    assert (card["id"], card["max_model_len"]) == ("small", 512)


async def test_an_answer_is_streamed_as_events_and_ends_with_done(client, model):
    given = ASKED | {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 7}
    response = await client.post("/chat/completions", json=given)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(response.text)
    assert done == "[DONE]"
    chunks = [json.loads(chunk) for chunk in chunks]
    *said, usage = chunks
    assert [choice["delta"].get("content") for chunk in said for choice in chunk["choices"]] == [
        "",
        "¿Dónde",
        " estás?",
        None,
    ]
    assert said[-1]["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"] == {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}
    assert model.asked == [(ASKED["messages"], 7)]


async def test_an_answer_that_is_not_streamed_comes_whole_and_the_connection_is_used_again(client):
    for max_tokens, reason in ((2, "length"), (7, "stop")):
        response = await client.post("/chat/completions", json=ASKED | {"max_completion_tokens": max_tokens})
        (choice,) = response.json()["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("¿Dónde estás?", reason)
    (connection,) = client._transport._pool.connections
    assert connection.is_idle()


async def test_who_goes_away_stops_the_model(client, model):
    model.go_on.clear()
    async with client.stream("POST", "/chat/completions", json=ASKED | {"stream": True}) as response:
        async for line in response.aiter_lines():
            if "Dónde" in line:
                break
    async with asyncio.timeout(30):
        await model.closed.wait()
    model.go_on.set()
    assert (await client.post("/chat/completions", json=ASKED)).status_code == 200


@pytest.mark.parametrize(
    ("given", "status", "what"),
    [
        (b"not JSON", 400, "JSON"),
        (b"[]", 400, "JSON"),
        ({"messages": []}, 400, "one or more"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "texts"),
        (ASKED | {"model": "large"}, 404, "`large` does not exist"),
        (ASKED | {"max_tokens": 0}, 400, "max_tokens"),
        (ASKED | {"max_tokens": 500, "stream": True}, 400, "maximum context length is 512"),
        (ASKED | {"temperature": 0.7}, 400, "temperature"),
        (ASKED | {"n": 2}, 400, "n 1"),
    ],
)
async def test_what_it_cannot_do_is_refused_and_the_connection_lives(client, given, status, what):
    content = given if isinstance(given, bytes) else json.dumps(given)
    response = await client.post("/chat/completions", content=content)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    assert what in response.json()["error"]["message"]
    assert (await client.get("/models")).status_code == 200


async def test_what_there_is_not_is_not_found(client):
    assert (await client.get("/embeddings")).status_code == 404
    assert (await client.get("/chat/completions")).status_code == 405


async def test_what_is_no_request_ends_the_connection_and_nothing_else(client):
    port = client.base_url.port
    for sent in (
        b"\x16\x03\x01 nonsense\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent % (2 * BODY_BYTES) if b"%d" in sent else sent)
        writer.write(bytes(2 * BODY_BYTES) if b"%d" in sent else b"")
        with suppress(ConnectionError):  # what it did not read ends the connection in this way
            async with asyncio.timeout(30):
                await reader.read()
        writer.close()
    assert (await client.get("/models")).status_code == 200


@asynccontextmanager
async def started(*argv):
    """The engine as a process, with the model that ships: the process, and its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trunkline_local.demo_engine",
        "--model",
        str(SHIPPED),
        *argv,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        yield process, line.rpartition(" ")[2].strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_model_that_ships_translates_and_says_the_same_in_pieces():
    async with started() as (process, url):
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            whole = (await client.post("/chat/completions", json=ASKED)).json()["choices"][0]["message"]
            pieces = await client.post("/chat/completions", json=ASKED | {"stream": True})
            deltas = [json.loads(event)["choices"][0]["delta"] for event in events(pieces.text)[:-1]]
            assert whole["content"]
            assert "".join(delta.get("content", "") for delta in deltas) == whole["content"]
            assert len(deltas) > 3
        process.terminate()
        async with asyncio.timeout(60):
            assert await process.wait() == 0


async def test_a_pause_leaves_time_to_kill_it_in_the_middle_of_a_sentence():
    async with started("--pause-ms", "5000") as (process, url):
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            came = []
            with pytest.raises(httpx.RemoteProtocolError):
                async with client.stream(
                    "POST", "/chat/completions", json=ASKED | {"stream": True}
                ) as response:
                    async for line in response.aiter_lines():
                        came.append(line)
                        if process.returncode is None and '"content": ""' not in line and line:
                            process.kill()
            assert not any("[DONE]" in line for line in came)
        await until(lambda: process.returncode is not None)
