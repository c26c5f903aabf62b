import asyncio
from dataclasses import replace
from typing import Any

import pytest

from trunkline_hop.errors import NotAllowed, NotFound, Overloaded, Unavailable
from trunkline_modelstore import Draining, File, ServingSet, State, Synced, digest_of

MODEL = "models/fraud"


def in_force(store: Any) -> str | None:
    resident = store.find(MODEL)
    return resident and resident.key[0].rpartition("/")[2]


def states(store: Any) -> dict[str, State]:
    return {status.version.rpartition("/")[2]: status.state for status in store.status()}


async def test_a_version_in_production_is_fetched_loaded_and_lent(registry, engine, make, until):
    version = registry.version(1)
    await registry.serve(version)
    async with make() as store:
        await until(store.ready)
        async with store.lease(MODEL) as lease:
            assert lease.model == (version.name, registry.files[version.files[0].sha256])
            assert (lease.version, lease.digest) == (version.name, version.digest)
    assert engine.alive == []
    assert registry.open == 0


async def test_a_loaded_version_is_lent_without_giving_up_the_event_loop(registry, make, until):
    await registry.serve(registry.version(1))
    async with make() as store:
        await until(store.ready)
        step = store.lease(MODEL).__aenter__()
        with pytest.raises(StopIteration):
            step.send(None)
        store.give_back(store.find(MODEL))


async def test_a_new_version_takes_over_and_the_old_one_goes_with_its_last_lease(
    registry, engine, make, until
):
    first, second = registry.version(1), registry.version(2)
    await registry.serve(first)
    async with make() as store:
        await until(store.ready)
        async with store.lease(MODEL) as old:
            await registry.serve(second)
            await until(lambda: in_force(store) == "2")
            async with store.lease(MODEL) as new:
                assert (old.version, new.version) == (first.name, second.name)
            assert old.model[0] == first.name
            assert engine.alive == [first.name, second.name]
        await until(lambda: engine.alive == [second.name])


async def test_a_server_without_models_is_never_ready(make):
    async with make(models=[]) as store:
        assert not store.ready()


async def test_a_server_is_ready_when_its_last_model_is(registry, make, until):
    changes: list[bool] = []
    await registry.serve(registry.version(1))
    async with make(models=[MODEL, "models/text"], on_change=lambda: changes.append(store.ready())) as store:
        await until(lambda: in_force(store) == "1")
        assert not store.ready()
        await registry.serve(registry.version(1, b"text", "models/text"), model="models/text")
        await until(store.ready)
    assert changes == [False, True]


async def test_what_is_not_there_has_a_name_for_it(registry, engine, make, until):
    first, second = registry.version(1), registry.version(2)
    gate = engine.hold(second)
    async with make(models=[MODEL, "models/none", "models/idle"], wait_s=0.0) as store:
        with pytest.raises(Unavailable, match="LOADING") as loading:
            await store.lease(MODEL).__aenter__()
        assert loading.value.retry_after is not None
        await registry.serve(first)
        await registry.send(ServingSet("models/idle", ()))
        await registry.send(Synced())
        await until(lambda: in_force(store) == "1")
        await until(lambda: store._synced)
        for name, kind, reason in (
            ("models/other", NotFound, "MODEL_UNKNOWN"),
            ("models/none", NotFound, "MODEL_UNKNOWN"),
            ("models/other/versions/1", NotFound, "MODEL_UNKNOWN"),
            (f"{MODEL}/versions/9", NotFound, "VERSION_UNKNOWN"),
            ("models/idle", NotAllowed, "NOT_SERVING"),
            (second.name, Unavailable, "LOADING"),
        ):
            with pytest.raises(kind, match=reason):
                await store.lease(name).__aenter__()
        gate.set()
        await until(lambda: store.find(second.name))
        async with store.lease(second.name) as lease:
            assert lease.version == second.name


