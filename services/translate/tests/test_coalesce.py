"""Fewer and longer pieces. No test takes time: the event loop's is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from translator_parts import VirtualPolicy, Wait, answered, now, task, virtually

from trunkline_hop.errors import Unavailable
from trunkline_translate.coalesce import EVERY_S, Coalesced, coalesced
from trunkline_translate.engine import Identity
from trunkline_translate.translation import Outcome, Partial, Task, Translated

NOBODY = Identity("none", "engines/none")


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return VirtualPolicy()


class Source:
    """Outcomes as told, with waits in between."""

    def __init__(self, *steps: Outcome | Wait | Exception) -> None:
        self._steps = steps
        self.open = 0

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        self.open += 1
        try:
            for step in self._steps:
                if isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.open -= 1


def translated(text: str, revision: int = 1) -> Translated:
    return Translated(text, "en", "es", revision, NOBODY)


async def timed(source: Source) -> list[tuple[float, Outcome]]:
    """What comes, and when."""
    began = now()
    return [(round(now() - began, 6), outcome) async for outcome in coalesced(source.outcomes())]


async def test_the_first_piece_comes_at_once_and_the_next_ones_together() -> None:
    source = Source(
        Partial(1, "a"),
        Wait(0.005),
        Partial(1, "b"),
        Wait(0.005),
        Partial(1, "c"),
        Wait(1),
        translated("abc"),
    )
    assert await timed(source) == [
        (0.0, Partial(1, "a")),
        (0.02, Partial(1, "bc")),
        (1.01, translated("abc")),
    ]


async def test_a_piece_that_comes_late_is_said_at_once() -> None:
    source = Source(Partial(1, "a"), Wait(0.5), Partial(1, "b"), Wait(0.5), translated("ab"))
    assert [time for time, _ in await timed(source)] == [0.0, 0.5, 1.0]


async def test_a_translation_never_waits() -> None:
    source = Source(Partial(1, "a"), Wait(0.001), Partial(1, "b"), Wait(0.001), translated("ab"))
    assert await timed(source) == [
        (0.0, Partial(1, "a")),
        (0.002, Partial(1, "b")),
        (0.002, translated("ab")),
    ]


async def test_a_new_beginning_keeps_to_itself_and_what_is_void_is_not_said() -> None:
    source = Source(
        Partial(1, "a"),
        Partial(1, "b"),
        Wait(0.001),
        Partial(2, "c"),
        Partial(2, "d"),
        Wait(1),
        translated("cd", 2),
    )
    assert [outcome for _, outcome in await timed(source)] == [
        Partial(1, "ab"),
        Partial(2, "cd"),
        translated("cd", 2),
    ]


async def test_a_failure_comes_through_at_once_after_what_was_said_before_it() -> None:
    failure = Unavailable("NO_ENGINE", "none")
    source = Source(Partial(1, "a"), Wait(0.001), Partial(1, "b"), failure)
    seen: list[Outcome] = []
    with pytest.raises(Unavailable) as failed:
        async for outcome in coalesced(source.outcomes()):
            seen.append(outcome)
    assert failed.value is failure
    assert seen == [Partial(1, "a"), Partial(1, "b")]


async def test_one_that_reads_slowly_gets_longer_pieces() -> None:
    source = Source(
        *(step for text in "abcdefgh" for step in (Partial(1, text), Wait(0.1))), translated("abcdefgh")
    )
    seen: list[str] = []
    async for outcome in coalesced(source.outcomes()):
        if isinstance(outcome, Partial):
            seen.append(outcome.text)
            await asyncio.sleep(0.35)
    assert seen == ["a", "bcd", "efg", "h"]


@pytest.mark.parametrize("read", [0, 1])
async def test_closing_it_closes_what_it_reads_and_leaves_no_task(read: int) -> None:
    source = Source(Partial(1, "a"), Wait(60), Partial(1, "b"), translated("ab"))
    before = asyncio.all_tasks()
    async with aclosing(coalesced(source.outcomes())) as outcomes:
        for _ in range(read):
            await anext(outcomes)
        assert source.open == read
    assert source.open == 0
    assert asyncio.all_tasks() == before


async def test_cancelling_its_reader_closes_what_it_reads() -> None:
    source = Source(Wait(60), translated(""))
    before = asyncio.all_tasks()
    reader = asyncio.create_task(timed(source))
    while not source.open:
        await asyncio.sleep(0.1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert source.open == 0
    assert asyncio.all_tasks() == before


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.text("ab ", min_size=1, max_size=2), st.sampled_from([0, 0.001, 0.019, 0.05])
        ),
        max_size=20,
    )
)
def test_nothing_that_counts_is_lost_and_pieces_keep_their_distance(
    pieces: Sequence[tuple[bool, str, float]],
) -> None:
    steps: list[Outcome | Wait] = []
    revision, text = 1, ""
    for anew, piece, wait_s in pieces:
        revision, text = (revision + 1, piece) if anew and text else (revision, text + piece)
        steps += [Partial(revision, piece), Wait(wait_s)]
    last = translated(text, revision)

    async def check() -> None:
        source = Source(*steps, last)
        outcomes = await timed(source)
        assert answered([outcome for _, outcome in outcomes]) == last
        times = [time for time, outcome in outcomes[:-1]]
        # The last one may be early, because the translation comes with it.
        gaps = [later - earlier for earlier, later in pairwise(times[:-1])]
        assert all(gap >= EVERY_S - 1e-6 for gap in gaps)
        assert source.open == 0

    virtually(check())


async def test_a_translator_may_be_a_coalescing_one() -> None:
    source = Source(Partial(1, "a"), Partial(1, "b"), Wait(1), translated("ab"))

    class Said:
        def translate(self, task: Task) -> AsyncGenerator[Outcome, None]:
            return source.outcomes()

    given = task()
    assert [each async for each in Coalesced(Said()).translate(given)] == [Partial(1, "ab"), translated("ab")]
