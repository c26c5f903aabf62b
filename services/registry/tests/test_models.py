from __future__ import annotations

import asyncio

import pytest
from registry_parts import TEXT, Registry

from trunkline_hop.errors import AlreadyExists, BadRequest, Conflict, NotFound
from trunkline_registry.models import ModelText
from trunkline_registry.requests import RequestKey


def key(method: str = "CreateModel", fingerprint: bytes = b"1") -> RequestKey:
    return RequestKey(method, "request-1", fingerprint)


async def test_a_model_is_read_as_it_was_created(registry: Registry) -> None:
    created = await registry.models.create("fraud", TEXT, None)
    assert await registry.models.get("fraud") == created
    assert (created.display_name, created.labels) == ("Fraud", {"team": "risk"})
    assert created.create_time == created.update_time


async def test_a_taken_id_is_refused_and_an_unknown_one_is_not_found(registry: Registry) -> None:
    await registry.model()
    with pytest.raises(AlreadyExists, match="RESOURCE_EXISTS"):
        await registry.model()
    with pytest.raises(NotFound, match="MODEL_UNKNOWN"):
        await registry.models.get("other")


async def test_pages_show_every_model_once_in_order(registry: Registry) -> None:
    ids = [f"m{n:02}" for n in range(7)]
    for model_id in reversed(ids):
        await registry.model(model_id)
    seen, token = [], ""
    while True:
        page = await registry.models.list(3, token)
        seen += [model.model_id for model in page.items]
        token = page.next_token
        if not token:
            break
    assert seen == ids


async def test_a_page_ends_before_it_outgrows_a_message(registry: Registry) -> None:
    long = ModelText("", "d" * 4096, {f"k{n}": "v" * 255 for n in range(64)})
    for n in range(230):
        await registry.models.create(f"m{n:03}", long, None)
    page = await registry.models.list(1000, "")
    assert 0 < len(page.items) < 230
    rest = await registry.models.list(1000, page.next_token)
    assert len(page.items) + len(rest.items) == 230


async def test_a_token_of_another_list_or_none_at_all_is_refused(registry: Registry) -> None:
    await registry.model()
    with pytest.raises(BadRequest) as wrong:
        await registry.models.list(3, "bm90IGEgdG9rZW4")
    assert wrong.value.violations[0].field == "page_token"


async def test_an_update_changes_only_what_its_mask_names(registry: Registry) -> None:
    before = await registry.models.create("fraud", TEXT, None)
    after = await registry.models.update(
        "fraud", ModelText("New", "ignored", {}), ["display_name"], before.etag, None
    )
    assert (after.display_name, after.description, after.labels) == ("New", TEXT.description, TEXT.labels)
    assert after.etag != before.etag and after.update_time > before.update_time


@pytest.mark.parametrize("paths", [[], ["name"], ["display_name", "labels.team"], ["*"]])
async def test_a_mask_that_names_nothing_or_something_else_is_refused(
    registry: Registry, paths: list[str]
) -> None:
    await registry.model()
    with pytest.raises(BadRequest) as wrong:
        await registry.models.update("fraud", TEXT, paths, "", None)
    assert wrong.value.violations[0].field == "update_mask"


async def test_an_update_of_what_somebody_changed_first_is_refused(registry: Registry) -> None:
    before = await registry.models.create("fraud", TEXT, None)
    await registry.models.update("fraud", TEXT, ["labels"], before.etag, None)
    with pytest.raises(Conflict, match="ETAG_MISMATCH"):
        await registry.models.update("fraud", TEXT, ["labels"], before.etag, None)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (ModelText("a\0b", "", {}), "model.display_name"),
        (ModelText("", "\0", {}), "model.description"),
        (ModelText("", "", {"": "v"}), "model.labels"),
        (ModelText("", "", {"k": "v" * 256}), "model.labels['k']"),
        (ModelText("", "", {"k": "\0"}), "model.labels"),
    ],
)
async def test_text_that_cannot_be_kept_names_its_field(
    registry: Registry, text: ModelText, field: str
) -> None:
    with pytest.raises(BadRequest) as wrong:
        await registry.models.create("fraud", text, None)
    assert wrong.value.violations[0].field == field


async def test_a_repeated_request_gets_the_first_answer_whatever_happened_since(registry: Registry) -> None:
    first = await registry.models.create("fraud", TEXT, key())
    await registry.models.update("fraud", ModelText("New", "", {}), ["display_name"], "", None)
    assert await registry.models.create("fraud", TEXT, key()) == first


async def test_an_update_is_repeated_with_its_old_etag(registry: Registry) -> None:
    before = await registry.models.create("fraud", TEXT, None)
    again = key("UpdateModel")
    first = await registry.models.update("fraud", TEXT, ["labels"], before.etag, again)
    assert await registry.models.update("fraud", TEXT, ["labels"], before.etag, again) == first


async def test_requests_repeated_at_once_happen_once(registry: Registry) -> None:
    answers = await asyncio.gather(*(registry.models.create("fraud", TEXT, key()) for _ in range(12)))
    assert all(answer == answers[0] for answer in answers)


async def test_an_id_used_for_another_request_is_refused(registry: Registry) -> None:
    await registry.models.create("fraud", TEXT, key())
    with pytest.raises(Conflict, match="REQUEST_ID_REUSED"):
        await registry.models.create("other", TEXT, key(fingerprint=b"2"))


async def test_a_request_that_failed_can_be_repeated(registry: Registry) -> None:
    with pytest.raises(NotFound):
        await registry.models.update("fraud", TEXT, ["labels"], "", key("UpdateModel"))
    await registry.model()
    assert await registry.models.update("fraud", TEXT, ["labels"], "", key("UpdateModel"))
