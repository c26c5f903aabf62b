"""Every row of the table, on real servers: what a caller sees during a fault, and that it is over after it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import cases
import grpc
import grpc.aio
import pytest
import pytest_asyncio
from cases import CASES, Call
from conditions import BOUND_S, Details, tick
from deployables import DEPLOYABLES, STORES
from fault_table import Row, plain, read
from furniture import furnished
from stage import Stage
from suite_parts import DEGRADED_KEY

from trunkline_local.embedded import PostgreSQL, Valkey

ROWS = read().rows.values()
BY_NAME = {one.name: one for one in DEPLOYABLES}
LEAK = re.compile(
    r"127\.0\.0\.1|localhost|:\d{4,5}\b|ipv4|socket|errno|traceback|redis|valkey|postgres|psycopg|libpq|http2|"
    r"grpc|tcp|stream removed|rst_stream|goaway|deadbeef|xde|/tmp|/work|\.py\b",
    re.IGNORECASE,
)
"""What no caller has any business with."""
WHOLE_S = 10.0
HOP: dict[str, Any] = {
    "reconnect_initial_s": 0.05,
    "reconnect_maximum_s": 0.1,
    "breaker_failures": 1000,
    "breaker_calls": 10_000,
}
"""A hop tries again soon what failed, so that a thousand recoveries take a minute; and its breakers stay closed, so
that no row sees the failures of those before it (`test_breakers.py` has them open)."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    valkey: Valkey, postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """One for all rows: each row leaves it as it found it."""
    async with furnished(valkey, postgres, tmp_path_factory.mktemp("faults"), HOP) as stage:
        yield stage


@dataclass(frozen=True)
class Outcome:
    """What a caller saw."""

    code: str
    reason: str = ""
    degraded: str = ""
    answer: Any = None
    error: grpc.aio.AioRpcError | None = None


async def _outcome(stage: Stage, row: Row, request: Any, within_s: float, strike: Any) -> Outcome:
    case = CASES[row.method]
    method = cases.method_named(BY_NAME[row.at], plain(row.method))
    callable_ = cases.multicallable(stage.channels[row.at], method)
    call = Call(callable_, request, within_s, strike, stage, [])
    try:
        answer = await cases.perform(case)(call)
    except grpc.aio.AioRpcError as error:
        code, reason = error.code().name, Details(error).reason
        # A caller's own transport may be the first to say that time is up; it knows no reasons.
        late = code == "DEADLINE_EXCEEDED" and not reason
        return Outcome(code, code if late else reason, error=error)
    except TimeoutError:
        return Outcome("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    degraded = ",".join(str(value) for key, value in call.trailers if key == DEGRADED_KEY)
    return Outcome("OK", degraded=degraded, answer=answer)


async def _whole_again(stage: Stage, row: Row) -> None:
    """Returns when the call is answered in full."""
    last: Any = None
    try:
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    request = await CASES[row.method].ask(stage)
                except grpc.aio.AioRpcError as error:
                    last = error
                    await tick()
                    continue
                last = await _outcome(stage, row, request, WHOLE_S, lambda: None)
                if last.code == "OK" and not last.degraded and CASES[row.method].whole(last.answer):
                    await stage.settled()
                    return
                await tick()
    except TimeoutError:
        pytest.fail(f"{row}: not whole again, last {last}")


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_a_fault_is_answered_as_the_table_says_and_passes(stage: Stage, row: Row) -> None:
    request = await CASES[row.method].ask(stage)
    with stage.fault(row.at, row.dependency, row.fault, resigned=row.given_up) as strike:
        seen = await _outcome(stage, row, request, row.within_s, strike)
    await _whole_again(stage, row)
    assert (seen.code, seen.reason, seen.degraded) == (row.code, row.reason, row.degraded), seen.error
    if seen.error is not None:
        _well_said(seen.error)
    elif seen.code == "OK" and not seen.degraded:
        assert CASES[row.method].whole(seen.answer)


def _well_said(error: grpc.aio.AioRpcError) -> None:
    """Nothing of the inside in its words, and when to come back where that is known."""
    details = Details(error)
    if not details.reason:
        return  # the caller's own transport said it
    said = " ".join([error.details() or "", details.status.message, str(details.ErrorInfo)])
    assert not LEAK.search(said.replace("trunkline", "")), said
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        assert details.RetryInfo is not None, said


async def test_every_connection_of_every_deployable_is_declared(stage: Stage) -> None:
    for one in DEPLOYABLES:
        connected = {channel.name for channel in stage.suite.channels[one.name]}
        found = {need for need in one.needs if need in STORES or BY_NAME[need].leads}
        assert connected | found == set(one.needs)
        for need in one.needs:
            assert stage.proxies[one.name, need].accepted
