"""Removes what nobody can ask for any more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from trunkline_hop.clock import Clock
from trunkline_hop.errors import Unavailable
from trunkline_registry.postgres.database import Database

ANSWERS_KEPT = timedelta(days=1)
"""A request repeated later than this is a new one."""
CHANGES_KEPT = 10_000
"""A watch that resumes further back gets only the last serving set of each model."""
PERIOD_S = 3600.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Old answers and overtaken changes go."""

    database: Database
    clock: Clock

    async def run(self) -> None:
        """Sweeps for ever."""
        while True:
            try:
                await self.once()
            except Unavailable:
                _log.warning("sweep put off", reason="the database cannot be reached")
            await asyncio.sleep(PERIOD_S)

    async def once(self) -> None:
        """Sweeps. Raises Unavailable."""
        async with self.database.transaction("sweep") as rows:
            await rows.forget(self.clock.now() - ANSWERS_KEPT)
            await rows.compact(CHANGES_KEPT)
