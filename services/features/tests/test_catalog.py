from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest

from trunkline_features.catalog import Mutation
from trunkline_features.views import FeatureView, Field, FieldType
from trunkline_hop.errors import AlreadyExists, BadRequest, Conflict, NotFound

EVERY_TYPE = (
    Field("a", FieldType.FLOAT64, 0.1),
    Field("b", FieldType.INT64, -(2**63)),
    Field("c", FieldType.BOOL, True),
    Field("d", FieldType.STRING, "é\x00"),
    Field("e", FieldType.BYTES, b"\xff\x00"),
    Field("f", FieldType.FLOAT32_VECTOR, (0.5, -1.0), 2, "an embedding"),
    Field("g", FieldType.TIMESTAMP, 1),
    Field("h", FieldType.STRING),
)
VIEW = FeatureView("v", "customer", EVERY_TYPE, timedelta(hours=1), "what", "who", "where")


async def test_a_view_is_kept_as_declared(replicas, clock):
    one, other = replicas
    created = await one.catalog.create(VIEW, Mutation())
    assert await other.catalog.get("v") == created
    assert (created.create_time, created.update_time) == (clock.now(), clock.now())
    assert (
        dataclasses.replace(
            created, incarnation="", etag="", create_time=VIEW.create_time, update_time=VIEW.update_time
        )
        == VIEW
    )


async def test_a_name_is_taken_once_however_many_ask_at_once(replicas):
    asked = [each.catalog.create(VIEW, Mutation()) for each in replicas for _ in range(3)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(each, FeatureView) for each in outcomes) == 1
    assert sum(isinstance(each, AlreadyExists) for each in outcomes) == 5


async def test_concurrent_updates_lose_nothing(replicas):
    """Six writers append a field each to whatever is there, and try again when somebody was first."""
    one, _ = replicas
    await one.catalog.create(dataclasses.replace(VIEW, fields=EVERY_TYPE[:1]), Mutation())

    async def append(number: int) -> None:
        catalog = replicas[number % 2].catalog
        while True:
            current = await catalog.get("v")
            fields = (*current.fields, Field(f"x{number}", FieldType.INT64))
            try:
                await catalog.update(dataclasses.replace(current, fields=fields), ["fields"], Mutation())
                return
            except Conflict as conflict:
                assert conflict.reason == "ETAG_MISMATCH"

    async with asyncio.timeout(20):
        await asyncio.gather(*(append(number) for number in range(6)))
    fields = (await one.catalog.get("v")).fields
    assert {field.name for field in fields} == {"a", *(f"x{number}" for number in range(6))}


async def test_only_what_the_mask_names_changes(features, clock):
    created = await features.catalog.create(VIEW, Mutation())
    clock.advance(minutes=1)
    wanted = FeatureView("v", "ignored", (), None, "new", "ignored")
    updated = await features.catalog.update(wanted, ["description", "ttl"], Mutation())
    assert updated == dataclasses.replace(
        created, description="new", ttl=None, update_time=clock.now(), etag=updated.etag
    )
    assert updated.etag != created.etag


async def test_an_old_etag_changes_nothing(features):
    created = await features.catalog.create(VIEW, Mutation())
    await features.catalog.update(VIEW, ["owner"], Mutation())
    for change in (
        features.catalog.update(created, ["owner"], Mutation()),
        features.catalog.delete("v", created.etag, Mutation()),
    ):
        with pytest.raises(Conflict) as caught:
            await change
        assert caught.value.reason == "ETAG_MISMATCH"


