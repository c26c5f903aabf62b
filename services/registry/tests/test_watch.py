from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_parts import Registry, eventually

from trunkline_hop.errors import BadRequest
from trunkline_registry.postgres.sweep import Sweep
from trunkline_registry.stages import Stage
from trunkline_registry.watch import Change, Draining, Event, Position, Recent, Serving, ServingSet, Synced


@asynccontextmanager
async def watching(
    registry: Registry, *models: str, token: str = "", draining: asyncio.Event | None = None
) -> AsyncIterator[AsyncIterator[Event]]:
    stream = registry.watch.stream(models, token, draining or asyncio.Event())
    async with aclosing(stream) as events:
        yield events


async def until_synced(events: AsyncIterator[Event]) -> tuple[dict[str, list[int]], Synced]:
    """The serving versions by model, then the event that says it is all."""
    sets: dict[str, list[int]] = {}
    async with asyncio.timeout(20):
        async for event in events:
            if isinstance(event, Synced):
                return sets, event
            assert isinstance(event, Serving)
            sets[event.serving.model_id] = [version.version for version in event.serving.versions]
    raise AssertionError("the watch ended")


async def following(events: AsyncIterator[Event]) -> Event:
    async with asyncio.timeout(20):
        return await anext(events)


async def promoted(registry: Registry, model_id: str = "fraud") -> int:
    version = (await registry.version(model_id, card="# a card")).version
    await registry.versions.transition(model_id, version, Stage.STAGING, "", None)
    await registry.versions.transition(model_id, version, Stage.PRODUCTION, "", None)
    return version


async def test_a_watch_begins_with_every_set_and_goes_on_with_each_change(registry: Registry) -> None:
    await registry.model()
    await registry.model("empty")
    await promoted(registry)
    async with watching(registry) as events:
        sets, synced = await until_synced(events)
        assert (sets, synced.whole) == ({"fraud": [1], "empty": []}, True)
        await promoted(registry)
        change = await following(events)
        assert isinstance(change, Serving)
        assert [(v.version, v.stage, v.card) for v in change.serving.versions] == [(2, Stage.PRODUCTION, "")]
        await registry.versions.transition("fraud", 2, Stage.ARCHIVED, "", None)
        change = await following(events)
        assert isinstance(change, Serving) and change.serving.versions == ()


async def test_what_is_not_asked_for_is_not_sent_and_an_unknown_model_has_an_empty_set(
    registry: Registry,
) -> None:
    await registry.model("other")
    async with watching(registry, "fraud") as events:
        assert (await until_synced(events))[0] == {"fraud": []}
        await promoted(registry, "other")
        await registry.model()
        await promoted(registry)
        assert (await following(events)).serving == ServingSet("fraud", ())
        assert [v.version for v in (await following(events)).serving.versions] == [1]


async def test_a_token_gives_what_changed_since_and_nothing_else(registry: Registry) -> None:
    await registry.model()
    await registry.model("other")
    async with watching(registry) as events:
        token = (await until_synced(events))[1].position.token
    await promoted(registry)
    async with watching(registry, token=token) as events:
        sets, synced = await until_synced(events)
        assert (sets, synced.whole) == ({"fraud": [1]}, False)


@pytest.mark.parametrize("token", ["x", "a.b", "a.-1", "a.1.2", ".1", "a.٣", "a." + "9" * 30, "\0.1"])
async def test_a_token_that_is_none_is_refused(registry: Registry, token: str) -> None:
    async with watching(registry, token=token) as events:
        with pytest.raises(BadRequest, match="resume_token"):
            await following(events)


async def test_a_token_of_the_future_or_of_another_store_gets_the_whole_state(registry: Registry) -> None:
    await registry.model()
    store = (await registry.feed.position()).store
    for token in (f"{store}.999", "another.1"):
        async with watching(registry, token=token) as events:
            sets, synced = await until_synced(events)
            assert (sets, synced.whole) == ({"fraud": []}, True)


async def test_a_watch_of_a_store_that_went_back_in_time_starts_again(
    registry: Registry, database: str
) -> None:
    await registry.model()
    await promoted(registry)
    async with watching(registry) as events:
        await until_synced(events)
        with psycopg.connect(database) as sql:
            sql.execute("DELETE FROM changes WHERE revision > 1")
            sql.execute("UPDATE feed SET revision = 1")
        sets, synced = await until_synced(events)
        assert (sets, synced.whole) == ({"fraud": []}, True)


async def test_draining_hands_the_token_to_go_on_with_elsewhere(registry: Registry) -> None:
    await registry.model()
    draining = asyncio.Event()
    async with watching(registry, draining=draining) as events:
        _, synced = await until_synced(events)
        draining.set()
        assert await following(events) == Draining(synced.position)
        with pytest.raises(StopAsyncIteration):
            await following(events)