async def test_a_version_asked_for_by_name_is_loaded_once_for_all_who_ask(registry, engine, make, until):
    await registry.serve(registry.version(2))
    asked = registry.version(1)
    gate = engine.hold(asked)
    async with make() as store:
        await until(store.ready)

        async def score() -> str:
            async with store.lease(asked.name) as lease:
                return lease.version

        calls = [asyncio.create_task(score()) for _ in range(20)]
        await until(engine.entered[asked.name].is_set)
        gate.set()
        assert set(await asyncio.gather(*calls)) == {asked.name}
        assert engine.loaded.count(asked.name) == 1
        assert [offset for sha256, offset in registry.downloads if sha256 == asked.files[0].sha256] == [0]
        assert in_force(store) == "2"


async def test_a_caller_who_leaves_does_not_stop_the_load_he_asked_for(registry, engine, make, until):
    await registry.serve(registry.version(2))
    asked = registry.version(1)
    gate = engine.hold(asked)
    async with make() as store:
        await until(store.ready)
        call = asyncio.create_task(store.lease(asked.name).__aenter__())
        await until(engine.entered[asked.name].is_set)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.set()
        await until(lambda: store.find(asked.name))
        assert store.find(asked.name).leases == 0


async def test_the_registry_may_change_its_mind_while_a_version_loads(registry, engine, make, until):
    first, second, third = (registry.version(number) for number in (1, 2, 3))
    gate = engine.hold(second)
    await registry.serve(first)
    async with make() as store:
        await until(store.ready)
        await registry.serve(second)
        await until(engine.entered[second.name].is_set)
        await registry.serve(third)
        await until(lambda: in_force(store) == "3")
        gate.set()
        await until(lambda: engine.alive == [third.name])
        assert in_force(store) == "3"
        assert states(store) == {"3": State.IN_FORCE}


async def test_back_and_forth_in_mid_load_ends_with_the_last_word(registry, engine, make, until):
    first, second = registry.version(1), registry.version(2)
    gate = engine.hold(second)
    await registry.serve(first)
    async with make() as store:
        await until(store.ready)
        await registry.serve(second)
        await until(engine.entered[second.name].is_set)
        for version in (first, second, first, second):
            await registry.serve(version)
        gate.set()
        await until(lambda: in_force(store) == "2")
        await until(lambda: engine.alive == [second.name])


async def test_an_older_version_that_comes_last_is_a_rollback(registry, make, until):
    first, second = registry.version(1), registry.version(2)
    await registry.serve(second)
    async with make() as store:
        await until(lambda: in_force(store) == "2")
        await registry.serve(first)
        await until(lambda: in_force(store) == "1")


async def test_production_is_found_by_its_stage_wherever_it_stands(registry, make, until):
    first, second, third = (registry.version(number) for number in (1, 2, 3))
    await registry.serve(second, third, first)
    async with make() as store:
        await until(lambda: states(store) == {"1": State.READY, "2": State.IN_FORCE, "3": State.READY})


async def test_a_candidate_that_is_promoted_is_not_loaded_again(registry, engine, make, until):
    first, second = registry.version(1), registry.version(2)
    await registry.serve(first, second)
    async with make() as store:
        await until(lambda: len(store._residents) == 2)
        await registry.serve(second)
        await until(lambda: engine.alive == [second.name])
        assert engine.loaded.count(second.name) == 1


async def test_an_empty_serving_set_takes_a_model_out_of_force(registry, engine, make, until):
    await registry.serve(registry.version(1))
    async with make() as store:
        await until(store.ready)
        await registry.serve(None)
        await until(lambda: not store.ready())
        await until(lambda: engine.alive == [])
        with pytest.raises(NotAllowed, match="NOT_SERVING"):
            await store.lease(MODEL).__aenter__()


