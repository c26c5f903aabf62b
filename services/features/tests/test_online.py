from __future__ import annotations

import asyncio
import random
import uuid
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trunkline_features.catalog import Mutation
from trunkline_features.columns import Status, Values, WriteColumn
from trunkline_features.online import Query, Write
from trunkline_features.views import FeatureView, Field, FieldType
from trunkline_hop.errors import BadRequest, NotFound
from trunkline_valkey import Store

AMOUNT = Field("amount", FieldType.FLOAT64, 9.5)
CITY = Field("city", FieldType.STRING)
DAY = timedelta(days=1)


def of(table: Any, feature: str) -> list[tuple[Any, Status]]:
    column = next(column for column in table.columns if column.feature == feature)
    return list(zip(column.values, map(Status, column.statuses), strict=True))


async def test_a_read_answers_in_the_order_asked_with_a_status_a_value(features, clock):
    await features.declare("v", AMOUNT, CITY, ttl=DAY)
    await features.write("v", ["1", "2"], clock.us(seconds=3), amount=[1.0, None], city=["Oslo", "Rome"])
    table = await features.read(["2", "9", "1", "2"], "v:city", "v:amount")
    assert [column.feature for column in table.columns] == ["v:city", "v:amount"]
    present, absent = Status.PRESENT, Status.NOT_FOUND
    assert of(table, "v:city") == [("Rome", present), ("", absent), ("Oslo", present), ("Rome", present)]
    assert of(table, "v:amount") == [
        (0.0, Status.NULL),
        (9.5, Status.DEFAULTED),
        (1.0, present),
        (0.0, Status.NULL),
    ]
    assert table.ages_ms == [("views/v", [3000, -1, 3000, 3000])]
    assert table.degraded == ()


async def test_an_expired_value_is_stale_and_keeps_its_value_and_age(features, clock):
    await features.declare("v", AMOUNT, CITY, ttl=DAY)
    await features.write("v", ["1"], clock.us(), amount=[3.5], city=[None])
    clock.advance(hours=23.9)
    assert of(await features.read(["1"], "v:amount"), "v:amount") == [(3.5, Status.PRESENT)]
    clock.advance(hours=1.1)
    table = await features.read(["1"], "v:amount", "v:city")
    assert of(table, "v:amount") == [(3.5, Status.STALE)]
    assert of(table, "v:city") == [("", Status.NULL)]
    assert table.ages_ms == [("views/v", [25 * 3_600_000])]


async def test_without_a_ttl_nothing_is_ever_stale_nor_dropped(features, clock):
    view = await features.declare("v", AMOUNT)
    await features.write("v", ["1"], 0, amount=[3.5])
    assert of(await features.read(["1"], "v:amount"), "v:amount") == [(3.5, Status.PRESENT)]
    assert await features.store.command("PTTL", view.keys(["1"])[0], timeout_s=5) == -1


@pytest.mark.parametrize(
    ("ttl", "kept"), [(DAY, timedelta(days=7)), (timedelta(days=30), timedelta(days=60))]
)
async def test_the_store_drops_a_row_after_two_ttls_but_not_within_a_week(features, clock, ttl, kept):
    view = await features.declare("v", AMOUNT, ttl=ttl)
    event_us = clock.us(hours=1)
    await features.write("v", ["1"], event_us, amount=[3.5])
    expires_ms = await features.store.command("PEXPIRETIME", view.keys(["1"])[0], timeout_s=5)
    assert expires_ms == (event_us + kept // timedelta(microseconds=1)) // 1000


async def test_a_row_that_is_past_its_keeping_leaves_nothing_in_either_order(features, clock):
    await features.declare("v", AMOUNT, ttl=DAY)
    for ages in ((8, 9), (9, 8)):
        for days in ages:
            await features.write("v", ["1"], clock.us(days=days), amount=[float(days)])
        assert of(await features.read(["1"], "v:amount"), "v:amount") == [(9.5, Status.DEFAULTED)]


async def test_an_older_row_changes_nothing_and_a_repeated_one_counts_as_written(features, clock):
    await features.declare("v", AMOUNT)
    assert (await features.write("v", ["1"], clock.us(), amount=[2.0])).written == 1
    older = await features.write("v", ["1", "2"], clock.us(seconds=1), amount=[1.0, 1.0])
    assert (older.written, older.superseded) == (1, 1)
    assert (await features.write("v", ["1"], clock.us(), amount=[2.0])).written == 1
    assert of(await features.read(["1"], "v:amount"), "v:amount") == [(2.0, Status.PRESENT)]


EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.floats(-9, 9), st.text("abü", max_size=3)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.randoms(use_true_random=False))
def test_the_newest_row_wins_whatever_the_order_and_the_number_of_writers(
    valkey, clock, replica_of, events, shuffle
):
    """Two stores get the same events in different orders from four writers at once, and end up the same."""

    async def scenario() -> None:
        base = clock.us(days=1)
        async with Store(valkey.url) as store:
            replica = replica_of(store)
            names = [f"v{uuid.uuid4().hex[:16]}" for _ in range(2)]
            outcomes = []
            for name in names:
                view = await replica.declare(name, AMOUNT, CITY)
                order = list(events)
                shuffle.shuffle(order)

                async def writer(mine: list[tuple[int, int, float, str]], into: str = name) -> None:
                    for entity, at, amount, city in mine:
                        await replica.write(into, [str(entity)], base + at, amount=[amount], city=[city])

                await asyncio.gather(*(writer(order[number::4]) for number in range(4)))
                keys = view.keys([str(entity) for entity in range(4)])
                outcomes.append(await store.command("MGET", *keys, timeout_s=5))
            assert outcomes[0] == outcomes[1]
            for entity, row in enumerate(outcomes[0]):
                times = [base + at for each, at, _, _ in events if each == entity]
                assert (row is None) == (not times)
                assert row is None or int.from_bytes(row[8:16], "little") == max(times)

    asyncio.run(scenario())


