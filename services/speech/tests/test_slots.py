"""Who is next."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recogniser_parts import until

from trunkline_hop.errors import Overloaded, TooLate
from trunkline_speech.slots import Slots


def soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def queued(slots: Slots, *dues: float) -> list[asyncio.Task[int]]:
    """Waiters in the order given."""
    waiting = []
    for due in dues:
        before = slots.waiting
        waiting.append(asyncio.create_task(slots.take(due)))
        await until(lambda before=before: slots.waiting == before + 1)
    return waiting


async def test_slots_are_handed_out_until_none_is_left_and_then_to_who_is_due_first():
    slots = Slots(1, 10)
    assert await slots.take() == 0
    late, first, later, same = await queued(slots, math.inf, soon(100), soon(200), math.inf)
    order = []
    for task, name in ((late, "late"), (first, "first"), (later, "later"), (same, "same")):
        task.add_done_callback(lambda _, name=name: order.append(name))
    for _ in range(4):
        slots.give(0, None)
        done = len(order) + 1
        await until(lambda done=done: len(order) == done)
    assert order == ["first", "later", "late", "same"]


async def test_no_more_than_the_limit_wait_and_the_next_is_told_when_to_come_again():
    slots = Slots(1, 2)
    slots.give(await slots.take(), 4.0)
    await slots.take()
    waiting = await queued(slots, math.inf, math.inf)
    with pytest.raises(Overloaded, match="SHED") as shed:
        await slots.take()
    assert shed.value.retry_after.total_seconds() == 8.0
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert slots.waiting == 0


async def test_nobody_waits_where_the_limit_is_none():
    slots = Slots(1, 0)
    await slots.take()
    with pytest.raises(Overloaded, match="SHED"):
        await slots.take()


async def test_what_cannot_be_done_in_time_is_refused_at_once():
    slots = Slots(1, 10)
    with pytest.raises(TooLate, match="DEADLINE_UNMEETABLE"):
        await slots.take(soon(-0.001))
    slots.give(await slots.take(), 50.0)
    with pytest.raises(TooLate, match="DEADLINE_UNMEETABLE"):
        await slots.take(soon(40))
    assert await slots.take(soon(1000)) == 0
    with pytest.raises(TooLate, match="DEADLINE_UNMEETABLE"):
        await slots.take(soon(90))  # one that runs, and its own time


async def test_what_waits_too_long_is_told_so_and_takes_no_place_any_more():
    slots = Slots(1, 1)
    await slots.take()
    with pytest.raises(TooLate, match="EXPIRED_IN_QUEUE"):
        await slots.take(soon(0.02))
    assert slots.waiting == 0
    slots.give(0, None)
    assert await slots.take() == 0


async def test_the_last_due_is_never_too_late():
    slots = Slots(1, 10)
    slots.give(await slots.take(), 1e9)
    assert await slots.take() == 0


async def test_a_slot_that_is_handed_to_somebody_who_just_left_goes_to_the_next():
    slots = Slots(1, 10)
    await slots.take()
    leaving, staying = await queued(slots, math.inf, math.inf)
    slots.give(0, None)
    leaving.cancel()
    assert await staying == 0
    assert leaving.cancelled()


async def test_how_many_wait_is_told_whenever_it_changes():
    told: list[int] = []
    slots = Slots(1, 10, told.append)
    await slots.take()
    one, two = await queued(slots, math.inf, math.inf)
    one.cancel()
    slots.give(0, None)
    await two
    assert told[:2] == [1, 2]
    assert told[-1] == 0


@given(st.integers(1, 3), st.lists(st.sampled_from(["take", "give", "cancel", "turn"]), max_size=60))
def test_no_slot_is_ever_lost_or_given_twice(count, steps):
    async def play():
        slots = Slots(count, 100)
        tasks: list[asyncio.Task[int]] = []

        def holding():
            return [task for task in tasks if task.done() and not task.cancelled()]

        for step in steps:
            if step == "take":
                tasks.append(asyncio.create_task(slots.take()))
            elif step == "give" and (held := holding()):
                tasks.remove(held[0])
                slots.give(held[0].result(), None)
            elif step == "cancel" and (open_ := [task for task in tasks if not task.done()]):
                open_[len(steps) % len(open_)].cancel()
            else:
                await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(int))])
            assert len({task.result() for task in holding()}) == len(holding()) <= count
        for task in tasks:
            if not task.done():
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in holding():
            slots.give(task.result(), None)
        assert sorted([await slots.take() for _ in range(count)]) == list(range(count))

    asyncio.run(play())
