"""Sequences through a process of their own, which may end at any moment."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import psutil
import pytest
from genai_parts import BOUND_S, Machine, alone, endless, read, until, work

from trunkline_translate.engine import EngineFailed, SentenceTooLong
from trunkline_translate.genai_devices import NoDevice
from trunkline_translate.genai_driver import Driver
from trunkline_translate.genai_messages import State

TEXTS = [f"I have {number} apples." for number in range(24)]
Drive = Callable[..., tuple[Driver, Machine]]


@pytest.fixture
def drive() -> Iterator[Drive]:
    """Makes drivers on machines, and closes them."""
    with ExitStack() as stack:

        def make(*devices: str, queue_limit: int = 64, hung_s: float = BOUND_S, **machine: object):
            made = Machine(*(devices or ("CPU",)), **machine)  # type: ignore[arg-type]
            driver = made.driver(*devices, queue_limit=queue_limit, hung_s=hung_s)
            stack.enter_context(closing(driver))
            return driver, made

        yield make


async def test_many_at_once_say_what_each_does_alone(drive):
    driver, _ = drive(sequences=8)
    tickets = [driver.submit(work(text)) for text in TEXTS]
    said = await asyncio.gather(*map(read, tickets))
    assert said == [alone(text) for text in TEXTS]
    assert all(ticket.ended.state is State.STOPPED for ticket in tickets)
    assert (driver.live, driver.waiting) == (0, 0)
    assert driver.steps > 0


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


async def test_with_no_place_to_wait_those_places_are_used_that_are_free(drive):
    driver, _ = drive(sequences=2, queue_limit=0, facts=endless())
    tickets = [driver.submit(work("x", most=4)) for _ in range(2)]
    with pytest.raises(EngineFailed, match="wait"):
        driver.submit(work("x"))
    assert await asyncio.gather(*map(read, tickets)) == [alone("x", 4, endless())] * 2


async def test_what_cannot_be_made_says_why_and_the_engine_is_not_to_blame(drive):
    driver, _ = drive()
    with pytest.raises(EngineFailed, match="before the sentence was due") as failure:
        await read(driver.submit(work("x", due=asyncio.get_running_loop().time() - 1)))
    assert not failure.value.counts
    with pytest.raises(SentenceTooLong) as refusal:
        await read(driver.submit(work("apples and " * 1000)))
    assert refusal.value.tokens > refusal.value.limit


async def test_a_sequence_that_nobody_reads_any_more_is_gone(drive):
    driver, _ = drive(facts=endless())
    ticket = driver.submit(work("x", most=400))
    await anext(ticket)
    assert (driver.live, driver.waiting) == (1, 0)
    begun = driver.steps
    ticket.close()
    ticket.close()
    await until(lambda: not driver.live)
    assert driver.steps < begun + 400


async def test_a_thousand_cancels_leave_nothing(drive):
    driver, _ = drive(facts=endless())
    for start in range(0, 1000, 50):
        tickets = [driver.submit(work(f"x {start}", most=400)) for _ in range(50)]
        await anext(tickets[0])
        for ticket in tickets:
            ticket.close()
        await until(lambda: driver.waiting == driver.live == 0)
    assert await read(driver.submit(work("x", most=3))) == alone("x", 3, endless())


async def test_a_process_that_is_killed_fails_what_had_begun_and_a_fresh_one_takes_up_the_rest(drive):
    driver, machine = drive(sequences=1, facts=endless())
    begun = driver.submit(work("x", most=400))
    await anext(begun)
    waiting = driver.submit(work("y", most=4))
    given_up = driver.submit(work("z", most=4))
    machine.send(signal.SIGKILL)
    given_up.close()
    with pytest.raises(EngineFailed, match="broke") as failure:
        await read(begun)
    assert failure.value.counts
    assert await read(waiting) == alone("y", 4, endless())
    assert [device for device, _ in machine.opened] == ["CPU", "CPU"]
    assert driver.error == ""
    assert (driver.live, driver.waiting) == (0, 0)


async def test_what_is_given_up_while_the_process_ends_is_no_longer_counted(drive, monkeypatch):
    driver, machine = drive(sequences=1, facts=endless())
    begun = driver.submit(work("x", most=400))
    await anext(begun)
    waiting = driver.submit(work("y", most=4))
    process = machine.opened[0][1]
    looked, end = threading.Event(), process.end

    def ends_late() -> str:
        looked.wait(BOUND_S)
        return end()

    monkeypatch.setattr(process, "end", ends_late)
    machine.send(signal.SIGKILL)
    await until(lambda: driver._writer is None)
    begun.close()
    waiting.close()
    looked.set()
    assert await read(driver.submit(work("x", most=4))) == alone("x", 4, endless())
    assert (driver.live, driver.waiting) == (0, 0)


async def test_a_process_that_is_killed_while_nothing_goes_on_is_replaced_before_anybody_asks(drive):
    driver, machine = drive()
    await read(driver.submit(work("x")))
    machine.send(signal.SIGSEGV)
    await until(lambda: len(machine.opened) == 2)
    assert await read(driver.submit(work("x"))) == alone("x")


async def test_a_process_that_was_killed_before_its_first_sequence_costs_none(drive):
    driver, machine = drive()
    machine.send(signal.SIGKILL)
    assert await read(driver.submit(work("x"))) == alone("x")


async def test_a_process_that_hangs_is_killed_when_it_was_silent_between_two_looks(drive):
    driver, machine = drive(facts=endless(), hung_s=0.0)
    ticket = driver.submit(work("x", most=400))
    await anext(ticket)
    process = psutil.Process(machine.opened[0][1].pid)
    machine.send(signal.SIGSTOP)
    await until(lambda: process.status() == psutil.STATUS_STOPPED)
    driver.check()
    assert process.status() == psutil.STATUS_STOPPED
    driver.check()
    with pytest.raises(EngineFailed, match="broke"):
        await read(ticket)
    await until(lambda: len(machine.opened) == 2)
    assert await read(driver.submit(work("x", most=3)))


async def test_a_process_that_was_merely_not_heard_is_not_killed(drive):
    driver, machine = drive(facts=endless(), hung_s=0.0)
    for _ in range(3):
        # As after this process was suspended, or did not get to reading: everything seems long ago.
        ticket = driver.submit(work("x", most=100))
        await anext(ticket)
        driver.check()
        await read(ticket)
    assert len(machine.opened) == 1


async def test_a_process_that_cannot_be_killed_is_left_for_a_fresh_one(drive, monkeypatch):
    driver, machine = drive(facts=endless(), hung_s=0.0)
    ticket = driver.submit(work("x", most=400))
    await anext(ticket)
    process = machine.opened[0][1]

    def waits(timeout: float | None = None) -> int:
        assert timeout is not None
        raise subprocess.TimeoutExpired("a process in the middle of a driver", timeout)

    monkeypatch.setattr(process._process, "wait", waits)
    monkeypatch.setattr(process._process, "kill", lambda: None)
    machine.send(signal.SIGSTOP)
    driver.check()
    driver.check()
    with pytest.raises(EngineFailed, match="broke"):
        await read(ticket)
    assert await read(driver.submit(work("x", most=4))) == alone("x", 4, endless())
    monkeypatch.undo()
    process.kill()
    process.end()


async def test_a_process_that_has_nothing_to_do_may_be_silent(drive):
    driver, machine = drive(hung_s=0.0)
    await read(driver.submit(work("x")))
    driver.check()
    assert await read(driver.submit(work("x")))
    assert len(machine.opened) == 1


async def test_a_device_that_breaks_twice_is_left_for_the_next(drive):
    driver, machine = drive("GPU", "CPU")
    for count in (2, 3):
        assert await read(driver.submit(work("x")))
        machine.send(signal.SIGKILL)
        await until(lambda count=count: len(machine.opened) == count)
    assert [device for device, _ in machine.opened] == ["GPU", "GPU", "CPU"]
    assert await read(driver.submit(work("x")))
    assert driver.device == "CPU"


async def test_the_only_device_is_kept_however_often_it_breaks(drive):
    driver, machine = drive("CPU")
    for count in (2, 3, 4):
        assert await read(driver.submit(work("x")))
        machine.send(signal.SIGKILL)
        await until(lambda count=count: len(machine.opened) == count)
    assert await read(driver.submit(work("x")))


async def test_without_a_device_everything_fails_until_one_is_back(drive):
    driver, machine = drive(sequences=1, facts=endless())
    begun = driver.submit(work("x", most=400))
    await anext(begun)
    waiting = driver.submit(work("x"))
    machine.out_of_order.add("CPU")
    machine.send(signal.SIGKILL)
    for ticket in (begun, waiting):
        with pytest.raises(EngineFailed) as failure:
            await read(ticket)
        assert failure.value.counts
    await until(lambda: driver.error)
    with pytest.raises(EngineFailed, match="no device works"):
        driver.submit(work("x"))
    machine.out_of_order.clear()
    driver.check()
    await until(lambda: not driver.error)
    assert await read(driver.submit(work("x", most=3)))


def test_a_driver_without_a_device_does_not_come_to_life():
    with pytest.raises(NoDevice, match=r"GPU: this machine has none, NPU: this machine has none"):
        Machine().driver("GPU", "NPU")


def test_the_first_device_that_works_is_used():
    machine = Machine("GPU", "CPU")
    machine.out_of_order.add("GPU")
    with closing(machine.driver("NPU", "GPU", "CPU")) as driver:
        assert driver.device == "CPU"


async def test_closing_fails_what_goes_on_takes_nothing_more_and_ends_the_process(drive):
    driver, machine = drive(sequences=1, facts=endless())
    tickets = [driver.submit(work("x", most=400)) for _ in range(3)]
    await anext(tickets[0])
    await asyncio.to_thread(driver.close)
    for ticket in tickets:
        with pytest.raises(EngineFailed, match="unloaded") as failure:
            await read(ticket)
        assert not failure.value.counts
    with pytest.raises(EngineFailed, match="unloaded"):
        driver.submit(work("x"))
    driver.close()
    assert not psutil.pid_exists(machine.opened[0][1].pid)


async def test_a_driver_that_is_closed_while_it_opens_a_fresh_process_leaves_none(drive):
    driver, machine = drive()
    await read(driver.submit(work("x")))
    machine.send(signal.SIGKILL)
    await until(lambda: driver._process is None)
    driver.close()
    await until(lambda: driver._task.done())
    assert all(not psutil.pid_exists(process.pid) for _, process in machine.opened)


async def test_text_comes_while_it_is_made(drive):
    driver, _ = drive(facts=endless())
    ticket = driver.submit(work("日本語 Ünïcödé ñandú", most=300))
    pieces = [text async for text in ticket]
    assert len(pieces) > 1
    assert all(pieces)
