from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registry_parts import ONNX, Registry, open_registry

from trunkline_hop.errors import BadRequest, Conflict, Fault, NotAllowed, NotFound
from trunkline_registry.formats import Format
from trunkline_registry.requests import RequestKey
from trunkline_registry.stages import ALLOWED, Stage
from trunkline_registry.versions import NewVersion

D, S, P, A = Stage.DEVELOPMENT, Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED


async def promote(registry: Registry, version: int, *stages: Stage, model_id: str = "fraud") -> None:
    for stage in stages:
        await registry.versions.transition(model_id, version, stage, "", None)


async def test_versions_are_numbered_within_their_model_and_read_as_made(registry: Registry) -> None:
    await registry.model()
    await registry.model("other")
    first = await registry.version()
    assert (first.version, (await registry.version()).version) == (1, 2)
    assert (await registry.version("other")).version == 1
    assert await registry.versions.get("fraud", 1) == first
    sha256 = hashlib.sha256(ONNX).hexdigest()
    assert first.digest == hashlib.sha256(f"{sha256}  model.onnx\n".encode()).hexdigest()
    assert (first.stage, first.size_bytes) == (D, len(ONNX))


async def test_numbers_stay_gapless_when_versions_are_made_at_once(registry: Registry) -> None:
    await registry.model()
    made = await asyncio.gather(*(registry.version() for _ in range(12)))
    assert sorted(version.version for version in made) == list(range(1, 13))


async def test_a_file_that_is_not_stored_is_named(registry: Registry) -> None:
    await registry.model()
    with pytest.raises(NotFound) as unknown:
        await registry.version(files=[("model.onnx", "0" * 64)])
    assert (unknown.value.reason, unknown.value.resource_name) == ("ARTIFACT_UNKNOWN", "0" * 64)
    assert unknown.value.metadata["path"] == "model.onnx"


@pytest.mark.parametrize("paths", [["a.onnx", "a.onnx"], ["a.onnx", "a.onnx/b"], ["x/y/a.onnx", "x"]])
async def test_paths_that_no_directory_can_have_are_refused(registry: Registry, paths: list[str]) -> None:
    await registry.model()
    sha256 = await registry.store(ONNX)
    with pytest.raises(BadRequest) as wrong:
        await registry.version(files=[(path, sha256) for path in paths])
    assert wrong.value.violations[0].field.startswith("model_version.files[")


async def test_versions_of_an_unknown_model_are_not_found(registry: Registry) -> None:
    for attempt in (registry.version(), registry.versions.get("fraud", 1)):
        with pytest.raises(NotFound, match="MODEL_UNKNOWN"):
            await attempt
    with pytest.raises(NotFound, match="MODEL_UNKNOWN"):
        await registry.versions.list("fraud", None, 0, "")
    await registry.model()
    with pytest.raises(NotFound, match="VERSION_UNKNOWN"):
        await registry.versions.get("fraud", 1)


async def test_pages_are_newest_first_and_filter_by_stage(registry: Registry) -> None:
    await registry.model()
    for _ in range(5):
        await registry.version()
    await promote(registry, 2, S)
    await promote(registry, 4, S)
    first = await registry.versions.list("fraud", S, 1, "")
    second = await registry.versions.list("fraud", S, 1, first.next_token)
    assert [v.version for v in (*first.items, *second.items)] == [4, 2]
    assert second.next_token == ""
    with pytest.raises(BadRequest, match="page_token"):
        await registry.versions.list("fraud", None, 1, first.next_token)


async def test_a_page_of_long_cards_ends_early_and_goes_on(registry: Registry) -> None:
    await registry.model()
    for _ in range(20):
        await registry.version(card="x" * 262_144)
    page = await registry.versions.list("fraud", None, 1000, "")
    rest = await registry.versions.list("fraud", None, 1000, page.next_token)
    assert [v.version for v in (*page.items, *rest.items)] == list(range(20, 0, -1))
    assert rest.next_token == ""