async def test_a_repeated_request_gets_the_first_answer_even_after_the_view_moved_on(replicas):
    one, other = replicas
    created = await one.catalog.create(VIEW, Mutation("r1", "f1"))
    await one.catalog.update(VIEW, ["owner"], Mutation("r2", "f2"))
    assert await other.catalog.create(VIEW, Mutation("r1", "f1")) == created
    await one.catalog.delete("v", "", Mutation("r3", "f3"))
    await other.catalog.delete("v", "", Mutation("r3", "f3"))
    assert await other.catalog.create(VIEW, Mutation("r1", "f1")) == created
    with pytest.raises(NotFound):
        await one.catalog.get("v")
    with pytest.raises(Conflict) as caught:
        await one.catalog.create(VIEW, Mutation("r1", "another"))
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_a_request_that_is_sent_twice_at_once_happens_once(replicas):
    asked = [each.catalog.create(VIEW, Mutation("r", "f")) for each in replicas for _ in range(3)]
    answers = await asyncio.gather(*asked)
    assert len({answer.etag for answer in answers}) == 1


async def test_pages_hold_every_view_once_in_order(features):
    names = [f"v{number}" for number in range(5)]
    for name in reversed(names):
        await features.catalog.create(dataclasses.replace(VIEW, id=name), Mutation())
    seen, token = [], ""
    while True:
        page, token = await features.catalog.list(2, token)
        seen.append([view.id for view in page])
        if not token:
            break
    assert seen == [["v0", "v1"], ["v2", "v3"], ["v4"]]
    assert [view.id for view in (await features.catalog.list(0, ""))[0]] == names
    for token in ("%", "abc", "AAAA"):
        with pytest.raises(BadRequest) as caught:
            await features.catalog.list(2, token)
        assert caught.value.violations[0].field == "page_token"


def changed(index: int, **to: object) -> tuple[Field, ...]:
    fields = list(EVERY_TYPE)
    fields[index] = dataclasses.replace(fields[index], **to)
    return tuple(fields)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        (EVERY_TYPE[:-1], "feature_view.fields[7]"),
        (EVERY_TYPE[1:], "feature_view.fields[0]"),
        (EVERY_TYPE[::-1], "feature_view.fields[0]"),
        (changed(1, name="z"), "feature_view.fields[1]"),
        (changed(1, type=FieldType.TIMESTAMP), "feature_view.fields[1]"),
        (changed(5, dimension=3), "feature_view.fields[5]"),
        ((*EVERY_TYPE, EVERY_TYPE[0]), "feature_view.fields[8].name"),
        ((*EVERY_TYPE, Field("Z", FieldType.INT64)), "feature_view.fields[8].name"),
        ((*EVERY_TYPE, Field("z", FieldType.INT64, None, 2)), "feature_view.fields[8].dimension"),
        ((*EVERY_TYPE, Field("z", FieldType.FLOAT32_VECTOR)), "feature_view.fields[8].dimension"),
    ],
)
async def test_fields_can_only_be_appended(features, fields, path):
    created = await features.catalog.create(VIEW, Mutation())
    with pytest.raises(BadRequest) as caught:
        await features.catalog.update(dataclasses.replace(VIEW, fields=fields), ["fields"], Mutation())
    assert caught.value.violations[0].field == path
    assert await features.catalog.get("v") == created


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (dataclasses.replace(VIEW, entity_type="Customer"), "feature_view.entity_type"),
        (dataclasses.replace(VIEW, id="a-b"), "feature_view_id"),
        (dataclasses.replace(VIEW, ttl=timedelta()), "feature_view.ttl"),
        (dataclasses.replace(VIEW, ttl=timedelta(seconds=-1)), "feature_view.ttl"),
        (dataclasses.replace(VIEW, fields=()), "feature_view.fields"),
    ],
)
async def test_a_wrong_view_is_not_declared(features, wanted, path):
    with pytest.raises(BadRequest) as caught:
        await features.catalog.create(wanted, Mutation())
    assert caught.value.violations[0].field == path
    assert (await features.catalog.list(0, ""))[0] == []


@pytest.mark.parametrize("paths", [[], ["entity_type"], ["owner", "name"], ["*"]])
async def test_a_mask_names_what_may_change(features, paths):
    await features.catalog.create(VIEW, Mutation())
    with pytest.raises(BadRequest):
        await features.catalog.update(VIEW, paths, Mutation())
