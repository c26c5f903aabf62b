from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta

import pytest

from trunkline_features.catalog import Mutation
from trunkline_features.columns import Status
from trunkline_features.views import FeatureView, Field, FieldType
from trunkline_hop.errors import NotFound, Unavailable
from trunkline_local.embedded import Valkey
from trunkline_valkey import Store, StoreDown

AMOUNT = Field("amount", FieldType.FLOAT64, 9.5)
PLAIN = Field("plain", FieldType.INT64)


@pytest.fixture
async def own(tmp_path):
    """A server that a test may stop and kill."""
    async with Valkey(tmp_path / "valkey", persistent=True) as server:
        yield server


async def test_a_cancelled_reader_leaves_no_command_and_no_connection_behind(features, clock, until):
    await features.declare("v", AMOUNT)
    await features.write("v", ["1", "2"], clock.us(), amount=[1.0, 2.0])
    for turns in range(30):
        reader = asyncio.create_task(features.read(["1"], "v:amount"))
        for _ in range(turns % 10):
            loop = asyncio.get_running_loop()
            turn = loop.create_future()
            loop.call_soon(turn.set_result, None)
            await turn
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        assert (await features.read(["2"], "v:amount")).columns[0].values == [2.0]

    async def idle() -> bool:
        return features.store.pending == 0

    await until(idle)


async def test_a_read_without_the_store_answers_defaults_and_says_so(own, replica_of, clock):
    async with Store(own.url) as store:
        features = replica_of(store)
        await features.declare("v", AMOUNT, PLAIN)
        await features.write("v", ["1"], clock.us(), amount=[1.0], plain=[7])
        await own.kill()
        table = await features.read(["1"], "v:amount", "v:plain")
        assert [list(column.values) for column in table.columns] == [[9.5], [0]]
        assert [list(column.statuses) for column in table.columns] == [[Status.DEFAULTED], [Status.NOT_FOUND]]
        assert table.ages_ms == [("views/v", [-1])]
        assert table.degraded == ("feature_store_unreachable",)

    async with Store(own.url) as store:
        features = replica_of(store)
        with pytest.raises(Unavailable) as caught:
            await features.read(["1"], "v:amount")
        assert caught.value.reason == "STORE_UNREACHABLE"


async def test_a_write_without_the_store_is_unavailable_and_works_once_it_is_back(
    own, replica_of, clock, until
):
    async with Store(own.url) as store:
        features = replica_of(store)
        view = await features.declare("v", AMOUNT)
        await own.kill()
        with pytest.raises(Unavailable) as caught:
            await features.catalog.get("v")
        assert (caught.value.reason, caught.value.retry_after) == ("STORE_UNREACHABLE", timedelta(seconds=1))
        with pytest.raises(Unavailable):
            await features.catalog.update(view, ["owner"], Mutation())
        await own.start()

        async def written() -> bool:
            try:
                return (await features.write("v", ["1"], clock.us(), amount=[1.0])).written == 1
            except Unavailable:
                return False

        await until(written)
        assert (await features.read(["1"], "v:amount")).degraded == ()


async def test_a_hung_store_costs_a_few_calls_their_wait_and_the_rest_nothing(own, replica_of, clock, until):
    async with Store(own.url) as store:
        features = replica_of(store)
        await features.declare("v", AMOUNT)
        await features.write("v", ["1", "2"], clock.us(), amount=[1.0, 2.0])
        features.online.rows._read_timeout_s = 0.15
        os.kill(own.pid, signal.SIGSTOP)
        try:
            for _ in range(6):
                table = await features.read(["1"], "v:amount")
                assert table.degraded == ("feature_store_unreachable",)
            assert store.pending == 0
            with pytest.raises(StoreDown):
                await store.command("PING", timeout_s=60)
        finally:
            os.kill(own.pid, signal.SIGCONT)

        async def reads() -> bool:
            return not (await features.read(["1"], "v:amount")).degraded

        await until(reads)
        for _ in range(20):
            tables = await asyncio.gather(*(features.read([each], "v:amount") for each in "1212"))
            assert [table.columns[0].values[0] for table in tables] == [1.0, 2.0, 1.0, 2.0]


async def test_an_unknown_view_is_unknown_only_when_the_store_says_so(own, replica_of):
    async with Store(own.url) as store:
        features = replica_of(store)
        await features.declare("v", AMOUNT)
        with pytest.raises(NotFound):
            await features.read(["1"], "w:amount")
        await own.kill()
        with pytest.raises(Unavailable):
            await features.read(["1"], "w:amount")


async def test_the_views_are_loaded_as_soon_as_the_store_comes_up(own, replica_of):
    async with Store(own.url) as store:
        await replica_of(store).catalog.create(FeatureView("v", "customer", (AMOUNT,)), Mutation())
        await own.kill()
        late = replica_of(store).catalog
        loading = asyncio.create_task(late.load())
        assert not late.loaded
        await own.start()
        async with asyncio.timeout(15):
            await loading
        assert late.loaded
