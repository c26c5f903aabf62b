"""Streams in both styles and all directions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from trunkline_hop import errors


async def texts(call: Any) -> list[str]:
    return [message.text async for message in call]


async def notes(lab: Any, *words: str) -> AsyncIterator[Any]:
    for word in words:
        yield lab.Plain(text=word)


def echoing(server: Any) -> Any:
    async def on(method: str, text: str, context: Any) -> str:
        return text

    server.on = on
    return server


async def stub_of(lab: Any, **settings: Any) -> tuple[Any, Any, Any]:
    server = echoing(await lab.server())
    channel = await lab.channel(server, **settings)
    return server, channel, lab.Stub(channel)


async def test_a_server_streams_to_a_loop_and_to_read(lab: Any) -> None:
    _, channel, stub = await stub_of(lab)
    call = stub.List(lab.Plain(text="a b c"))
    assert await texts(call) == ["a", "b", "c"]
    assert await call.code() is grpc.StatusCode.OK
    call = stub.List(lab.Plain(text="a b"))
    assert [(await call.read()).text, (await call.read()).text] == ["a", "b"]
    assert await call.read() is grpc.aio.EOF
    assert await call.read() is grpc.aio.EOF
    assert [e.in_flight for e in channel.endpoints] == [0]


async def test_a_client_streams_by_iterator_and_by_write(lab: Any) -> None:
    _, channel, stub = await stub_of(lab)
    assert (await stub.Join(notes(lab, "a", "b"))).text == "a b"
    assert (await stub.Join(iter([lab.Plain(text="x")]))).text == "x"
    call = stub.Join()
    await call.write(lab.Plain(text="c"))
    await call.write(lab.Plain(text="d"))
    await call.done_writing()
    assert (await call).text == "c d"
    assert (await call.trailing_metadata()) is not None
    assert [e.in_flight for e in channel.endpoints] == [0]


async def test_both_stream_in_both_styles(lab: Any) -> None:
    _, channel, stub = await stub_of(lab)
    assert await texts(stub.Chat(notes(lab, "a", "b"))) == ["a", "b"]
    call = stub.Chat()
    for word in ("c", "d"):
        await call.write(lab.Plain(text=word))
        assert (await call.read()).text == word
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert [e.in_flight for e in channel.endpoints] == [0]


async def test_a_failing_stream_raises_its_fault_from_every_side(lab: Any) -> None:
    server, _, stub = await stub_of(lab)

    async def on(*_: Any) -> str:
        raise errors.NotFound("VIEW_UNKNOWN", "no view", resource_type="view", resource_name="views/x")

    server.on = on
    assert (await lab.fault(stub.List(lab.Plain()).read())).reason == "VIEW_UNKNOWN"
    assert (await lab.fault(texts(stub.List(lab.Plain())))).reason == "VIEW_UNKNOWN"
    assert (await lab.fault(stub.Join(notes(lab, "a")))).reason == "VIEW_UNKNOWN"
    assert (await lab.fault(texts(stub.Chat(notes(lab, "a"))))).reason == "VIEW_UNKNOWN"
    call = stub.Chat()
    await call.write(lab.Plain())
    assert (await lab.fault(call.read())).reason == "VIEW_UNKNOWN"
    assert (await lab.fault(call.write(lab.Plain()))).reason == "VIEW_UNKNOWN"
    assert await call.code() is grpc.StatusCode.NOT_FOUND
    assert await call.details() == "no view"


async def test_what_a_callers_iterator_raises_reaches_the_caller(lab: Any) -> None:
    _, channel, stub = await stub_of(lab)

    async def broken() -> AsyncIterator[Any]:
        yield lab.Plain(text="a")
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await stub.Join(broken())
    with pytest.raises(LookupError, match="mine"):
        await texts(stub.Chat(broken()))
    assert [e.in_flight for e in channel.endpoints] == [0]


async def test_a_server_stream_is_retried_before_its_first_message_only(lab: Any) -> None:
    server, _, stub = await stub_of(lab, breaker_failures=99)
    failures = 2

    async def on(method: str, text: str, context: Any) -> str:
        nonlocal failures
        if failures:
            failures -= 1
            raise errors.Unavailable("STORE_UNREACHABLE", "gone")
        return text

    server.on = on
    assert await texts(stub.List(lab.Plain(text="a b"))) == ["a", "b"]
    assert len(server.calls) == 3
    server.calls.clear()

    async def half(method: str, text: str, context: Any) -> str:
        await context.write(lab.Plain(text="half"))
        raise errors.Unavailable("STORE_UNREACHABLE", "gone")

    server.on = half
    call = stub.List(lab.Plain())
    assert (await call.read()).text == "half"
    assert not (await lab.fault(call.read())).final
    assert len(server.calls) == 1


async def test_what_a_caller_streams_is_sent_once(lab: Any) -> None:
    server, _, stub = await stub_of(lab)

    async def on(*_: Any) -> str:
        raise errors.Unavailable("STORE_UNREACHABLE", "gone")

    server.on = on
    await lab.fault(stub.Join(notes(lab, "a")))
    await lab.fault(texts(stub.Chat(notes(lab, "a"))))
    assert server.calls == ["Join", "Chat"]


async def test_a_deadline_spans_the_whole_stream(lab: Any) -> None:
    _, _, stub = await stub_of(lab)
    call = stub.Chat(timeout=0.2)
    await call.write(lab.Plain(text="a"))
    assert (await call.read()).text == "a"
    assert isinstance(await lab.fault(call.read()), errors.TooLate)


async def test_a_session_has_no_deadline(lab: Any) -> None:
    server, _, stub = await stub_of(lab)
    call = stub.Session(notes(lab, "a"))
    assert call.time_remaining() is None
    assert await texts(call) == ["a"]
    assert server.left_s[0] is None or server.left_s[0] > 1e6


async def test_closing_the_channel_ends_streams_with_a_fault(lab: Any) -> None:
    _, channel, stub = await stub_of(lab)
    call = stub.Chat()
    await call.write(lab.Plain(text="a"))
    await call.read()
    task = asyncio.ensure_future(call.read())
    await lab.until(lambda: not task.done())
    await channel.close()
    assert isinstance(await lab.fault(task), errors.Cancelled)


async def test_a_message_that_cannot_be_read_is_internal_and_ends_the_stream(lab: Any) -> None:
    _, channel, _ = await stub_of(lab)
    listing = channel.unary_stream(
        "/hop_client_tests.v1.NoteService/List", lab.Plain.SerializeToString, lambda data: int(data)
    )
    call = listing(lab.Plain(text="a b"))
    assert (await lab.fault(call.read())).status == "INTERNAL"
    assert (await lab.fault(call.read())).status == "INTERNAL"
    assert [e.in_flight for e in channel.endpoints] == [0]
