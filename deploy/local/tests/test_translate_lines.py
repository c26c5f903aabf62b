"""Lines under way at once come out in order, and nothing is left when it ends early."""

import asyncio
import io
from contextlib import aclosing

import pytest
from conditions import until
from hypothesis import given
from hypothesis import strategies as st

from trunkline_local.translate_lines import NotText, in_order, lines_of


async def source(*texts, error=None):
    for text in texts:
        yield text
    if error:
        raise error


async def letters(text):
    for letter in text:
        yield letter


async def collected(lines):
    return [(line.text, [event async for event in line.events]) async for line in lines]


@given(st.lists(st.text(max_size=4), max_size=20), st.integers(1, 9))
def test_every_line_comes_once_in_order_with_its_events(texts, at_once):
    async def check():
        found = await collected(in_order(source(*texts), letters, at_once))
        assert found == [(text, list(text)) for text in texts]

    asyncio.run(check())


async def test_no_more_are_under_way_than_there_is_room_for():
    begun = []

    async def begin(text):
        begun.append(text)
        yield text

    async with aclosing(in_order(source(*"abcdefgh"), begin, 3)) as lines:
        await anext(lines)
        await until(lambda: len(begun) == 3)
        line = await anext(lines)  # the first one's turn is over
        await until(lambda: len(begun) == 4)
        assert line.text == "b"


async def test_what_fails_fails_in_its_turn_and_who_goes_on_loses_nothing():
    async def begin(text):
        yield "begins"
        if text == "b":
            raise ValueError(text)

    came = []
    async for line in in_order(source("a", "b", "c"), begin):
        try:
            came.append((line.text, [event async for event in line.events]))
        except ValueError:
            came.append((line.text, "failed"))
    assert came == [("a", ["begins"]), ("b", "failed"), ("c", ["begins"])]


async def test_a_source_that_breaks_is_told_behind_what_came_before():
    came = []
    with pytest.raises(NotText, match="line 3"):
        async for line in in_order(source("a", "b", error=NotText("line 3")), letters):
            came.append(line.text)
    assert came == ["a", "b"]


async def test_who_leaves_early_leaves_nothing_running():
    closed = []

    async def begin(text):
        try:
            yield text
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(text)

    before = asyncio.all_tasks()
    async with aclosing(in_order(source("a", "b"), begin)) as lines:
        line = await anext(lines)
        assert await anext(line.events) == "a"
        await until(lambda: len(asyncio.all_tasks() - before) >= 2)
    assert sorted(closed) in (["a"], ["a", "b"])
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\n\ntwo\r\n", ["one", "", "two"]),
        ("¿qué?\n私は\n".encode(), ["¿qué?", "私は"]),
        (b"a\n" * 50, ["a"] * 50),
    ],
)
async def test_lines_come_without_their_ends(content, lines):
    assert [line async for line in lines_of(io.BytesIO(content))] == lines


async def test_a_line_that_is_no_text_is_named():
    found = []
    with pytest.raises(NotText, match="line 2 of standard input is not UTF-8"):
        async for line in lines_of(io.BytesIO(b"one\n\xff\n")):
            found.append(line)
    assert found == ["one"]