@pytest.mark.parametrize("how", ["fail", "fail_to_warm"])
async def test_a_version_that_fails_leaves_the_old_one_serving_and_is_tried_again(
    registry, engine, make, until, how
):
    first, second = registry.version(1), registry.version(2)
    getattr(engine, how).add(second.name)
    await registry.serve(first)
    async with make() as store:
        await until(store.ready)
        await registry.serve(second)
        await until(lambda: states(store).get("2") is State.FAILED)
        assert in_force(store) == "1"
        assert store.ready()
        getattr(engine, how).clear()
        await until(lambda: in_force(store) == "2")
        await until(lambda: engine.alive == [second.name])
        assert store.status()[0].error == ""


async def test_a_version_that_is_refused_is_not_tried_again(registry, engine, make, until):
    first, second = registry.version(1), registry.version(2)
    engine.refuse.add(second.name)
    await registry.serve(first)
    async with make() as store:
        await until(store.ready)
        await registry.serve(second)
        await until(lambda: states(store) == {"1": State.IN_FORCE, "2": State.REFUSED})
        assert "no output" in store.status()[1].error
        await until(lambda: not store._wanted)
        with pytest.raises(NotAllowed, match="MODEL_REFUSED"):
            await store.lease(second.name).__aenter__()


async def test_a_refused_version_says_so_when_there_is_no_other(registry, engine, make, until):
    version = registry.version(1)
    engine.refuse.add(version.name)
    await registry.serve(version)
    async with make() as store:
        await until(lambda: states(store) == {"1": State.REFUSED})
        with pytest.raises(NotAllowed, match="MODEL_REFUSED"):
            await store.lease(MODEL).__aenter__()
        assert not store.ready()


async def test_a_manifest_that_lies_changes_nothing(registry, make, until):
    first, second = registry.version(1), registry.version(2)
    escape = (File("../../etc/passwd", second.files[0].sha256, 1),)
    await registry.serve(first)
    async with make() as store:
        await until(store.ready)
        for lie in (
            replace(second, digest="0" * 64),
            replace(second, files=escape, digest=digest_of(escape)),
            replace(second, files=(), digest=digest_of(())),
            replace(second, name="models/other/versions/2"),
            replace(second, name="nonsense"),
        ):
            await registry.serve(lie)
        await registry.send(ServingSet(MODEL, tuple(replace(v, production=True) for v in (first, second))))
        await registry.send(ServingSet("models/unasked", ()))
        await registry.serve(second)
        await until(lambda: in_force(store) == "2")
        assert states(store) == {"2": State.IN_FORCE}


async def test_a_registry_set_up_anew_may_use_a_name_for_another_model(registry, engine, make, until):
    await registry.serve(registry.version(1, b"old"))
    async with make() as store:
        await until(store.ready)
        await registry.serve(registry.version(1, b"new"))
        await until(lambda: store.find(MODEL).model[1] == b"new")
        async with store.lease(f"{MODEL}/versions/1") as lease:
            assert lease.model[1] == b"new"


async def test_a_dead_registry_changes_nothing_for_what_is_loaded(registry, make, until):
    version = registry.version(1)
    await registry.serve(version)
    async with make() as store:
        await until(store.ready)
        watched = len(registry.watches)
        await registry.die()
        await until(lambda: len(registry.watches) > watched + 5)
        assert store.ready()
        async with store.lease(MODEL) as lease:
            assert lease.version == version.name
        with pytest.raises(Unavailable, match="UNREACHABLE"):
            await store.lease(f"{MODEL}/versions/5").__aenter__()
        registry.down = False
        await registry.serve(registry.version(2))
        await until(lambda: in_force(store) == "2")
        assert registry.watches[-1] == ((MODEL,), "token-0")


async def test_a_server_restarts_while_the_registry_is_down(registry, engine, make, until, tmp_path):
    version = registry.version(1)
    await registry.serve(version)
    async with make() as store:
        await until(store.ready)
        await until((tmp_path / "cache/known-good.json").exists)
    registry.down = True
    async with make() as store:
        await until(store.ready)
        async with store.lease(MODEL) as lease:
            assert lease.version == version.name
    assert engine.loaded == [version.name] * 2
    assert len(registry.downloads) == 1