async def test_revisions_are_gapless_and_a_watcher_that_keeps_reconnecting_misses_none(
    registry: Registry,
) -> None:
    models = [f"m{n}" for n in range(4)]
    for model_id in models:
        await registry.model(model_id)

    async def write(model_id: str) -> None:
        for _ in range(8):
            await promoted(registry, model_id)

    first = await registry.feed.position()
    seen: list[int] = []
    token = first.token
    last = first.revision + 8 * len(models)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for model_id in models:
            group.create_task(write(model_id))
        while not seen or seen[-1] < last:
            async with watching(registry, token=token) as events:
                taken = 0
                async for event in events:
                    token = event.position.token
                    if isinstance(event, Serving):
                        seen.append(event.position.revision)
                        taken += 1
                    if taken == 3 or (seen and seen[-1] == last):
                        break
    assert seen == list(range(first.revision + 1, last + 1))


async def test_a_slow_watcher_holds_up_nobody_and_still_gets_everything(registry: Registry) -> None:
    await registry.model()
    async with watching(registry) as slow, watching(registry) as fast:
        for events in (slow, fast):
            await until_synced(events)
        for _ in range(3):
            version = await promoted(registry)
            assert [v.version for v in (await following(fast)).serving.versions] == [version]
        assert [(await following(slow)).serving.versions[0].version for _ in range(3)] == [1, 2, 3]


async def test_a_watcher_that_fell_out_of_memory_reads_the_store(registry: Registry) -> None:
    await registry.model()
    async with watching(registry) as events:
        _, synced = await until_synced(events)
        for _ in range(3):
            await promoted(registry)
        head = synced.position.revision + 3
        await eventually(lambda: registry.feed.recent.position.revision == head)
        registry.feed.recent._changes.clear()
        assert [(await following(events)).serving.versions[0].version for _ in range(3)] == [1, 2, 3]


async def test_many_watchers_share_one_listening_connection(registry: Registry, database: str) -> None:
    await registry.model()
    streams = [registry.watch.stream((), "", asyncio.Event()) for _ in range(40)]
    for stream in streams:
        await until_synced(stream)
    with psycopg.connect(database) as sql:
        count = sql.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trunkline-registry'"
            " AND datname = current_database()"
        ).fetchone()
    assert count is not None and count[0] <= 5  # four of the pool and the one that listens
    version = await promoted(registry)
    for stream in streams:
        assert (await following(stream)).serving.versions[0].version == version
        await stream.aclose()


async def test_a_notification_that_got_lost_is_found_by_looking(registry: Registry, database: str) -> None:
    await registry.model()
    async with watching(registry) as events:
        await until_synced(events)
        with psycopg.connect(database) as sql:  # a change without its notification
            sql.execute("UPDATE feed SET revision = revision + 1")
            sql.execute(
                "INSERT INTO changes SELECT revision, 'fraud',"
                ' \'{"model_id": "fraud", "versions": []}\' FROM feed'
            )
        assert (await following(events)).serving == ServingSet("fraud", ())


async def test_a_sweep_keeps_the_last_set_of_each_model_however_old(
    registry: Registry, database: str
) -> None:
    await registry.model()
    await registry.model("old")
    first = (await registry.feed.position()).token
    for _ in range(3):
        await promoted(registry)
    async with registry.database.transaction("compact") as rows:
        await rows.compact(keep=0)
    await Sweep(registry.database, registry.models.clock).once()
    async with watching(registry, token=first) as events:
        assert (await until_synced(events))[0] == {"fraud": [3]}
    async with watching(registry) as events:
        assert (await until_synced(events))[0] == {"fraud": [3], "old": []}


@given(st.integers(0, 400), st.lists(st.integers(1, 90), max_size=8))
def test_memory_gives_all_that_follows_or_says_that_it_cannot(asked: int, batches: list[int]) -> None:
    async def truth() -> None:
        recent = Recent()
        recent.found(Position("s", 0), 0)
        revision = 0
        for size in batches:
            recent.add([Change(n, ServingSet("m", ())) for n in range(revision + 1, revision + size + 1)])
            revision += size
        after = recent.after(asked)
        if after is not None:
            assert [change.revision for change in after] == list(range(asked + 1, revision + 1))
        else:
            assert asked + 256 < revision

    asyncio.run(truth())


def test_a_store_that_is_behind_what_a_watcher_read_has_gone_back() -> None:
    recent = Recent()
    assert recent.found(Position("s", 1), recent.reached) == 1
    before = recent.reached
    recent.reached = 2  # a watcher read on while the listener asked
    recent.found(Position("s", 1), before)
    assert recent.era == 0
    recent.found(Position("s", 1), recent.reached)
    assert recent.era == 1
