"""A transaction from the outside through every hop, and the model that answers it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
from conditions import BOUND_S, Details, failure, tick, until
from suite_parts import MODEL, VERSION_KEY, Client, Suite, changed_copy, rows, score

from trunkline.ranking.v1 import ranking_pb2 as rk
from trunkline_local import catalog


async def _ask(client: Client, request: Any) -> tuple[Any, dict[str, Any]]:
    call = client.ranking.ScoreTransaction(request, timeout=5)
    return await call, dict(await call.trailing_metadata())


async def test_a_transaction_is_scored_on_features_that_were_written(client: Client) -> None:
    for view, entity in (("customer_activity", "c1"), ("terminal_activity", "t1")):
        written = await client.features.WriteFeatures(rows(view, [entity]), timeout=5)
        assert written.written_count == 1
    answer, trailers = await _ask(client, score())
    assert 0 <= answer.probability <= 1
    assert answer.decision in (rk.DECISION_APPROVE, rk.DECISION_REVIEW, rk.DECISION_DECLINE)
    assert not answer.defaulted_features
    assert trailers == {VERSION_KEY: f"{MODEL}/versions/1"}


async def test_features_that_nobody_wrote_are_named(client: Client) -> None:
    await client.features.WriteFeatures(rows("customer_activity", ["c1"]), timeout=5)
    answer, trailers = await _ask(client, score())
    assert answer.defaulted_features
    assert {name.partition(":")[0] for name in answer.defaulted_features} == {"terminal_activity"}
    assert trailers == {VERSION_KEY: f"{MODEL}/versions/1"}


async def test_what_was_written_moves_the_score(client: Client) -> None:
    calm, risky = rows("terminal_activity", ["t1"], 0.0), rows("terminal_activity", ["t2"], 1.0)
    for request in (calm, risky):
        await client.features.WriteFeatures(request, timeout=5)
    first, _ = await _ask(client, score(terminal="t1"))
    second, _ = await _ask(client, score(terminal="t2"))
    assert second.probability > first.probability


async def test_a_version_can_be_asked_for_by_name(client: Client) -> None:
    named, trailers = await _ask(client, score(model=f"{MODEL}/versions/1"))
    in_force, _ = await _ask(client, score(model=MODEL))
    assert named == in_force
    assert trailers == {VERSION_KEY: f"{MODEL}/versions/1"}


async def test_an_unknown_model_or_version_is_not_found_and_named(client: Client) -> None:
    for model, reason in (
        ("models/none", "MODEL_UNKNOWN"),
        (f"{MODEL}/versions/99", "VERSION_UNKNOWN"),
    ):
        error = await failure(client.ranking.ScoreTransaction(score(model=model), timeout=5))
        details = Details(error)
        assert (error.code(), details.reason) == (grpc.StatusCode.NOT_FOUND, reason)
        assert details.ResourceInfo.resource_name == model


async def test_answers_move_to_a_new_version_while_it_is_scored_and_none_fails(
    suite: Suite, client: Client, tmp_path: Path
) -> None:
    answered: list[str] = []

    async def load() -> None:
        while True:
            _, trailers = await _ask(client, score())
            answered.append(trailers[VERSION_KEY])
            await tick()

    callers = [asyncio.ensure_future(load()) for _ in range(4)]
    try:
        await until(lambda: len(answered) > 20)
        second = await _register_second(suite, tmp_path)
        await until(lambda: answered[-1] == second or any(caller.done() for caller in callers))
        moved = answered.index(second)
        await until(lambda: len(answered) > moved + 40 or any(caller.done() for caller in callers))
        assert not any(caller.done() for caller in callers)
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    assert set(answered) == {f"{MODEL}/versions/1", second}
    # A call that began on the old version may end after one on the new: as many as there are callers.
    assert f"{MODEL}/versions/1" not in answered[moved + 4 :]
    async with asyncio.timeout(BOUND_S):
        _, trailers = await _ask(client, score(model=f"{MODEL}/versions/1"))
    assert trailers[VERSION_KEY] == f"{MODEL}/versions/1"


async def _register_second(suite: Suite, directory: Path) -> str:
    """Registers a second version and puts it into production; returns its name."""
    bundle = changed_copy(directory)
    target = suite.servers["registry"].target
    await catalog.register(target, [bundle])
    (name,) = await catalog.in_production(target, [MODEL])
    return name
