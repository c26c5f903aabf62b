"""Admission: never more than the limit, the urgent first, and every slot accounted for."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_hop.admission import Admission
from trunkline_hop.context import Priority
from trunkline_hop.errors import Overloaded, TooLate


class VirtualClock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def monotonic(self) -> float:
        return self.time_s

    def now(self):
        raise AssertionError("admission asks for durations only")


class Waiting:
    """One call in front of an admission."""

    def __init__(self, admission, priority=Priority.DEFAULT, deadline=None):
        self.task = asyncio.ensure_future(self._wait(admission, priority, deadline))
        self.admitted = False

    async def _wait(self, admission, priority, deadline):
        if not admission.admit():
            await admission.wait(priority, deadline)
        self.admitted = True


async def settle():
    """Lets every callback that is due run."""
    for _ in range(5):
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(done.set_result, None)
        await done


def admission(limit=1, queue_limit=8, queue_ttl_s=60.0):
    return Admission(limit, queue_limit, queue_ttl_s, clock=VirtualClock())


async def test_a_free_slot_is_taken_at_once_and_given_back():
    gate = admission(limit=2)
    assert gate.admit() and gate.admit() and not gate.admit()
    gate.release()
    assert gate.admit() and gate.running == 2


async def test_who_waits_goes_before_who_comes():
    gate = admission()
    assert gate.admit()
    waiting = Waiting(gate)
    await settle()
    assert not gate.admit()
    gate.release()
    await settle()
    assert waiting.admitted and gate.running == 1


async def test_priority_goes_first_then_the_earlier_deadline_then_who_came_first():
    gate = admission()
    assert gate.admit()
    order = []

    async def call(name, priority, deadline):
        await gate.wait(priority, deadline)
        order.append(name)

    calls = [
        ("batch", Priority.BATCH, 1001.0),
        ("late", Priority.DEFAULT, 1009.0),
        ("never", Priority.DEFAULT, None),
        ("never, second", Priority.DEFAULT, None),
        ("soon", Priority.DEFAULT, 1002.0),
        ("urgent", Priority.INTERACTIVE, None),
    ]
    async with asyncio.TaskGroup() as group:
        for one in calls:
            group.create_task(call(*one))
        await settle()
        for _ in calls:
            gate.release()
            await settle()
    assert order == ["urgent", "soon", "late", "never", "never, second", "batch"]


async def test_a_full_queue_sheds_its_least_urgent_call():
    gate = admission(queue_limit=2)
    assert gate.admit()
    batch, default = Waiting(gate, Priority.BATCH), Waiting(gate)
    await settle()
    urgent = Waiting(gate, Priority.INTERACTIVE)
    await settle()
    with pytest.raises(Overloaded) as shed:
        await batch.task
    assert shed.value.reason == "SHED" and shed.value.retry_after is not None
    assert gate.queued == 2 and not default.task.done() and not urgent.task.done()
    with pytest.raises(Overloaded):
        await gate.wait(Priority.BATCH, None)
    for waiting in (urgent, default):
        gate.release()
        await waiting.task
    assert gate.shed_count == 2


async def test_no_queue_sheds_at_once():
    gate = admission(queue_limit=0)
    assert gate.admit()
    with pytest.raises(Overloaded):
        await gate.wait(Priority.INTERACTIVE, None)


async def test_a_call_that_waited_too_long_is_dropped():
    gate = admission(queue_ttl_s=0.001)
    assert gate.admit()
    with pytest.raises(TooLate) as late:
        await gate.wait(Priority.DEFAULT, None)
    assert late.value.reason == "EXPIRED_IN_QUEUE" and (gate.queued, gate.running) == (0, 1)


async def test_a_call_whose_deadline_the_queue_cannot_meet_is_refused_before_it_waits():
    gate = admission()
    assert gate.admit()
    for _ in range(100):
        gate.release(seconds=1.0)
        assert gate.admit()
    with pytest.raises(TooLate) as late:
        await gate.wait(Priority.DEFAULT, 1001.0)
    assert late.value.reason == "DEADLINE_UNMEETABLE" and int(late.value.metadata["predicted_ms"]) > 1000
    patient = Waiting(gate, deadline=1010.0)
    await settle()
    gate.release(seconds=1.0)
    await patient.task


async def test_an_estimate_that_refuses_forgets_in_time():
    gate = admission()
    assert gate.admit()
    for _ in range(100):
        gate.release(seconds=10.0)
        assert gate.admit()
    refused = 0
    while gate.queued == 0 and refused < 1000:
        waiting = Waiting(gate, deadline=1001.0)
        await settle()
        refused += waiting.task.done() and waiting.task.exception() is not None
    assert 0 < refused < 1000
    gate.release()
    await waiting.task


async def test_a_waiter_that_is_cancelled_in_the_moment_it_is_admitted_passes_its_slot_on():
    gate = admission()
    assert gate.admit()
    first, second = Waiting(gate), Waiting(gate)
    await settle()
    gate.release()  # admits the first, which does not know yet
    first.task.cancel()
    await settle()
    assert first.task.cancelled() and second.admitted and (gate.running, gate.queued) == (1, 0)


_STEP = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from(Priority), st.none() | st.floats(30.0, 90.0)),
    st.tuples(st.just("finish"), st.integers(0, 99), st.floats(0.0, 80.0)),
    st.tuples(st.just("cancel"), st.integers(0, 99)),
    st.tuples(st.just("finish and cancel"), st.integers(0, 99), st.integers(0, 99)),
    st.tuples(st.just("pass"), st.floats(0.0, 5.0)),
)


@given(st.integers(1, 3), st.integers(0, 4), st.lists(_STEP, max_size=60))
@settings(deadline=None)
def test_slots_are_accounted_for_whatever_happens(limit, queue_limit, steps):
    async def history():
        gate = admission(limit, queue_limit)
        clock = gate._clock
        calls = []

        def held():
            return [call for call in calls if call.admitted]

        def finish(index, seconds):
            running = held()
            if running:
                call = running[index % len(running)]
                calls.remove(call)
                gate.release(seconds)

        for step in steps:
            match step:
                case ("arrive", priority, left_s):
                    calls.append(Waiting(gate, priority, None if left_s is None else clock.time_s + left_s))
                case ("finish", index, seconds):
                    finish(index, seconds)
                case ("cancel", index) if calls:
                    calls[index % len(calls)].task.cancel()
                case ("finish and cancel", one, other):
                    finish(one, None)
                    if calls:
                        calls[other % len(calls)].task.cancel()
                case ("pass", seconds):
                    clock.time_s += seconds
            assert gate.running <= limit and gate.queued <= queue_limit
            await settle()
            waiting = [call for call in calls if not call.task.done()]
            assert gate.running == len(held()) <= limit
            assert gate.queued == len(waiting) <= queue_limit
            # A slot is never idle while somebody waits.
            assert not waiting or gate.running == limit
            for call in calls:
                if call.task.done() and not call.task.cancelled():
                    error = call.task.exception()
                    assert error is None or isinstance(error, Overloaded | TooLate)
        while any(not call.task.done() for call in calls):
            finish(0, None)
            await settle()
        while held():
            finish(0, None)
        await asyncio.gather(*(call.task for call in calls), return_exceptions=True)
        assert (gate.running, gate.queued) == (0, 0)

    asyncio.run(history())
