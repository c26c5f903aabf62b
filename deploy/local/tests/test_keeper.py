"""One process kept running, under a clock that only the test moves."""

import asyncio

import pytest

from trunkline_local.keeper import Keeper, RestartPolicy
from trunkline_local.processes import Answer
from trunkline_local.state import Health


class Time:
    """A clock whose sleepers wake when the test moves it."""

    def __init__(self):
        self.now_s = 0.0
        self._sleepers = []

    def monotonic(self):
        return self.now_s

    def now(self):
        raise AssertionError("nothing here reads the wall clock")

    async def sleep(self, seconds):
        wake = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now_s + seconds, wake))
        await wake

    async def advance(self, seconds):
        self.now_s += seconds
        for at, wake in list(self._sleepers):
            if at <= self.now_s and not wake.done():
                wake.set_result(None)
        self._sleepers = [(at, wake) for at, wake in self._sleepers if not wake.done()]
        await turn()


async def turn():
    """Lets every task that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)


class Unit:
    """A process that lives until the test says otherwise; its program is none."""

    name, port = "unit", 1

    def __init__(self):
        self.process = self
        self.pid = None
        self.starts = 0
        self.says = Answer.SERVING
        self.tail = ["the reason"]

    async def prepare(self):
        pass

    def command(self):
        return None

    async def ask(self):
        return self.says

    async def kill(self):
        self.pid = None
        self._exit.set_result(-9)

    def start(self, command):
        self.starts += 1
        self.pid = 100 + self.starts
        self._exit = asyncio.get_running_loop().create_future()

    async def exited(self):
        return await self._exit

    async def stop(self, grace_s=0):
        self.pid = None

    def log_tail(self, lines):
        return self.tail

    async def die(self, code=-9):
        self.pid = None
        self._exit.set_result(code)
        await turn()


@pytest.fixture
def unit():
    return Unit()


@pytest.fixture
async def kept(unit):
    """A keeper that runs, its clock, and the healths that were reported."""
    time = Time()
    seen = []
    keeper = Keeper(unit, [], time, lambda: seen.append(keeper.state.health), sleep=time.sleep)
    task = asyncio.create_task(keeper.keep())
    await turn()
    yield keeper, time, seen
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_dies_is_started_again_after_a_delay(unit, kept):
    keeper, time, seen = kept
    assert keeper.state.health is Health.SERVING
    await unit.die()
    assert (keeper.state.health, unit.starts, keeper.serving.is_set()) == (Health.RESTARTING, 1, False)
    assert "killed by signal 9" in keeper.state.reason
    await time.advance(0.1)
    assert (keeper.state.health, unit.starts, keeper.state.restarts) == (Health.SERVING, 2, 1)
    assert keeper.state.pid == 102
    assert seen == [Health.STARTING, Health.SERVING, Health.RESTARTING, Health.STARTING, Health.SERVING]


async def test_the_delay_doubles_up_to_its_maximum_and_the_last_death_gives_up():
    policy = RestartPolicy(first_delay_s=0.1, maximum_delay_s=0.5, deaths=6)
    assert [policy.delay_s(deaths) for deaths in range(1, 7)] == [0.1, 0.2, 0.4, 0.5, 0.5, None]


async def test_giving_up_quotes_the_log(unit, kept):
    keeper, time, _ = kept
    for _ in range(5):
        await unit.die(code=2)
        await time.advance(10)
    assert keeper.failed.is_set()
    assert keeper.state.health is Health.FAILED
    assert "ended with status 2" in keeper.state.reason
    assert "the reason" in keeper.state.reason
    assert "5 times in a row" in keeper.state.reason
    assert unit.starts == 5


async def test_deaths_after_serving_for_long_are_no_row(unit, kept):
    keeper, time, _ = kept
    for _ in range(20):
        await time.advance(10)
        await unit.die()
        await time.advance(0.1)
    assert keeper.state.health is Health.SERVING
    assert keeper.state.restarts == 20


async def test_a_process_that_lives_but_does_not_serve_is_reported_and_left_alone(unit, kept):
    keeper, time, _ = kept
    unit.says = Answer.NOT_SERVING
    await time.advance(1)
    assert keeper.state.health is Health.NOT_SERVING
    unit.says = Answer.SERVING
    await time.advance(1)
    assert (keeper.state.health, unit.starts) == (Health.SERVING, 1)


async def test_a_process_that_says_nothing_any_more_is_killed_and_started_again(unit, kept):
    keeper, time, _ = kept
    unit.says = Answer.NONE
    for _ in range(15):
        await time.advance(1)
    assert (keeper.state.health, unit.starts) == (Health.NOT_SERVING, 1)
    assert keeper.state.reason == "its health check does not answer"
    await time.advance(1)
    assert (keeper.state.health, unit.starts) == (Health.RESTARTING, 1)
    assert "did not answer its health check for 15 s" in keeper.state.reason
    unit.says = Answer.SERVING
    await time.advance(0.1)
    assert (keeper.state.health, unit.starts, keeper.state.restarts) == (Health.SERVING, 2, 1)


async def test_one_answer_of_any_kind_ends_a_silence(unit, kept):
    keeper, time, _ = kept
    for _ in range(10):
        unit.says = Answer.NONE
        for _ in range(14):
            await time.advance(1)
        unit.says = Answer.NOT_SERVING
        await time.advance(1)
    assert (keeper.state.health, unit.starts) == (Health.NOT_SERVING, 1)


async def test_a_supervisor_that_was_stopped_blames_nobody(unit, kept):
    keeper, time, _ = kept
    unit.says = Answer.NONE
    await time.advance(1)
    await time.advance(3600)
    assert unit.starts == 1
    unit.says = Answer.SERVING
    await time.advance(1)
    assert (keeper.state.health, unit.starts) == (Health.SERVING, 1)


async def test_a_start_may_take_longer_than_a_silence(unit):
    time = Time()
    unit.says = Answer.NONE
    keeper = Keeper(unit, [], time, lambda: None, sleep=time.sleep)
    task = asyncio.create_task(keeper.keep())
    await turn()
    for _ in range(59):
        await time.advance(1)
    assert (keeper.state.health, unit.starts) == (Health.STARTING, 1)
    await time.advance(1)
    assert keeper.state.health is Health.RESTARTING
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nothing_starts_before_what_it_needs_serves(unit):
    time = Time()
    need = Keeper(Unit(), [], time, lambda: None, sleep=time.sleep)
    need.unit.says = Answer.NOT_SERVING
    keeper = Keeper(unit, [need], time, lambda: None, sleep=time.sleep)
    tasks = [asyncio.create_task(one.keep()) for one in (need, keeper)]
    await turn()
    assert (need.unit.starts, unit.starts, keeper.state.health) == (1, 0, Health.WAITING)
    need.unit.says = Answer.SERVING
    await time.advance(1)
    assert (unit.starts, keeper.state.health) == (1, Health.SERVING)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_program_that_cannot_be_run_fails_with_the_reason(unit):
    def start(command):
        raise FileNotFoundError("no such program")

    unit.start = start
    keeper = Keeper(unit, [], Time(), lambda: None)
    await keeper.keep()
    assert keeper.state.health is Health.FAILED
    assert "no such program" in keeper.state.reason
