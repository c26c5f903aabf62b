"""A server that hangs is soon no longer asked, and asked again as soon as it is back, not when the breaker says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import cases
import grpc
import grpc.aio
import pytest
import pytest_asyncio
from conditions import BOUND_S, Details, eventually
from deployables import DEPLOYABLES, name_of
from furniture import furnished
from stage import Stage

from trunkline_local.embedded import PostgreSQL, Valkey

HOP: dict[str, Any] = {
    "reconnect_initial_s": 0.05,
    "reconnect_maximum_s": 0.1,
    "breaker_deadline_floor_s": 0.1,
}
"""Breakers as they are: three failures open one, for 30 s."""
(GATEWAY,) = [one for one in DEPLOYABLES if one.name == "gateway"]
READS = {
    "features": "FeatureService/GetFeatureView",
    "ranking": "RankingService/ScoreTransaction",
    "registry": "RegistryService/GetModel",
    "retrieval": "VectorService/GetIndex",
    "speech": "SpeechService/ListModels",
    "translate": "TranslateService/ListLanguages",
}

_MISSED = grpc.StatusCode.DEADLINE_EXCEEDED

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    valkey: Valkey, postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with furnished(valkey, postgres, tmp_path_factory.mktemp("breakers"), HOP) as stage:
        yield stage


@pytest.mark.parametrize("dependency", GATEWAY.needs)
async def test_what_hangs_is_cut_off_and_back_as_soon_as_it_says_that_it_serves(
    stage: Stage, dependency: str
) -> None:
    (method,) = [
        m for service in GATEWAY.services for m in service.methods if name_of(m) == READS[dependency]
    ]
    ask = cases.CASES[READS[dependency]].ask
    read = cases.multicallable(stage.channels["gateway"], method)
    with stage.fault("gateway", dependency, "hang") as strike:
        strike()
        missed = 0
        async with asyncio.timeout(BOUND_S):
            # On a busy machine a call may reach the gateway too late to say something about what is behind it.
            while (error := await _error(read(await ask(stage), timeout=0.3))).code() is _MISSED:
                missed += 1
    assert missed >= 3
    details = Details(error)
    assert (error.code(), details.reason) == (grpc.StatusCode.UNAVAILABLE, "BREAKER_OPEN")
    assert 20 < details.RetryInfo.retry_delay.seconds <= 30
    async with asyncio.timeout(15):  # half of what the breaker would wait
        await eventually(lambda: _whole(read, ask, stage))
    await stage.settled()


async def _whole(read: Any, ask: Any, stage: Stage) -> Any:
    return await read(await ask(stage), timeout=5)


async def _error(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value