async def test_a_new_version_in_production_archives_the_old_one(registry: Registry) -> None:
    await registry.model()
    await registry.version()
    await registry.version()
    await promote(registry, 1, S, P)
    await promote(registry, 2, S)
    done = await registry.versions.transition("fraud", 2, P, "", None)
    assert done.archived is not None
    assert (done.version.stage, done.archived.version, done.archived.stage) == (P, 1, A)
    back = await registry.versions.transition("fraud", 1, P, "", None)
    assert back.archived is not None and back.archived.version == 2


async def test_a_stale_etag_moves_nothing(registry: Registry) -> None:
    await registry.model()
    version = await registry.version()
    await promote(registry, 1, S)
    with pytest.raises(Conflict, match="ETAG_MISMATCH"):
        await registry.versions.transition("fraud", 1, P, version.etag, None)
    assert (await registry.versions.get("fraud", 1)).stage is S


async def test_a_repeated_transition_gets_the_first_answer(registry: Registry) -> None:
    await registry.model()
    await registry.version()
    await promote(registry, 1, S)
    key = RequestKey("TransitionModelVersionStage", "r", b"f")
    answers = await asyncio.gather(*(registry.versions.transition("fraud", 1, P, "", key) for _ in range(6)))
    assert all(answer == answers[0] for answer in answers)


async def test_the_database_itself_allows_one_production_version_and_no_change(
    registry: Registry, database: str
) -> None:
    await registry.model()
    await registry.version()
    await registry.version()
    with psycopg.connect(database, autocommit=True) as sql:
        sql.execute("UPDATE versions SET stage = 'PRODUCTION' WHERE version = 1")
        with pytest.raises(psycopg.errors.UniqueViolation):
            sql.execute("UPDATE versions SET stage = 'PRODUCTION' WHERE version = 2")
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            sql.execute("UPDATE versions SET digest = 'x' WHERE version = 2")


async def test_two_processes_that_race_for_production_leave_one_version_in_it(
    registry: Registry, database: str, tmp_path
) -> None:
    await registry.model()
    for n in range(1, 9):
        await registry.version()
        await promote(registry, n, S)
    async with open_registry(database, tmp_path / "blobs") as other:
        await asyncio.gather(*(promote((registry, other)[n % 2], n, P) for n in range(1, 9)))
    stages = [v.stage for v in (await registry.versions.list("fraud", None, 0, "")).items]
    assert (stages.count(P), stages.count(A)) == (1, 7)


@given(steps=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(Stage)), max_size=25))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_sequence_of_transitions_is_as_the_table_says(
    registry: Registry, steps: list[tuple[int, Stage]]
) -> None:
    # A model of its own for every example; the table is the oracle.
    model_id = "m" + hashlib.sha256(repr((steps, id(steps))).encode()).hexdigest()[:20]
    try:
        await registry.model(model_id)
    except Fault:
        return
    for _ in range(3):
        await registry.version(model_id)
    expected = dict.fromkeys((1, 2, 3), D)
    for version, stage in steps:
        if stage in ALLOWED[expected[version]]:
            if stage is P:
                expected = {n: A if s is P else s for n, s in expected.items()}
            expected[version] = stage
            await promote(registry, version, stage, model_id=model_id)
        else:
            with pytest.raises(NotAllowed, match="STAGE_POLICY"):
                await promote(registry, version, stage, model_id=model_id)
        stored = (await registry.versions.list(model_id, None, 0, "")).items
        assert {v.version: v.stage for v in stored} == expected


async def test_labels_and_cards_that_cannot_be_kept_name_their_field(registry: Registry) -> None:
    await registry.model()
    new = NewVersion(Format.ONNX, [("model.onnx", await registry.store(ONNX))], "", {})
    for wrong, field in (
        (replace(new, card="\0"), "model_version.card"),
        (replace(new, labels={"k" * 64: ""}), "model_version.labels"),
    ):
        with pytest.raises(BadRequest) as error:
            await registry.versions.create("fraud", wrong, None)
        assert error.value.violations[0].field == field
