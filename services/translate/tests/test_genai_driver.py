"""One thread, one pipeline, many sequences."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from genai_parts import Machine, alone, endless, read, reference, shipped, until, work

from trunkline_translate.engine import EngineFailed, SentenceTooLong
from trunkline_translate.genai_devices import NoDevice
from trunkline_translate.genai_driver import Driver
from trunkline_translate.genai_pipeline import State

TEXTS = [f"I have {number} apples." for number in range(24)]
Drive = Callable[..., tuple[Driver, Machine]]


@pytest.fixture
def drive() -> Iterator[Drive]:
    """Makes drivers on machines, and closes them."""
    with ExitStack() as stack:

        def make(*devices: str, queue_limit: int = 64, places: int = 0, **machine: object):
            made = Machine(*(devices or ("CPU",)), **machine)  # type: ignore[arg-type]
            driver = made.driver(*devices, queue_limit=queue_limit, places=places)
            stack.enter_context(closing(driver))
            return driver, made

        yield make


async def test_a_sequence_says_what_its_pipeline_does_and_counts_its_tokens(drive):
    driver, _ = drive()
    ticket = driver.submit(work(TEXTS[0]))
    assert await read(ticket) == alone(TEXTS[0])
    assert ticket.ended.prompt_tokens == reference(shipped()).encode(work(TEXTS[0]).prompt).count
    assert 0 < ticket.ended.completion_tokens <= 32


async def test_many_at_once_say_what_each_does_alone(drive):
    driver, _ = drive(sequences=8)
    said = await asyncio.gather(*(read(driver.submit(work(text))) for text in TEXTS))
    assert said == [alone(text) for text in TEXTS]


async def test_a_sequence_ends_where_it_may_go_no_further(drive):
    driver, _ = drive(facts=endless())
    ticket = driver.submit(work(TEXTS[0], most=5))
    await read(ticket)
    assert (ticket.ended.state, ticket.ended.completion_tokens) == (State.LENGTH, 5)


async def test_no_more_live_than_there_are_places(drive):
    driver, _ = drive(sequences=2, facts=endless())
    tickets = [driver.submit(work(text, most=200)) for text in TEXTS[:5]]
    await anext(tickets[0])
    assert driver.live <= 2
    assert driver.waiting >= 3
    await asyncio.gather(*map(read, tickets))
    assert (driver.live, driver.waiting) == (0, 0)


async def test_the_more_urgent_goes_first_and_then_the_earliest_due(drive):
    driver, _ = drive(sequences=1, facts=endless())
    blocker = driver.submit(work("first", most=200))
    await anext(blocker)
    now = asyncio.get_running_loop().time()
    order: list[str] = []

    async def run(name: str, priority: int, due: float) -> None:
        await read(driver.submit(work(name, most=2, priority=priority, due=now + due)))
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name, priority, due in [("c", 1, 900), ("d", 2, 500), ("b", 1, 800), ("a", 0, 950)]:
            group.create_task(run(name, priority, due))
        await until(lambda: driver.waiting == 4)
        blocker.close()
    assert order == ["a", "b", "c", "d"]


async def test_where_too_much_waits_no_more_is_taken_and_the_engine_is_not_to_blame(drive):
    driver, _ = drive(sequences=1, queue_limit=2, facts=endless())
    live = driver.submit(work("x", most=400))
    await anext(live)
    waiting = [driver.submit(work("x")) for _ in range(2)]
    with pytest.raises(EngineFailed, match="2 sentences wait") as failure:
        driver.submit(work("x"))
    assert not failure.value.counts
    for ticket in (live, *waiting):
        ticket.close()
    await until(lambda: driver.waiting == driver.live == 0)


async def test_what_is_due_before_it_could_begin_is_not_begun(drive):
    driver, _ = drive()
    ticket = driver.submit(work("x", due=asyncio.get_running_loop().time() - 1))
    with pytest.raises(EngineFailed, match="before the sentence was due") as failure:
        await read(ticket)
    assert not failure.value.counts


async def test_a_prompt_that_leaves_no_room_is_refused_before_it_is_begun(drive):
    driver, machine = drive(places=64)
    with pytest.raises(SentenceTooLong) as refusal:
        await read(driver.submit(work("apples and " * 40)))
    assert refusal.value.limit == 64
    assert refusal.value.tokens > 64
    assert not machine.opened[0][1].busy
    assert driver.steps == 0


async def test_an_answer_is_no_longer_than_the_room_its_prompt_leaves(drive):
    driver, _ = drive(places=64, facts=endless())
    ticket = driver.submit(work("apples", most=1000))
    await read(ticket)
    assert ticket.ended.prompt_tokens + ticket.ended.completion_tokens == 64


async def test_a_sequence_that_nobody_reads_any_more_is_gone_within_two_steps(drive):
    driver, machine = drive(facts=endless())
    ticket = driver.submit(work("x", most=400))
    await anext(ticket)
    begun = driver.steps
    ticket.close()
    await until(lambda: not driver.live and not machine.opened[0][1].busy)
    assert driver.steps <= begun + 2


async def test_one_that_is_given_up_changes_nothing_for_the_others(drive):
    driver, _ = drive()
    tickets = [driver.submit(work(text)) for text in TEXTS]
    for ticket in tickets[::2]:
        ticket.close()
    said = [await read(ticket) for ticket in tickets[1::2]]
    assert said == [alone(text) for text in TEXTS[1::2]]


async def test_a_thousand_cancels_leave_nothing(drive):
    driver, machine = drive(facts=endless())
    for start in range(0, 1000, 50):
        tickets = [driver.submit(work(f"x {start}", most=400)) for _ in range(50)]
        await anext(tickets[0])
        for ticket in tickets:
            ticket.close()
        await until(lambda: driver.waiting == driver.live == 0)
    await until(lambda: not machine.opened[0][1].busy)
    assert await read(driver.submit(work("x", most=3))) == alone("x", 3, endless())


async def test_an_idle_driver_makes_no_steps(drive):
    driver, _ = drive()
    await read(driver.submit(work("x")))
    await until(lambda: not driver.live)
    made = driver.steps
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    assert driver.steps == made


@pytest.mark.parametrize("what", ["step", "add", "encode"])
async def test_a_pipeline_that_breaks_fails_what_had_begun_and_a_fresh_one_takes_up_the_rest(drive, what):
    driver, machine = drive(sequences=1, facts=endless())
    begun = driver.submit(work("x", most=400))
    await anext(begun)
    waiting = driver.submit(work("y", most=4))
    await until(lambda: driver.waiting == 1)
    if what == "step":
        machine.opened[0][1].broken = what
    else:
        machine.opened[0][1].broken = what
        begun.close()
    broke, goes_on = (begun, waiting) if what == "step" else (waiting, driver.submit(work("z", most=4)))
    with pytest.raises(EngineFailed, match="broke") as failure:
        await read(broke)
    assert failure.value.counts
    assert await read(goes_on)
    assert [device for device, _ in machine.opened] == ["CPU", "CPU"]
    assert driver.error == ""


async def test_a_device_that_breaks_twice_is_left_for_the_next(drive):
    driver, machine = drive("GPU", "CPU")
    for _ in range(2):
        machine.opened[-1][1].broken = "step"
        with pytest.raises(EngineFailed):
            await read(driver.submit(work("x")))
        await until(lambda: machine.opened[-1][1].broken == "")
    assert [device for device, _ in machine.opened] == ["GPU", "GPU", "CPU"]
    assert await read(driver.submit(work("x")))
    assert driver.device == "CPU"


async def test_the_only_device_is_kept_however_often_it_breaks(drive):
    driver, machine = drive("CPU")
    for _ in range(3):
        machine.opened[-1][1].broken = "step"
        with pytest.raises(EngineFailed):
            await read(driver.submit(work("x")))
        await until(lambda: machine.opened[-1][1].broken == "")
    assert await read(driver.submit(work("x")))


async def test_without_a_device_everything_fails_until_one_is_back(drive):
    driver, machine = drive(sequences=1, facts=endless())
    begun = driver.submit(work("x", most=400))
    await anext(begun)
    waiting = driver.submit(work("x"))
    machine.out_of_order.add("CPU")
    machine.opened[0][1].broken = "step"
    for ticket in (begun, waiting):
        with pytest.raises(EngineFailed) as failure:
            await read(ticket)
        assert failure.value.counts
    await until(lambda: driver.error)
    with pytest.raises(EngineFailed, match="no device works"):
        driver.submit(work("x"))
    machine.out_of_order.clear()
    driver.revive()
    await until(lambda: not driver.error)
    assert await read(driver.submit(work("x", most=3)))


async def test_reviving_what_lives_does_nothing(drive):
    driver, machine = drive()
    driver.revive()
    assert await read(driver.submit(work("x")))
    assert len(machine.opened) == 1


def test_a_driver_without_a_device_does_not_come_to_life():
    with pytest.raises(NoDevice, match=r"GPU: this machine has none, NPU: this machine has none"):
        Machine().driver("GPU", "NPU")


async def test_the_first_device_that_works_is_used(drive):
    machine = Machine("GPU", "CPU")
    machine.out_of_order.add("GPU")
    with closing(machine.driver("NPU", "GPU", "CPU")) as driver:
        assert driver.device == "CPU"


async def test_closing_fails_what_goes_on_and_takes_nothing_more(drive):
    driver, _ = drive(sequences=1, facts=endless())
    tickets = [driver.submit(work("x", most=400)) for _ in range(3)]
    await anext(tickets[0])
    driver.close()
    for ticket in tickets:
        with pytest.raises(EngineFailed, match="unloaded") as failure:
            await read(ticket)
        assert not failure.value.counts
    with pytest.raises(EngineFailed, match="unloaded"):
        driver.submit(work("x"))
    driver.close()


async def test_text_comes_while_it_is_made_and_never_half_a_character(drive):
    driver, _ = drive(facts=endless())
    ticket = driver.submit(work("日本語 Ünïcödé ñandú", most=300))
    pieces = [text async for text in ticket]
    assert len(pieces) > 1
    assert all(pieces)
    assert not [piece for piece in pieces if piece.endswith("\ufffd")]


def test_the_model_that_ships_has_an_end():
    assert shipped().ends
