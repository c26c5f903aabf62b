"""A fresh registry for every test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves the tests' own parts out of it
from registry_parts import Registry, open_registry


@pytest.fixture
async def registry(database: str, tmp_path: Path) -> AsyncIterator[Registry]:
    """All of it on a fresh database and directory."""
    async with open_registry(database, tmp_path / "blobs") as opened:
        yield opened
