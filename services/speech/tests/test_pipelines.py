"""Devices that fail, before and while they are used, and work that is cancelled."""

from __future__ import annotations

import asyncio
import threading
from threading import Event

import pytest
from recogniser_parts import PROBE, Machine, meters, until

from trunkline_hop.errors import Internal, TooLate, Unavailable
from trunkline_speech.pipelines import Chain, Pool
from trunkline_speech.recogniser import Device


def opened(machine: Machine, *devices: str, slots: int = 1) -> Chain[str, str]:
    chain = machine.chain(*devices, slots=slots)
    chain.open()
    return chain


def test_the_first_device_that_works_is_used_and_every_other_says_why_not():
    machine = Machine("GPU", "CPU", "SPARE")
    machine.cannot_open = {"GPU"}
    chain = opened(machine, "NPU", "GPU", "CPU", "SPARE", slots=2)
    assert chain.run(0, "a") == ("A", "CPU")
    assert chain.devices == (
        Device("NPU", active=False, error="there is none"),
        Device("GPU", active=False, error="it could not be opened"),
        Device("CPU", active=True, pipelines=2),
        Device("SPARE", active=False),
    )
    assert not chain.lost


def test_a_device_that_opens_but_does_not_work_is_found_out_at_load():
    machine = Machine("GPU", "CPU")
    machine.broken = {"GPU"}
    chain = opened(machine, "GPU", "CPU")
    assert chain.device == "CPU"
    assert chain.devices[0].error == "a trial on it failed"
    assert machine.closed == ["GPU"]
    assert not chain.lost


def test_a_chain_without_a_device_does_not_open():
    with pytest.raises(Unavailable, match="DEVICE_LOST"):
        opened(Machine(), "NPU", "CPU")


def test_a_pipeline_that_fails_once_is_replaced_and_nobody_notices():
    machine = Machine("GPU", "CPU")
    chain = opened(machine, "GPU", "CPU")
    machine.failures = {"GPU": 1}
    assert chain.run(0, "a") == ("A", "GPU")
    assert machine.opened == ["GPU", "GPU"]
    assert machine.closed == ["GPU"]
    assert not chain.lost


def test_a_second_failure_is_one_too_many():
    machine = Machine("GPU", "CPU")
    chain = opened(machine, "GPU", "CPU")
    for work in ("a", "b"):
        machine.failures = {"GPU": 1}
        assert chain.run(0, work) == (work.upper(), "GPU")
    assert chain.run(0, "c") == ("C", "CPU")
    assert chain.lost
    assert chain.devices[0] == Device("GPU", active=False, error="it failed again and again")


def test_the_last_device_is_kept_as_long_as_a_fresh_pipeline_helps():
    machine = Machine("GPU", "CPU")
    machine.cannot_open = {"GPU"}
    chain = opened(machine, "GPU", "CPU")
    for _ in range(5):
        machine.failures = {"CPU": 1}
        assert chain.run(0, "a") == ("A", "CPU")
    assert not chain.lost


def test_a_device_that_dies_is_taken_out_and_the_work_is_done_on_the_next():
    machine = Machine("GPU", "CPU")
    chain = opened(machine, "GPU", "CPU", slots=2)
    machine.broken = {"GPU"}
    assert chain.run(0, "a") == ("A", "CPU")
    assert chain.lost
    tried = machine.began.count("b")
    assert chain.run(1, "b") == ("B", "CPU")
    assert machine.began.count("b") == tried + 1, "the lost device is not asked again"
    assert chain.devices[0].error == "it failed twice in a row"
    assert machine.closed.count("GPU") == len([device for device in machine.opened if device == "GPU"])


def test_a_device_that_does_not_open_again_is_taken_out():
    machine = Machine("GPU", "CPU")
    chain = opened(machine, "GPU", "CPU")
    machine.failures, machine.cannot_open = {"GPU": 1}, {"GPU"}
    assert chain.run(0, "a") == ("A", "CPU")
    assert chain.devices[0].error == "it failed, and could not be opened again"


def test_work_that_fails_everywhere_takes_no_device_down():
    machine = Machine("CPU")
    chain = opened(machine, "CPU")
    machine.poison = {"bad"}
    for _ in range(5):
        with pytest.raises(Internal):
            chain.run(0, "bad")
    assert chain.run(0, "good") == ("GOOD", "CPU")
    assert not chain.lost


def test_without_a_device_left_all_work_is_refused():
    machine = Machine("GPU", "CPU")
    chain = opened(machine, "GPU", "CPU", slots=2)
    machine.broken = {"GPU", "CPU"}
    for slot in (0, 1, 0):
        with pytest.raises(Unavailable, match="DEVICE_LOST"):
            chain.run(slot, "a")
    assert chain.device == ""
    assert [device.active for device in chain.devices] == [False, False]


