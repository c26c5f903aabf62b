"""Where pipelines run: in threads that outlive them, whoever opens and closes them, and from where."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

from recogniser_parts import Machine, meters, until

from trunkline_speech.pipelines import Chain, Pool

NAME = "models/m/versions/1"
POOLS = 50


def opened(chain: Chain[str, str], slots: int) -> Pool[str, str]:
    chain.open()
    chain.warm(["warm"])
    return Pool(chain, slots, 10, meters().of(NAME))


async def lived(machine: Machine, slots: int, failures: int = 0) -> None:
    """A pool from its beginning to its end, both in threads that end with it, as those of a model store do."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(2) as store:
        pool = await loop.run_in_executor(store, opened, machine.chain("GPU", "CPU", slots=slots), slots)
        machine.failures = {"GPU": failures}
        await asyncio.gather(*(pool.run(f"w{number}") for number in range(2 * slots)))
        await loop.run_in_executor(store, pool.close)


def pipeline_threads() -> set[Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("pipeline_")}


async def test_no_thread_ends_that_opened_ran_or_closed_a_pipeline():
    machine = Machine("GPU", "CPU")
    # A pipeline that fails is closed, and another is opened, while the pool is in use.
    await lived(machine, slots=3, failures=1)
    assert len(machine.opened) == 3 + 1
    assert sorted(machine.closed) == sorted(machine.opened)
    assert machine.threads
    assert machine.threads <= pipeline_threads()


async def test_pools_one_after_the_other_use_the_same_threads():
    before = pipeline_threads()
    used: set[Thread] = set()
    for _ in range(POOLS):
        machine = Machine("GPU", "CPU")
        await lived(machine, slots=2)
        used |= machine.threads
    assert used <= pipeline_threads()
    # Each with threads of its own, they would be one more a pool at least.
    assert len(used - before) < POOLS


async def test_pools_at_the_same_time_do_not_wait_for_each_others_threads():
    machines = [Machine("CPU") for _ in range(8)]
    for machine in machines:
        machine.hold = Event()
    pools = [cold(machine) for machine in machines]
    works = [asyncio.create_task(pool.run(work)) for pool in pools for work in ("a", "b")]
    await until(lambda: all({"a", "b"} <= set(machine.began) for machine in machines))
    for machine in machines:
        assert machine.hold is not None
        machine.hold.set()
    assert [ran.result for ran in await asyncio.gather(*works)] == ["A", "B"] * len(machines)
    for pool in pools:
        pool.close()


def cold(machine: Machine) -> Pool[str, str]:
    chain = machine.chain("CPU", slots=2)
    chain.open()
    return Pool(chain, 2, 10, meters().of(NAME))