async def test_a_wrong_write_writes_nothing(features, clock):
    await features.declare("v", AMOUNT, CITY)
    amounts = WriteColumn("amount", Values(FieldType.FLOAT64, [1.0, float("nan")]))
    cities = WriteColumn("city", Values(FieldType.STRING, ["Oslo", "Rome"]))
    with pytest.raises(BadRequest) as caught:
        await features.online.write(Write("v", ["1", "2"], [clock.us()], [amounts, cities]))
    assert caught.value.violations[0].field == "columns[0].values.float64.values[1]"
    assert of(await features.read(["1", "2"], "v:city"), "v:city") == [("", Status.NOT_FOUND)] * 2


async def test_a_changed_view_is_noticed_by_every_replica_at_once(replicas, clock):
    one, other = replicas
    view = await one.declare("v", AMOUNT)
    await other.write("v", ["1"], clock.us(), amount=[1.0])
    assert of(await other.read(["2"], "v:amount"), "v:amount") == [(9.5, Status.DEFAULTED)]

    wider = FeatureView("v", "customer", (Field("amount", FieldType.FLOAT64, 4.0), CITY))
    await one.catalog.update(wider, ["fields"], Mutation())
    assert of(await other.read(["2"], "v:amount"), "v:amount") == [(4.0, Status.DEFAULTED)]
    table = await other.read(["1"], "v:amount", "v:city")
    assert of(table, "v:amount") + of(table, "v:city") == [(1.0, Status.PRESENT), ("", Status.NOT_FOUND)]

    narrow = [WriteColumn("amount", Values(FieldType.FLOAT64, [2.0]))]
    await other.catalog.update(wider, ["fields"], Mutation())
    with pytest.raises(BadRequest, match="missing: city"):
        await one.online.write(Write("v", ["1"], [clock.us()], narrow))

    await other.catalog.delete("v", "", Mutation())
    with pytest.raises(NotFound) as caught:
        await one.read(["1"], "v:amount")
    assert caught.value.reason == "VIEW_UNKNOWN"

    again = await other.declare("v", AMOUNT)
    assert again.keys(["1"]) != view.keys(["1"])
    assert of(await one.read(["1"], "v:amount"), "v:amount") == [(9.5, Status.DEFAULTED)]


async def test_a_read_is_one_round_trip(features, clock):
    await features.declare("v", AMOUNT)
    await features.declare("w", AMOUNT)
    await features.read(["1"], "v:amount", "w:amount")
    sent: list[str] = []
    command = features.store.command

    async def counted(*arguments: Any, **options: Any) -> Any:
        sent.append(arguments[0])
        return await command(*arguments, **options)

    features.store.command = counted
    await features.read(["1", "2", "3"], "v:amount", "w:amount")
    assert sent == ["MGET"]


async def test_a_row_that_nobody_can_read_is_missing_and_said_to_be(features, clock):
    view = await features.declare("v", AMOUNT)
    await features.store.command("SET", view.keys(["1"])[0], b"nonsense", timeout_s=5)
    table = await features.read(["1"], "v:amount")
    assert of(table, "v:amount") == [(9.5, Status.DEFAULTED)]
    assert table.degraded == ("feature_rows_unreadable",)
    await features.write("v", ["1"], clock.us(), amount=[1.0])
    assert of(await features.read(["1"], "v:amount"), "v:amount") == [(1.0, Status.PRESENT)]


async def test_ids_with_the_separators_of_a_key_are_other_entities(features, clock):
    await features.declare("v", AMOUNT)
    ids = ["a", "a}", "}a", "{a", "a}:v", "a:b", "", "é"]
    ids.remove("")
    random.Random(1).shuffle(ids)
    await features.write("v", ids, clock.us(), amount=[float(index) for index in range(len(ids))])
    values = of(await features.read(ids, "v:amount"), "v:amount")
    assert values == [(float(index), Status.PRESENT) for index in range(len(ids))]


async def test_queries_that_cannot_be_answered_say_why(features):
    await features.declare("v", AMOUNT)
    await features.catalog.create(FeatureView("t", "terminal", (AMOUNT,)), Mutation())
    customer, terminal = ("customer", ["1"]), ("terminal", ["1"])
    for names, entities, reason, said in [
        (("nope:amount",), [customer], "VIEW_UNKNOWN", "nope"),
        (("v:nope",), [customer], "FEATURE_UNKNOWN", "nope"),
        (("v:amount",), [("ship", ["1"])], "ENTITY_TYPE_UNKNOWN", "entities[0].entity_type"),
        (("amount",), [customer], "FIELD_INVALID", "features[0]"),
        (("v:amount", "v:amount"), [customer], "FIELD_INVALID", "features[1]"),
        (("v:amount", "t:amount"), [customer], "FIELD_INVALID", "missing: terminal"),
        (("v:amount",), [customer, terminal], "FIELD_INVALID", "entities[1].entity_type"),
        (("v:amount",), [customer, customer], "FIELD_INVALID", "entities[1].entity_type"),
        (("v:amount", "t:amount"), [customer, ("terminal", ["1", "2"])], "FIELD_INVALID", "entities[1].ids"),
        (("v:amount",), [("customer", ["1", ""])], "FIELD_INVALID", "entities[0].ids[1]"),
    ]:
        with pytest.raises((BadRequest, NotFound)) as caught:
            await features.online.read(Query(names, entities))
        assert caught.value.reason == reason
        assert said in caught.value.message