def test_two_threads_that_see_a_device_die_both_go_on():
    machine = Machine("GPU", "CPU")
    chain = opened(machine, "GPU", "CPU", slots=2)
    machine.broken = {"GPU"}
    results = {}
    threads = [
        threading.Thread(target=lambda slot=slot: results.update({slot: chain.run(slot, f"w{slot}")}))
        for slot in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {0: ("W0", "CPU"), 1: ("W1", "CPU")}


def test_why_a_device_is_out_quotes_no_engine():
    machine = Machine("GPU", "CPU")
    machine.cannot_open = {"GPU"}
    assert "secret" not in opened(machine, "GPU", "CPU").devices[0].error


def test_work_that_warms_is_done_on_every_pipeline():
    machine = Machine("CPU")
    opened(machine, "CPU", slots=3).warm(["x", "y"])
    assert machine.done == [(PROBE, "CPU")] * 3 + [("x", "CPU"), ("y", "CPU")] * 3


def pool(machine: Machine, *devices: str, slots: int = 1, queue_limit: int = 10) -> Pool[str, str]:
    return Pool(
        opened(machine, *devices, slots=slots), slots, queue_limit, meters().of("models/m/versions/1")
    )


async def test_as_much_runs_at_once_as_there_are_pipelines():
    machine = Machine("CPU")
    machine.hold = Event()
    work = pool(machine, "CPU", slots=2)
    tasks = [asyncio.create_task(work.run(f"w{number}")) for number in range(5)]
    await until(lambda: len(machine.began) == 2 + 2)  # two probes
    machine.hold.set()
    assert [ran.result for ran in await asyncio.gather(*tasks)] == ["W0", "W1", "W2", "W3", "W4"]
    work.close()


async def test_an_answer_says_where_it_was_made_and_that_a_device_was_lost():
    machine = Machine("GPU", "CPU")
    work = pool(machine, "GPU", "CPU")
    before = await work.run("a")
    machine.broken = {"GPU"}
    after = await work.run("b")
    machine.broken = set()
    later = await work.run("c")
    assert [(ran.device, ran.device_lost) for ran in (before, after, later)] == [
        ("GPU", False),
        ("CPU", True),
        ("CPU", True),
    ]
    work.close()


async def test_cancelled_work_is_stopped_and_its_pipeline_used_again_only_after_that():
    machine = Machine("CPU")
    machine.hold = Event()
    work = pool(machine, "CPU")
    task = asyncio.create_task(work.run("a"))
    await until(lambda: "a" in machine.began)
    following = asyncio.create_task(work.run("b"))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert machine.stopped == ["a"]
    machine.hold.set()
    assert (await following).result == "B"  # a pipeline used twice at once would have failed
    assert machine.opened == ["CPU"]
    work.close()


async def test_work_that_is_cancelled_while_it_waits_is_never_begun():
    machine = Machine("CPU")
    machine.hold = Event()
    work = pool(machine, "CPU")
    running = asyncio.create_task(work.run("a"))
    await until(lambda: "a" in machine.began)
    waiting = asyncio.create_task(work.run("b"))
    await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(int))])
    waiting.cancel()
    await asyncio.wait([waiting])
    machine.hold.set()
    await running
    assert "b" not in machine.began
    work.close()


async def test_work_that_fails_after_it_was_cancelled_is_not_tried_again():
    machine = Machine("CPU")
    machine.hold = Event()
    work = pool(machine, "CPU")
    task = asyncio.create_task(work.run("a"))
    await until(lambda: "a" in machine.began)
    task.cancel()
    await asyncio.wait([task])
    assert machine.began.count("a") == 1
    machine.hold = None
    assert (await work.run("b")).device == "CPU"
    work.close()


async def test_work_that_is_due_already_is_not_begun():
    machine = Machine("CPU")
    work = pool(machine, "CPU")
    with pytest.raises(TooLate):
        await work.run("a", due=asyncio.get_running_loop().time() - 1)
    assert "a" not in machine.began
    work.close()


async def test_metrics_tell_times_failures_and_devices_until_the_pool_is_closed():
    machine = Machine("GPU", "CPU")
    measured = meters()
    name = "models/m/versions/1"
    work = Pool(opened(machine, "GPU", "CPU"), 1, 10, measured.of(name))
    value = measured.metrics.registry.get_sample_value
    await work.run("a")
    machine.poison = {"bad"}
    with pytest.raises(Internal):
        await work.run("bad")
    labels = {"service": "speech", "model": "models/m"}
    assert value("ml_inference_latency_seconds_count", labels | {"version": "1"}) == 1
    assert value("ml_inference_errors_total", labels | {"error_type": "runtime"}) == 1
    assert value("speech_pipelines", {"recogniser": name, "device": "CPU"}) == 0
    machine.broken = {"GPU"}
    await work.run("b")
    assert value("speech_pipelines", {"recogniser": name, "device": "GPU"}) == 0
    assert value("speech_pipelines", {"recogniser": name, "device": "CPU"}) == 1
    assert value("speech_pieces_waiting", {"recogniser": name}) == 0
    machine.broken = {"GPU", "CPU"}
    with pytest.raises(Unavailable):
        await work.run("c")
    assert value("ml_inference_errors_total", labels | {"error_type": "device_lost"}) == 1
    work.close()
    assert value("speech_pieces_waiting", {"recogniser": name}) is None
    assert value("speech_pipelines", {"recogniser": name, "device": "CPU"}) is None
