"""Speech through the gateway: a session is passed on both ways, ends as it should, and is one trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psycopg
import pytest
import pytest_asyncio
from conditions import BOUND_S, Details, failure, until
from opentelemetry.trace import SpanKind
from redis.asyncio import Redis
from suite_parts import SPOKEN, VERSION_KEY, WHISPER, Client, Suite, opened, session, spoken

from trunkline.speech.v1 import speech_pb2 as sp
from trunkline_local.embedded import PostgreSQL, Valkey

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE = "trunkline.speech.v1.SpeechService"
MALFORMED = b"\x0a\xff\xff\xff\xff\x0f"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def suite(
    valkey: Valkey, postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    """One for all of these: none of them changes anything."""
    with psycopg.connect(postgres.dsn_of("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE speech_suite")
    async with Redis.from_url(valkey.url) as redis:
        await redis.flushall()
    dsn = postgres.dsn_of("speech_suite")
    directory: Path = tmp_path_factory.mktemp("speech")
    async with opened(directory, valkey.url, dsn, speaking=True) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(suite: Suite) -> AsyncIterator[Client]:
    async with Client(suite.target) as connected:
        yield connected


@asynccontextmanager
async def _speaking(client: Client, *first: Any, metadata: Any = None) -> AsyncIterator[Any]:
    call = client.speech.StreamingRecognize(metadata=metadata)
    try:
        async with asyncio.timeout(BOUND_S):
            for message in first:
                await call.write(message)
            yield call
    finally:
        call.cancel()


async def _rest(call: Any) -> list[Any]:
    """Every event to come."""
    events = []
    while (event := await call.read()) is not grpc.aio.EOF:
        events.append(event)
    return events


async def _all(client: Client, *first: Any, metadata: Any = None) -> list[Any]:
    async with _speaking(client, *first, *spoken(), metadata=metadata) as call:
        await call.done_writing()
        return await _rest(call)


def _text(events: list[Any]) -> list[str]:
    return [event.segment_final.segment.text for event in events if event.HasField("segment_final")]


async def _over(suite: Suite) -> None:
    """Returns when no session is left: not in the gateway, and not in speech."""
    await until(lambda: not any(suite.servers[name].sessions for name in ("gateway", "speech")))


async def test_a_recording_is_heard_through_the_gateway(client: Client) -> None:
    request = sp.RecognizeRequest(audio=SPOKEN.read_bytes(), options=session().config.options)
    call = client.speech.Recognize(request, timeout=BOUND_S)
    answer = await call
    assert answer.text
    assert dict(await call.trailing_metadata())[VERSION_KEY] == f"{WHISPER}/versions/1"
    listed = (await client.speech.ListModels(sp.ListModelsRequest(), timeout=BOUND_S)).models
    assert f"{WHISPER}/versions/1" in [each.name for each in listed]


async def test_a_session_is_passed_on_both_ways_while_it_goes_on(suite: Suite, client: Client) -> None:
    async with _speaking(client, session()) as call:
        started = await call.read()  # before any audio: nothing waits for the end of the requests
        assert started.started.resume_token
        for message in spoken(chunk=500):
            await call.write(message)
        events = [started]
        while not events[-1].HasField("interim"):
            events.append(await call.read())
        await call.done_writing()
        events += await _rest(call)
        assert await call.code() is grpc.StatusCode.OK
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert _text(events)
    async with Client(suite.servers["speech"].target) as direct:
        assert _text(await _all(direct, session())) == _text(events)
    await _over(suite)


async def test_a_client_that_goes_away_is_gone_for_speech_too(suite: Suite, client: Client) -> None:
    for count in range(4):
        async with _speaking(client, session(), *spoken()) as call:
            for _ in range(count):
                await call.read()
            call.cancel()
        await _over(suite)


async def test_a_gateway_that_stops_sends_the_session_elsewhere(suite: Suite, client: Client) -> None:
    whole = _text(await _all(client, session()))
    leaving = await suite.start_gateway("leaving")
    await until(lambda: leaving.health.serving(SERVICE))
    async with Client(leaving.target) as other, _speaking(other, session()) as call:
        started = await call.read()
        configured = await call.read()
        stopping = asyncio.create_task(suite.stop("leaving"))
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await _rest(call)
        details = Details(ended.value)
        assert (ended.value.code(), details.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert details.RetryInfo is not None
        await stopping
    suite.servers.pop("leaving")
    resume = sp.Resume(resume_token=started.started.resume_token, last_sequence=configured.sequence)
    events = await _all(client, sp.StreamingRecognizeRequest(resume=resume))
    assert events[0].started.resumed
    assert _text(events) == whole
    await _over(suite)


async def test_a_session_is_one_trace_down_to_the_recogniser_and_the_store(
    suite: Suite, client: Client
) -> None:
    trace = "7bf92f3577b34da6a3ce929d0e0e4736"
    await _all(client, session(), metadata=(("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),))

    def spans() -> list[Any]:
        return [span for span in suite.spans() if f"{span.context.trace_id:032x}" == trace]

    await until(lambda: sum(span.kind is SpanKind.SERVER for span in spans()) == 2)
    services = {span.context.span_id: span.resource.attributes["service.name"] for span in spans()}
    by_name: dict[str, list[str]] = {}
    for span in spans():
        by_name.setdefault(span.name, []).append(services.get(span.parent.span_id, "caller"))
    assert by_name[f"{SERVICE}/StreamingRecognize"] == ["caller", "gateway", "gateway"]
    assert set(by_name["compute.recognise"]) == {"speech"}
    assert set(by_name["redis.save"]) == {"speech"}


async def test_a_recording_is_one_trace_with_its_decoding(suite: Suite, client: Client) -> None:
    trace = "8bf92f3577b34da6a3ce929d0e0e4736"
    await client.speech.Recognize(
        sp.RecognizeRequest(audio=SPOKEN.read_bytes()),
        timeout=BOUND_S,
        metadata=(("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),),
    )

    def names() -> list[str]:
        return [span.name for span in suite.spans() if f"{span.context.trace_id:032x}" == trace]

    await until(lambda: names().count(f"{SERVICE}/Recognize") == 3)
    assert {"decode", "compute.recognise"} <= set(names())


@pytest.mark.parametrize("method", sp.DESCRIPTOR.services_by_name["SpeechService"].methods_by_name)
@pytest.mark.parametrize("sent", [MALFORMED, b""], ids=["malformed", "empty"])
async def test_nonsense_is_refused_by_every_method(client: Client, method: str, sent: bytes) -> None:
    streams = method == "StreamingRecognize"
    make = client.channel.stream_stream if streams else client.channel.unary_unary
    call = make(f"/{SERVICE}/{method}")
    if method == "ListModels" and not sent:
        assert await call(sent, timeout=BOUND_S)  # nothing is required of it
        return
    error = await failure(call([sent] if streams else sent, timeout=BOUND_S))
    details = Details(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details.reason == ("MALFORMED_REQUEST" if sent else "FIELD_INVALID")
    assert sent or details.violations


async def test_a_recording_over_the_message_limit_is_refused_and_the_connection_lives(client: Client) -> None:
    request = sp.RecognizeRequest(audio=bytes(16 * 1024 * 1024))
    error = await failure(client.speech.Recognize(request, timeout=BOUND_S))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await client.speech.ListModels(sp.ListModelsRequest(), timeout=BOUND_S)