async def test_a_server_that_restarts_follows_what_changed_meanwhile(registry, make, until, tmp_path):
    await registry.serve(registry.version(1))
    async with make() as store:
        await until((tmp_path / "cache/known-good.json").exists)
    await registry.serve(registry.version(2))
    async with make() as store:
        await until(lambda: in_force(store) == "2")


async def test_a_registry_that_forgot_a_model_does_not_take_it_out_of_force(registry, make, until, tmp_path):
    await registry.serve(registry.version(1))
    async with make() as store:
        await until((tmp_path / "cache/known-good.json").exists)
    registry.history = [Synced()]
    async with make() as store:
        await until(lambda: store._synced and store.ready())


async def test_a_known_good_file_that_cannot_be_read_is_no_reason_to_fail(registry, make, until, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/known-good.json").write_text('{"production": {"models/fraud": 7}}')
    await registry.serve(registry.version(1))
    async with make() as store:
        await until(store.ready)


async def test_a_draining_registry_is_left_for_another_one_from_the_last_event_on(registry, make, until):
    await registry.serve(registry.version(1))
    await registry.send(Draining("token-drain"))
    await registry.serve(registry.version(2))
    async with make() as store:
        await until(lambda: in_force(store) == "2")
        assert registry.watches == [((MODEL,), ""), ((MODEL,), "token-drain")]


async def test_versions_asked_for_by_name_share_the_budget_least_recently_used_first(
    registry, engine, make, until
):
    await registry.serve(registry.version(1))
    engine.size = 30_000
    async with make() as store:
        await until(store.ready)
        for number in (2, 3, 2, 4):
            async with store.lease(registry.version(number).name):
                assert store._residents.used_bytes <= 100_000
        await until(lambda: sorted(engine.alive) == [f"{MODEL}/versions/{number}" for number in (1, 2, 4)])


async def test_a_budget_full_of_leases_is_overload(registry, engine, make, until):
    await registry.serve(registry.version(1))
    engine.size = 60_000
    async with make() as store:
        await until(store.ready)
        async with store.lease(MODEL):
            with pytest.raises(Overloaded, match="SHED") as shed:
                await store.lease(registry.version(2).name).__aenter__()
            assert shed.value.retry_after is not None
        with pytest.raises(Overloaded, match="TOO_LARGE"):
            await store.lease(registry.version(3, b"x" * 100_001).name).__aenter__()
        await until(lambda: engine.alive == [f"{MODEL}/versions/1"])
        assert store._residents.used_bytes == 60_000


async def test_short_memory_costs_what_nobody_uses_and_no_serving_set_names(registry, engine, make, until):
    used = [0.5]
    await registry.serve(registry.version(1), registry.version(2))
    async with make(used_share=lambda: used[0]) as store:
        await until(lambda: len(store._residents) == 2)
        async with store.lease(registry.version(3).name):
            async with store.lease(registry.version(4).name):
                used[0] = 0.9
            await until(lambda: f"{MODEL}/versions/4" not in engine.alive)
            assert sorted(engine.alive) == [f"{MODEL}/versions/{number}" for number in (1, 2, 3)]


async def test_a_lease_is_of_use_only_inside_its_block(registry, make, until):
    await registry.serve(registry.version(1))
    async with make() as store:
        await until(store.ready)
        async with store.lease(MODEL) as lease:
            pass
        with pytest.raises(RuntimeError):
            _ = lease.model


async def test_a_lease_that_outlives_the_store_still_gives_its_model_back(registry, engine, make, until):
    await registry.serve(registry.version(1))
    async with make() as store:
        await until(store.ready)
        lease = await store.lease(MODEL).__aenter__()
    assert engine.alive == [f"{MODEL}/versions/1"]
    await lease.__aexit__(None, None, None)
    assert engine.alive == []
