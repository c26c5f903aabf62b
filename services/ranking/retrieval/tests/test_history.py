"""Random upserts, deletes, searches and kills beside a model that a dictionary can be.

Three clients write ids of their own through two replicas that are killed (kill -9) and started again all the while;
snapshots are built and activated underneath. Every search must give exactly what its client's model holds: no
acknowledged write lost, no deleted id returned, no replaced vector found.

A write whose caller saw a failure may have happened or not. Its ids are not used again, and at the end they must be as
before it or as after it, all of them alike: a request is one change.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from retrieval_parts import BOUND_S, DIMENSION, Replica

from trunkline_hop.errors import Fault, TooLate, Unavailable

Start = Callable[..., Awaitable[Replica]]
Vectors = dict[str, NDArray[np.float32]]
CLIENTS = 3
IDS = 60


@dataclass
class Doubtful:
    """A write that failed: what its ids were before, and would be after."""

    before: Vectors
    after: Vectors
    ids: list[str]


@dataclass
class Client:
    """Writes its own ids, one change after the other."""

    name: str
    random: Random
    alive: list[Replica]
    model: Vectors = field(default_factory=dict)
    sequence: int = 0
    doubtful: list[Doubtful] = field(default_factory=list)
    retired: set[str] = field(default_factory=set)
    count: int = 0

    def ids(self, many: int) -> list[str]:
        usable = [
            name for n in range(IDS + len(self.retired)) if (name := f"{self.name}{n}") not in self.retired
        ]
        return self.random.sample(usable, many)

    async def act(self) -> None:
        self.count += 1
        what = self.random.random()
        if what < 0.5:
            await self.write(self.ids(self.random.randint(1, 5)), delete=False)
        elif what < 0.7:
            await self.write(self.ids(self.random.randint(1, 5)), delete=True)
        else:
            await self.check()

    async def write(self, ids: list[str], *, delete: bool) -> None:
        changed: Vectors = {}
        if not delete:
            changed = {each: self.vector() for each in ids}
        replica = self.random.choice(self.alive)
        try:
            if delete:
                sequence = await replica.delete(ids, timeout=10)
            else:
                sequence = await replica.upsert(changed, timeout=10, client=self.name)
        except (Unavailable, TooLate):
            before = {each: self.model.pop(each) for each in ids if each in self.model}
            self.doubtful.append(Doubtful(before, changed, ids))
            self.retired.update(ids)
            return
        assert sequence > self.sequence
        self.sequence = sequence
        self.model = {key: value for key, value in self.model.items() if key not in ids} | changed

    def vector(self) -> NDArray[np.float32]:
        return np.array([self.random.gauss(0, 1) for _ in range(DIMENSION)], np.float32)

    async def check(self) -> None:
        query = self.vector()
        found = {key: score for key, score in (await self.read(query)).items() if key not in self.retired}
        expected = {key: float(((value - query) ** 2).sum()) for key, value in self.model.items()}
        assert found.keys() == expected.keys()
        assert list(found.values()) == pytest.approx([expected[key] for key in found], rel=1e-4, abs=1e-4)
        assert list(found.values()) == sorted(found.values())

    async def read(self, query: NDArray[np.float32]) -> dict[str, float]:
        """All of this client's vectors, by any replica that has what was acknowledged."""
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    answer = await self.random.choice(self.alive).search(
                        query, 1000, filter=f'client = "{self.name}"', min_sequence=self.sequence, timeout=20
                    )
                except Unavailable:
                    await asyncio.wait_for(asyncio.shield(_turn()), BOUND_S)
                    continue
                return dict(zip(answer.results[0].ids, answer.results[0].scores, strict=True))

    async def settle(self) -> None:
        """Every write in doubt happened as a whole, or did not."""
        await self.check()
        found = await self.read(np.zeros(DIMENSION, np.float32))
        for each in self.doubtful:
            state = {key: found[key] for key in each.ids if key in found}
            assert _like(state, each.before) or _like(state, each.after), (state, each)


def _like(found: dict[str, float], model: Vectors) -> bool:
    return found.keys() == model.keys() and all(
        found[key] == pytest.approx(float((value**2).sum()), rel=1e-4) for key, value in model.items()
    )


async def _turn() -> None:
    """Lets others run: what failed fails at once, and the process it came from is starting."""
    ticked = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, ticked.set)
    await ticked.wait()


async def history(start: Start, seed: int, operations: int, kills: int) -> None:
    settings = {"SNAPSHOT_AFTER": "150", "SNAPSHOTS_KEPT": "2"}
    replicas = [await start(**settings) for _ in range(2)]
    await replicas[0].create()
    random = Random(seed)
    # A process that is dead is not asked: only what it was in the middle of is in doubt.
    alive = list(replicas)
    clients = [Client(f"c{n}x", Random(f"{seed} {n}"), alive) for n in range(CLIENTS)]
    killed = 0

    def done() -> int:
        return sum(client.count for client in clients)

    async def run(client: Client) -> None:
        while done() < operations or killed < kills:
            await client.act()

    async def chaos() -> None:
        nonlocal killed
        while killed < kills:
            wanted = operations * (killed + 1) // (kills + 1)
            while done() < wanted:
                await _turn()
            victim = random.choice(replicas)
            victim.send(signal.SIGKILL)
            alive.remove(victim)
            await victim.ended()
            await victim.start()
            alive.append(victim)
            killed += 1

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(run(client))
        group.create_task(chaos())
    for client in clients:
        await client.settle()
    # And once more by processes that know nothing but what is on disk.
    for replica in replicas:
        await replica.kill()
    for replica in replicas:
        await replica.start()
    for client in clients:
        await client.settle()
    assert (await replicas[0].index()).active_snapshot


@pytest.mark.parametrize("seed", [1])
async def test_a_history_of_writes_searches_and_kills_agrees_with_its_model(start: Start, seed: int) -> None:
    await history(start, seed, operations=300, kills=3)


@pytest.mark.long
@pytest.mark.parametrize("seed", [11, 12])
async def test_a_history_of_ten_thousand_operations_agrees_with_its_model(start: Start, seed: int) -> None:
    await history(start, seed, operations=10_000, kills=60)


async def test_a_client_that_fails_for_good_fails_the_history(replica: Replica) -> None:
    await replica.create()
    client = Client("c", Random(0), [replica])
    await client.write(["c1"], delete=False)
    client.model["c2"] = client.vector()
    with pytest.raises(AssertionError):
        await client.check()
    with pytest.raises(Fault):
        await replica.search([0.0], 1)
